// What is loaded, what it holds, what is answered now and was of late.

import { post } from "./api.js";
import { bytes, count, h, milliseconds, replace, svg, table, workButton } from "./dom.js";
import { CURVE_MS, amend, live, watch } from "./live.js";
import { requestTable } from "./manage.js";
import { comparison, deviceMemory } from "./memory.js";

const DRAW_MS = 1000;

export const now = {
  title: "Now",
  show(main, fail) {
    const tiles = h("div", { class: "tiles" });
    const models = h("section", { "aria-label": "Loaded models" });
    const running = h("section", { "aria-label": "Running requests" });
    const recent = h("section", { "aria-label": "Recent requests" });
    main.append(tiles, models, running, recent);
    const shown = new Map();
    const curve = svg("path");
    const picture = svg("svg", { viewBox: "0 0 100 21", preserveAspectRatio: "none", class: "sparkline", "aria-hidden": "true" }, curve);

    // What did not change stays, so that a selection in it stays, too.
    function put(node, facts, make) {
      const text = JSON.stringify(facts);
      if (shown.get(node) === text) return;
      shown.set(node, text);
      replace(node, make());
    }

    function update() {
      const document = live.now;
      if (!document) {
        put(models, live.problem, () => h("p", { class: "empty" }, live.problem || "Asking the server…"));
        running.hidden = recent.hidden = true;
        return;
      }
      running.hidden = recent.hidden = false;
      const there = document.models.filter((one) => one.state !== "unloaded");
      put(tiles, [there, live.recent], () => tileRow(there, picture));
      draw(curve);
      put(models, [there, document.memory], () => [h("h2", null, "Models and memory"), document.memory.map((device) => deviceMemory(device, there)), there.map(model),
        there.length ? null : h("p", { class: "empty" }, "No model is loaded. The next request loads one, or load one under ", h("a", { href: "#models" }, "Models"), ".")]);
      put(running, document.running, () => [h("h2", null, "Running requests"), runningTable(document.running, fail)]);
      put(recent, live.recent.slice(0, 12), () => [h("h2", null, "Recent requests"), requestTable(live.recent.slice(0, 12)),
        live.recent.length > 12 ? h("p", { class: "small" }, h("a", { href: "#requests" }, `All ${live.recent.length}`)) : null]);
    }
    update();
    const moving = setInterval(draw, DRAW_MS, curve);
    const unwatch = watch(update);
    return () => { clearInterval(moving); unwatch(); };
  },
};

function tileRow(models, picture) {
  const sum = (name) => models.reduce((total, one) => total + one[name], 0);
  const rate = live.rates.at(-1)?.rate || 0;
  const first = median(live.recent.slice(0, 20).map((one) => one.first_token_ms).filter((one) => one !== undefined));
  const counted = live.recent.filter((one) => one.cached_tokens !== undefined);
  const prompts = counted.reduce((total, one) => total + one.prompt_tokens, 0);
  const cached = counted.reduce((total, one) => total + one.cached_tokens, 0);
  return [["tokens/s", rate.toFixed(1), picture], ["running", sum("running")], ["waiting", sum("waiting")],
    ["first token", first === null ? "–" : milliseconds(first), null, "the median of the last 20 answers"],
    ["prompts cached", prompts ? `${Math.round((100 * cached) / prompts)} %` : "–", null, "tokens of the last 100 requests"],
    ["models loaded", models.filter((one) => one.state === "loaded").length]]
    .map(([title, value, picture, hint]) => h("div", { class: "tile", title: hint }, h("b", null, value), h("span", null, title), picture));
}

function median(values) {
  return values.length ? [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] : null;
}

// The last minute of the rate, in steps.
function draw(curve) {
  const now = performance.now();
  const most = Math.max(...live.rates.map((one) => one.rate), 1);
  const steps = live.rates.map(({ at, rate, first }, index) => {
    const x = Math.max(0, 100 - (100 * (now - at)) / CURVE_MS).toFixed(2);
    const y = (20 - (18 * rate) / most).toFixed(2);
    return first || index === 0 ? `M${x} ${y}` : `H${x}V${y}`;
  });
  curve.setAttribute("d", steps.join("") + (steps.length && !live.problem ? "H100" : ""));
}

function model(one) {
  const kind = { loaded: "good", failed: "bad" }[one.state] || "";
  const total = Object.values(one.memory_bytes).reduce((sum, size) => sum + size, 0);
  const facts = [];
  if (one.context_tokens) facts.push(`${count(one.context_tokens)} tokens of context`);
  if (one.parallel) facts.push(`${one.parallel} at once`);
  if (one.cells) facts.push(`${count(one.cells_used)} of ${count(one.cells)} cells used`);
  if (total) facts.push(bytes(total));
  if (one.prefix_disk_bytes) facts.push(`${bytes(one.prefix_disk_bytes)} of kept prefixes on disk`);
  return h("div", { class: "item" },
    h("div", { class: "row" }, h("h3", null, one.id), h("span", { class: `badge ${kind}` }, one.state),
      one.pinned ? h("span", { class: "badge" }, "pinned") : null,
      h("span", { class: "end soft small" }, one.running ? `${one.tokens_per_second.toFixed(1)} tokens/s, ` : "", `${one.running} running, ${one.waiting} waiting`)),
    one.progress === null ? null : h("progress", { max: 1, value: one.progress, "aria-label": `loading ${one.id}` }),
    one.problem ? h("div", { class: "problem small" }, one.problem) : null,
    one.context_reduced_from_tokens ? h("div", { class: "small" }, `The context is smaller than the ${count(one.context_reduced_from_tokens)} tokens that were wanted: memory ran short.`) : null,
    h("div", { class: "soft small" }, facts.join(" · ")),
    one.measured && one.predicted ? comparison(one) : null);
}

function runningTable(rows, fail) {
  if (!rows.length) return h("p", { class: "empty" }, "Nothing is being answered.");
  return table([
    ["model", (one) => one.model],
    ["route", (one) => one.path],
    ["key", (one) => one.key || ""],
    ["prompt", (one) => count(one.prompt_tokens), "n"],
    ["answered", (one) => count(one.pieces), "n"],
    ["first token", (one) => milliseconds(one.first_token_ms), "n"],
    ["so far", (one) => milliseconds(one.elapsed_ms), "n"],
    ["", (one) => one.can_cancel ? workButton("Cancel", async () => {
      await post(`/admin/requests/${one.request_id.split("/").map(encodeURIComponent).join("/")}/cancel`);
      amend((now) => ({ ...now, running: now.running.filter((other) => other.request_id !== one.request_id) }));
    }, fail, { class: "danger", "data-key": `cancel ${one.request_id}`, "aria-label": `Cancel ${one.request_id}` }) : ""],
  ], rows);
}

// Whether models would fit this machine: the verdict of each in a word, and the plan behind it.

import { get } from "./api.js";
import { bar, bytes, count, h, legend, replace } from "./dom.js";
import { frontier } from "./frontier.js";

const KINDS = { fits: "good", "not now": "warn", "too large": "bad" };
const HINTS = {
  fits: "It fits this machine, with all other models of this server unloaded.",
  "not now": "It would fit if other programs held less of the memory.",
  "too large": "This machine has not that much memory.",
};
const PARTS = [["weights", "weights", "weights_bytes"], ["cache", "context (KV)", "kv_bytes"], ["compute", "compute", "compute_bytes"]];

// The verdicts by name; null as long as the server judges, and where it does not judge none.
export async function verdicts() {
  try {
    const { models } = await get("/admin/fit");
    return new Map(models.map((one) => [one.model.toLowerCase(), one]));
  } catch (error) {
    if (error.status === 404) return new Map();
    throw error;
  }
}

export function verdictBadge(known, name) {
  if (!known) return h("span", { class: "badge" }, "judging…");
  const one = known.get(name.toLowerCase());
  if (!one) return null;
  if (!one.level) return h("span", { class: "badge bad" }, "cannot run");
  const { plan } = one;
  const writes = plan.speed && !plan.runtime.pooling;
  const rate = writes ? `, ${rateOf(plan.speed.decode_tokens_per_second)} tokens/s` : "";
  return h("span", { class: `badge ${KINDS[one.level]}`, title: HINTS[one.level] },
    one.level === "fits" ? `fits: ${plan.quantization} in ${plan.where}${rate}` : one.level);
}

// What unfolds into the plan; it is asked for when it is opened. `opened` has those that are.
export function why(name, opened, fail) {
  const place = opened.get(name) || h("div", { class: "plan" });
  const details = h("details", { class: "why", open: opened.has(name), ontoggle: toggled },
    h("summary", { "data-key": `why ${name}`, "aria-label": `Why: the plan of ${name}` }, "Why"), place);
  async function toggled() {
    if (!details.open) {
      opened.delete(name);
      return;
    }
    opened.set(name, place);
    if (place.firstChild) return;
    replace(place, h("p", { class: "empty" }, "Planning…"));
    try {
      replace(place, plan(await get(`/admin/fit/${name.split("/").map(encodeURIComponent).join("/")}`)));
    } catch (error) {
      replace(place, h("p", { class: "problem small" }, error.message));
      if (error.status === 401) fail(error);
    }
  }
  return details;
}

function plan(told) {
  const { explanation, runtime, speed } = told;
  const facts = [`${count(runtime.context_tokens)} tokens of context`, `${runtime.parallel} at once`, `cache ${runtime.cache_type_k}/${runtime.cache_type_v}`];
  if (speed && !runtime.pooling) {
    facts.push(`about ${rateOf(speed.decode_tokens_per_second)} tokens/s`);
    if (speed.first_token_seconds) facts.push(`first token after ${speed.first_token_seconds.toFixed(1)} s`);
  }
  return [
    h("p", null, h("strong", { class: told.fits ? "" : "problem" }, sentence(told)), " ", h("span", { class: "soft" }, facts.join(" · "))),
    told.memory.devices.map((device) => place(device, told)),
    explanation.programs.length && !told.fits
      ? h("p", { class: "small" }, `Other programs there: ${explanation.programs.map((one) => `${one.name} ${bytes(one.used_bytes)}`).join(", ")}.`) : null,
    explanation.changes.length
      ? [h("p", { class: "small" }, "Each of these would make it fit:"), h("ul", { class: "small" }, explanation.changes.map(change))]
      : !told.fits ? h("p", { class: "small" }, "No smaller context, cache or quantization makes it fit; choose a smaller model.") : null,
    told.grid.length > 1 && told.grid.some((one) => one.fits) && !runtime.pooling ? frontier(told.grid) : null,
    h("p", { class: "soft small" }, "By formula; when it is loaded llama.cpp counts.")];
}

function sentence(told) {
  const name = told.quantization;
  if (told.fits) return `${name} fits in ${told.where}, ${bytes(told.headroom_bytes)} to spare.`;
  if (told.problem) return `${name} cannot be run: ${told.problem}`;
  const where = told.explanation.place === "CPU" ? "RAM" : told.explanation.place;
  const later = told.level === "not now" ? " It would fit if other programs held less." : "";
  return `${name} does not fit: ${where} is ${bytes(told.explanation.short_bytes)} short.${later}`;
}

function place(device, told) {
  const parts = PARTS.map(([kind, title, field]) => [kind, title, device[field]]);
  const known = parts.reduce((sum, [, , size]) => sum + size, 0);
  const rest = [["rest", "output, process", Math.max(0, device.needed_bytes - known)], ["free", "free", Math.max(0, device.headroom_bytes)]];
  const machine = told.machine.places.find((one) => one.name === device.name);
  const title = device.name === "CPU" ? "RAM" : device.name;
  return h("div", { class: "place" },
    h("div", { class: "row small" }, h("span", null, title, " ", h("span", { class: "soft" }, machine?.description || "")),
      h("span", { class: "end soft" }, `needs ${bytes(device.needed_bytes)} of ${bytes(device.room_bytes)}`)),
    roomBar([...parts, ...rest], device, title),
    legend([...parts, ...rest]));
}

// Where more is needed than there is, a line marks where the room ends.
function roomBar(parts, device, title) {
  const node = bar(parts, Math.max(device.room_bytes, device.needed_bytes), title);
  if (device.needed_bytes > device.room_bytes) {
    const end = h("i", { class: "limit", title: `room: ${bytes(device.room_bytes)}` });
    end.style.left = `${(100 * device.room_bytes) / device.needed_bytes}%`;
    node.append(end);
  }
  return node;
}

function change(one) {
  const gain = one.plan ? `, ${bytes(one.plan.headroom_bytes)} to spare in ${one.plan.where}` : "";
  return h("li", null, one.text.startsWith("--") ? h("code", null, one.text) : one.text, gain);
}

function rateOf(rate) {
  return rate >= 10 ? rate.toFixed(0) : rate.toFixed(1);
}

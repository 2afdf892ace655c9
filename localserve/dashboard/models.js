// What is on the server's disk and in its catalog: fits, load, unload, pin, fetch, delete.

import { get, modelPath, post, request } from "./api.js";
import { bytes, count, h, replace, workButton } from "./dom.js";
import { verdictBadge, verdicts, why } from "./fits.js";
import { amend, live, watch } from "./live.js";
import { pull, showPulls } from "./pulls.js";

// Plans that are unfolded, by name: they outlive a drawing.
const unfolded = new Map();

export const models = {
  title: "Models",
  show(main, fail) {
    const filter = h("input", { type: "search", placeholder: "Filter by name", "aria-label": "Filter models by name", oninput: draw });
    const fitting = h("input", { type: "checkbox", oninput: draw });
    const name = h("input", { class: "grow", placeholder: "name, owner/repository or https://…", "aria-label": "Model to fetch", required: true });
    const form = h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); pull(name.value.trim()); name.value = ""; } },
      name, h("button", { class: "main" }, "Fetch"));
    const arriving = h("div");
    const here = h("div", { class: "card" });
    const shelf = h("div", { class: "card" });
    main.append(h("section", null, h("h2", null, "Fetch a model"), form, arriving),
      h("div", { class: "row filters" }, filter, h("label", { class: "check" }, fitting, "only what fits")), here, shelf);
    let disk = null;
    let catalog = null;
    let judged = null;
    let drawn = "";
    let ended = false;

    async function look() {
      judge();
      try {
        const [tags, entries] = await Promise.all([get("/api/tags"), get("/admin/catalog")]);
        disk = tags.models.filter((one) => one.details.family !== "route"); // those have no files
        catalog = entries.models;
      } catch (error) {
        fail(error, true);
      }
      draw();
    }

    // Beside the lists, which do not wait for it.
    async function judge() {
      try {
        judged = await verdicts();
      } catch {
        judged = new Map(); // what fails here fails the lists, too, and they say so
      }
      drawn = "";
      draw();
    }

    async function change(one, what, body = {}) {
      const changed = await post(modelPath(one, what), body);
      amend((now) => ({ ...now, models: withModel(now.models, changed), default: what === "default" ? changed.id : now.default }));
    }

    function draw() {
      if (ended) return;
      const states = live.now ? live.now.models : [];
      const facts = JSON.stringify([disk, catalog, filter.value, fitting.checked,
        states.map((one) => [one.id, one.state, one.pinned, one.progress, one.problem]), live.now?.default]);
      if (facts === drawn) return;
      drawn = facts;
      const wanted = (...names) => (!fitting.checked || !judged || names.some((one) => judged.get(plain(one))?.level === "fits"))
        && names.some((one) => one.toLowerCase().includes(filter.value.trim().toLowerCase()));
      if (!disk) {
        replace(here, h("p", { class: "empty" }, "Looking at the disk…"));
        return;
      }
      const stateOf = (one) => states.find((state) => `${state.id}:latest` === one.name || state.id === one.name);
      const known = disk.map(stateOf);
      const elsewhere = states.filter((state) => !known.includes(state)).map((state) => ({ name: state.id }));
      const own = [...disk, ...elsewhere].filter((one) => wanted(one.name));
      replace(here, h("h2", null, "On this server"),
        own.map((one) => diskItem(one, stateOf(one))),
        own.length ? null : h("p", { class: "empty" }, disk.length ? "No model here is like that." : "There is none yet. Fetch one above."));
      const others = catalog.filter((one) => wanted(one.name, one.repo, ...one.aliases));
      replace(shelf, h("h2", null, "In the catalog"), others.map(shelfItem),
        others.length ? null : h("p", { class: "empty" }, "No entry is like that."));
    }

    function verdict(id) {
      return judged?.size === 0 || (judged && !judged.has(id.toLowerCase())) ? null : verdictBadge(judged, id);
    }

    function reasons(id) {
      const one = judged?.get(id.toLowerCase());
      if (!one) return null;
      return one.level ? why(id, unfolded, fail) : h("div", { class: "problem small" }, one.problem);
    }

    function diskItem(one, state) {
      const id = state ? state.id : one.name.replace(/:latest$/, "");
      const loaded = state && (state.state === "loaded" || state.state === "loading");
      const button = (label, work, properties) => workButton(label, work, fail, { "data-key": `${label} ${id}`, "aria-label": `${label} ${id}`, ...properties });
      return h("div", { class: "item" },
        h("div", { class: "row" }, h("h3", null, id),
          state && state.state !== "unloaded" ? h("span", { class: `badge ${{ loaded: "good", failed: "bad" }[state.state] || ""}` }, state.state) : null,
          live.now?.default === id ? h("span", { class: "badge" }, "default") : null,
          state?.pinned ? h("span", { class: "badge" }, "pinned") : null,
          loaded ? null : verdict(id),
          h("span", { class: "end row" },
            loaded ? button("Unload", () => change(id, "unload")) : button("Load", () => change(id, "load"), { class: "main" }),
            state?.pinned ? button("Unpin", () => change(id, "unpin")) : button("Pin", () => change(id, "pin")),
            live.now?.default === id ? null : button("Make default", () => change(id, "default")),
            one.removable ? button("Delete", () => remove(id), { class: "danger" }) : null)),
        h("div", { class: "soft small" }, [one.size === undefined ? "not on this disk" : bytes(one.size), one.details?.parameter_size, one.details?.quantization_level, one.details?.family].filter(Boolean).join(" · ")),
        state?.state === "loading" && state.progress !== null ? h("progress", { max: 1, value: state.progress, "aria-label": `loading ${id}` }) : null,
        state?.problem ? h("div", { class: "problem small" }, state.problem) : null,
        reasons(id));
    }

    async function remove(id) {
      if (!confirm(`Delete the files of ${id} from the server's disk?`)) return;
      await request("DELETE", "/api/delete", { model: id });
      amend((now) => ({ ...now, models: now.models.filter((one) => one.id !== id) }));
      await look();
    }

    function shelfItem(one) {
      const sizes = Object.entries(one.quantizations).sort((a, b) => a[1] - b[1]);
      const choice = h("select", { "aria-label": `Quantization of ${one.name}`, "data-key": `choice ${one.name}` },
        h("option", { value: "" }, "what fits best"),
        sizes.map(([quantization, size]) => h("option", { value: quantization }, `${quantization} · ${bytes(size)}`)));
      const facts = [one.kind, one.parameters ? `${parameters(one.parameters)} parameters` : "",
        one.active_parameters && one.active_parameters < one.parameters ? `${parameters(one.active_parameters)} active` : "",
        one.trained_context_tokens ? `${count(one.trained_context_tokens)} tokens of context` : "", one.repo];
      return h("div", { class: "item" },
        h("div", { class: "row" }, h("h3", null, one.name), verdict(one.name),
          h("span", { class: "end row" }, sizes.length ? choice : null,
            h("button", { "data-key": `fetch ${one.name}`, "aria-label": `Fetch ${one.name}`, onclick: () => pull(choice.value ? `${one.name}:${choice.value}` : one.name) }, "Fetch"))),
        h("div", { class: "soft small" }, facts.filter(Boolean).join(" · ")),
        reasons(one.name));
    }

    const unwatch = watch(draw);
    const unshow = showPulls(arriving, look, fail);
    look();
    return () => { ended = true; unwatch(); unshow(); };
  },
};

function withModel(models, changed) {
  return models.some((one) => one.id === changed.id) ? models.map((one) => (one.id === changed.id ? changed : one)) : [...models, changed];
}

function plain(name) {
  return name.toLowerCase().replace(/:latest$/, "");
}

function parameters(number) {
  return number >= 1e9 ? `${(number / 1e9).toFixed(1)}B` : `${Math.round(number / 1e6)}M`;
}

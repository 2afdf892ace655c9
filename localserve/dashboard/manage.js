// Keys, recent requests, and the settings that apply.

import { get, key, post } from "./api.js";
import { copyButton, count, h, milliseconds, replace, table, time, workButton } from "./dom.js";
import { live, watch } from "./live.js";

export function requestTable(rows) {
  if (!rows.length) return h("p", { class: "empty" }, "None since the server started.");
  return table([
    ["when", (one) => new Date(one.time).toLocaleTimeString(), "nowrap"],
    ["route", (one) => one.route || one.path],
    ["model", (one) => one.model || ""],
    ["key", (one) => one.key || ""],
    ["status", (one) => h("span", { class: one.error || one.status >= 400 ? "problem" : "" }, one.client_left ? "client left" : one.error || one.status)],
    ["prompt (cached)", (one) => one.prompt_tokens === undefined ? "" : `${count(one.prompt_tokens)} (${count(one.cached_tokens || 0)})`, "n"],
    ["answer", (one) => count(one.completion_tokens), "n"],
    ["waited", (one) => one.lease_ms === undefined ? "" : milliseconds(one.lease_ms + (one.queue_ms || 0)), "n"],
    ["first token", (one) => milliseconds(one.first_token_ms), "n"],
    ["tokens/s", (one) => one.tokens_per_second ? one.tokens_per_second.toFixed(1) : "", "n"],
    ["total", (one) => milliseconds(one.total_ms), "n"],
  ], rows);
}

export const requests = {
  title: "Requests",
  show(main) {
    const place = h("section");
    main.append(h("p", { class: "soft small" }, "The last 100 that asked a model or failed; what was said in them is not kept here."), place);
    let drawn = "";
    function update() {
      const facts = JSON.stringify([live.recent, live.problem && !live.now]);
      if (facts === drawn) return;
      drawn = facts;
      replace(place, live.now ? requestTable(live.recent) : h("p", { class: "empty" }, live.problem || "Asking the server…"));
    }
    update();
    return watch(update);
  },
};

export const settings = {
  title: "Settings",
  show(main, fail) {
    const filter = h("input", { type: "search", placeholder: "Filter settings", "aria-label": "Filter settings", oninput: draw });
    const place = h("section", null, h("p", { class: "empty" }, "Asking the server…"));
    main.append(h("p", { class: "soft small" }, "What applies, and where it came from. They are changed by an option, an environment variable or models.toml."), h("p", null, filter), place);
    let rows = null;
    get("/admin/settings").then((answer) => { rows = answer.settings; draw(); }).catch((error) => fail(error, true));

    function draw() {
      if (!rows) return;
      const wanted = filter.value.trim().toLowerCase();
      const shown = rows.filter((one) => `${one.name} ${one.help} ${one.variable}`.toLowerCase().includes(wanted));
      replace(place, shown.length ? table([
        ["setting", (one) => [h("code", null, one.name), h("div", { class: "soft small" }, one.help)]],
        ["value", (one) => valueText(one)],
        ["from", (one) => one.source === "default" ? h("span", { class: "soft" }, "default") : one.source],
        ["variable", (one) => h("code", null, one.variable)],
      ], shown) : h("p", { class: "empty" }, "No setting has that in its name."));
    }
  },
};

function valueText(one) {
  if ("secret_is_set" in one) return one.secret_is_set ? "set (a secret)" : "not set";
  return one.value === null ? h("span", { class: "soft" }, "decided by the server") : String(one.value);
}

export const keys = {
  title: "Keys",
  show(main, fail) {
    const name = h("input", { required: true, maxlength: 64, autocomplete: "off" });
    const scope = h("select", null, ["inference", "admin", "monitor"].map((one) => h("option", { value: one }, one)));
    const expires = h("input", { placeholder: "never; or 30d, 2027-01-31" });
    const secret = h("div", { role: "status" });
    const place = h("section", null, h("p", { class: "empty" }, "Asking the server…"));
    const form = h("form", { onsubmit: create }, h("h2", null, "Make a key"),
      h("div", { class: "fields" }, h("label", null, "Name", name), h("label", null, "Scope", scope), h("label", null, "Expires", expires)),
      h("button", { class: "main" }, "Make it"), secret);
    main.append(h("section", null, form), place);
    look();

    async function look() {
      try {
        const document = await get("/admin/keys");
        // From the first key on this page needs one itself: that has to be an administrator's.
        scope.disabled = !key.get();
        if (scope.disabled) scope.value = "admin";
        replace(place, h("h2", null, "Keys"), document.keys.length ? list(document.keys) : h("p", { class: "empty" },
          "There are none: whoever reaches this server may use it. The first key closes it to all who have none, so it has the scope admin; this tab uses it from then on."));
      } catch (error) {
        replace(place, h("p", { class: "empty" }, "The server does not tell."));
        fail(error, true);
      }
    }

    async function create(event) {
      event.preventDefault();
      const body = { name: name.value.trim(), scope: scope.value };
      if (expires.value.trim()) body.expires = expires.value.trim();
      try {
        const issued = await post("/admin/keys", body);
        if (!key.get()) key.set(issued.key);
        show(issued);
        form.reset();
        await look();
      } catch (error) {
        fail(error);
      }
    }

    function show(issued) {
      replace(secret, h("p", null, `The secret of ${issued.name}; it is shown this once: `, h("code", null, issued.key), " ", copyButton(issued.key)));
    }

    function list(rows) {
      const path = (one, what) => `/admin/keys/${encodeURIComponent(one.name)}/${what}`;
      return table([
        ["name", (one) => one.name],
        ["scope", (one) => one.scope],
        ["state", (one) => h("span", { class: one.state === "active" ? "" : "problem" }, one.state)],
        ["models", (one) => one.models.join(", ") || "all"],
        ["made", (one) => time(one.created_at)],
        ["expires", (one) => time(one.expires_at) || "never"],
        ["", (one) => one.revoked_at ? "" : h("span", { class: "row" },
          workButton("Rotate", async () => { show(await post(path(one, "rotate"))); await look(); }, fail, { "aria-label": `Rotate ${one.name}` }),
          workButton("Revoke", async () => {
            if (!confirm(`Revoke ${one.name}? Whoever uses it is refused from then on.`)) return;
            await post(path(one, "revoke"));
            await look();
          }, fail, { class: "danger", "aria-label": `Revoke ${one.name}` }))],
      ], rows);
    }
  },
};

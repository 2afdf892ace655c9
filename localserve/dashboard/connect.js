// What each client must be told to use this server.

import { get } from "./api.js";
import { copyButton, count, h, replace } from "./dom.js";
import { live } from "./live.js";

export const connect = {
  title: "Connect",
  show(main, fail) {
    const filter = h("input", { type: "search", placeholder: "Filter clients", "aria-label": "Filter clients", oninput: draw });
    const place = h("div");
    const list = h("div", { id: "clients" });
    main.append(place);
    let told = null;

    get("/admin/connect").then((answer) => {
      told = answer;
      replace(place,
        h("section", null,
          h("div", { class: "row" }, h("span", null, "This server answers at "), h("code", null, told.url), copyButton(told.url),
            h("span", { class: "end" }, filter)),
          told.needs_key ? h("p", { class: "small" }, "Put a key in the place of ", h("code", null, "YOUR_API_KEY"), ": make one under ", h("a", { href: "#keys" }, "Keys"), ".") : null,
          h("p", { class: "soft small" }, "On the server's machine ", h("code", null, "localserve connect NAME --write"), " writes it; ", h("code", null, "--undo"), " takes it back.")),
        list);
      draw();
    }).catch((error) => {
      replace(place, h("section", null, h("p", { class: "empty" }, "The server does not tell.")));
      fail(error, true);
    });

    function draw() {
      if (!told || !list.isConnected) return;
      const wanted = filter.value.trim().toLowerCase();
      const clients = told.clients.filter((one) => `${one.name} ${one.title}`.toLowerCase().includes(wanted));
      clients.sort((a, b) => Number(b.installed) - Number(a.installed));
      replace(list, clients.map(item), clients.length ? null : h("p", { class: "empty" }, "No client has that in its name."));
    }
  },
};

function item(one) {
  const variables = Object.entries(one.variables).map(([name, value]) => `export ${name}=${shell(value)}`).join("\n");
  return h("section", null, h("details", { open: one.installed },
    h("summary", null, h("strong", null, one.title), " ", one.installed ? h("span", { class: "badge good" }, "installed") : null),
    one.problem ? h("p", { class: "problem" }, one.problem) : null,
    contextNote(one.least_context_tokens),
    one.files.map((file) => [h("p", { class: "small" }, "In ", h("code", null, file.path), ":"), block(file.snippet)]),
    variables ? [h("p", { class: "small" }, "In the environment:"), block(variables)] : null,
    one.steps.length ? h("ul", { class: "small" }, one.steps.map((step) => h("li", null, step))) : null));
}

function contextNote(least) {
  if (!least) return null;
  const there = live.now?.models.find((model) => model.id === live.now.default)?.context_tokens;
  const short = there && there < least;
  return h("p", { class: short ? "problem small" : "soft small" }, `It wants a context of ${count(least)} tokens or more`,
    short ? `; the default model is loaded with ${count(there)}.` : ".");
}

function block(text) {
  const trimmed = text.replace(/\n+$/, "");
  return h("div", { class: "code" }, h("pre", { tabindex: "0" }, h("code", null, trimmed)), copyButton(`${trimmed}\n`));
}

function shell(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

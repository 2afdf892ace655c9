// The frame: pages by the address's hash, the connection's state, and the key.

import { key } from "./api.js";
import { h, replace } from "./dom.js";
import { listen, live, watch } from "./live.js";
import { now } from "./now.js";
import { models } from "./models.js";
import { chat } from "./chat.js";
import { connect } from "./connect.js";
import { keys, requests, settings } from "./manage.js";

// A page is { title, show(main, fail) }, which gives what ends it.
const PAGES = { now, models, chat, connect, keys, requests, settings };

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const notice = document.getElementById("notice");
const link = document.getElementById("link");
let leave = () => {};
let asked = false;
let unfilled = false;
let shown = 0;

// With `again`, the page could not get what it shows: it begins anew when the server is back.
function fail(error, again = false) {
  if (error.name === "AbortError") return;
  unfilled ||= again && error.status === 0;
  if (error.status === 401) askForKey(error.message);
  notice.hidden = false;
  replace(notice, h("div", { class: "row" }, h("span", null, error.message),
    h("button", { class: "end", onclick: () => { notice.hidden = true; } }, "Dismiss")));
}

function show() {
  const page = PAGES[location.hash.slice(1)] || now;
  leave();
  unfilled = false;
  notice.hidden = true;
  replace(nav, Object.entries(PAGES).map(([hash, one]) =>
    h("a", { href: `#${hash}`, "data-key": hash, "aria-current": one === page ? "page" : null }, one.title)));
  document.title = `${page.title} · localserve`;
  replace(main, h("h1", null, page.title));
  const mine = shown += 1; // what fails after its page was left is of no interest
  leave = page.show(main, (error, again) => { if (mine === shown) fail(error, again); }) || (() => {});
}

function showLink() {
  const lost = Boolean(live.problem);
  link.className = lost ? "link lost" : "link";
  const said = !lost ? "connected" : live.status ? "no access" : "offline, reconnecting…";
  if (live.status === 401 && !asked) askForKey(live.problem);
  if (!lost && unfilled) show();
  if (link.dataset.said === said) return;
  link.dataset.said = said;
  replace(link, lost && live.status
    ? h("button", { onclick: () => askForKey(live.problem) }, "no access: enter a key")
    : said);
}

function askForKey(why) {
  asked = true;
  if (document.querySelector("dialog")) return;
  const input = h("input", { type: "password", name: "key", autocomplete: "off", value: key.get() });
  const dialog = h("dialog", { "aria-labelledby": "key-title" },
    h("form", { onsubmit: use },
      h("h2", { id: "key-title" }, "This server wants a key"),
      h("p", { class: "soft small" }, why),
      h("p", { class: "soft small" }, "One with the scope admin: ", h("code", null, "localserve keys create NAME --scope admin"),
        ". It stays in this tab, and is forgotten when the tab is closed."),
      h("label", null, "API key", input),
      h("p", { class: "row" }, h("button", { class: "main" }, "Use it"),
        h("button", { type: "button", onclick: () => dialog.close() }, "Not now"))));
  function use(event) {
    event.preventDefault();
    key.set(input.value.trim());
    dialog.close();
    asked = false;
    listen();
    show();
  }
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

watch(showLink);
window.addEventListener("hashchange", () => { show(); window.scrollTo(0, 0); main.focus({ preventScroll: true }); });
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
show();
listen();

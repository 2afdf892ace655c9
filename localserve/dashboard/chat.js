// A playground: a conversation that is kept in this page alone.

import { events, get, problemOf, request } from "./api.js";
import { emptyAnswer, take, wire } from "./conversation.js";
import { copyButton, count, h, replace } from "./dom.js";
import { markdown } from "./markdown.js";
import { asCurl, asPython } from "./snippets.js";
import { callList, toolFields, toolsOf } from "./tools.js";

const SAMPLING = [
  ["temperature", "Temperature", "0.8", 0, 2, "0.05"],
  ["top_p", "Top p", "0.95", 0, 1, "0.01"],
  ["top_k", "Top k", "40", 0, 1000, "1"],
  ["min_p", "Min p", "0.05", 0, 1, "0.01"],
  ["max_tokens", "Most tokens", "no limit", 1, 1000000, "1"],
  ["seed", "Seed", "random", 0, 4294967295, "1"],
];
const DRAW_MS = 60;
const DRAW_SHARE = 5; // drawing takes at most one part of so many of the time

const LONG_CHARACTERS = 8000;
const SHOWN_CHARACTERS = 2000;

// The conversation outlives a look at another page.
const state = { model: "", system: "", fields: {}, tools: { text: "", choice: "" }, messages: [], draft: "", pastes: [], running: null };

export const chat = {
  title: "Chat",
  show(main, fail) {
    const model = h("select", { "aria-label": "Model", onchange: () => { state.model = model.value; } });
    const system = h("textarea", { rows: 2, value: state.system, placeholder: "none", oninput: () => { state.system = system.value; } });
    const fields = SAMPLING.map(([name, title, hint, min, max, step]) => h("label", null, title,
      h("input", { type: "number", name, min, max, step, placeholder: hint, value: state.fields[name] || "", oninput: (event) => { state.fields[name] = event.target.value; } })));
    const log = h("div", { role: "log", "aria-label": "Conversation" });
    const input = h("textarea", { rows: 3, dir: "auto", placeholder: "Write a message; Enter sends it, Shift+Enter begins a new line", "aria-label": "Message", value: state.draft,
      oninput: () => { state.draft = input.value; }, onpaste: paste,
      onkeydown: (event) => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); } } });
    const pasted = h("div", { class: "row" });
    const buttons = h("div", { class: "row" });
    main.append(
      h("section", null,
        h("div", { class: "row" }, h("label", { class: "grow" }, "Model", model)),
        h("details", null, h("summary", null, "System prompt and sampling"),
          h("label", null, "System prompt", system), h("div", { class: "fields" }, fields),
          h("p", { class: "soft small" }, "What is left empty is as the model or the server says.")),
        h("details", { open: Boolean(state.tools.text) }, h("summary", null, "Tools"), toolFields(state.tools))),
      h("section", null, log, input, pasted, h("p", null, buttons)));

    let ended = false;
    listModels();
    drawAll();

    async function listModels() {
      try {
        const { data } = await get("/v1/models");
        const speaking = data.filter((one) => !/embed|rerank/.test((one.capabilities || []).join(" ")) || (one.capabilities || []).includes("completion"));
        replace(model, speaking.map((one) => h("option", { value: one.id }, one.id)));
        if (speaking.some((one) => one.id === state.model)) model.value = state.model;
        state.model = model.value;
      } catch (error) {
        fail(error, true);
      }
    }

    function drawAll() {
      replace(log, state.messages.length ? state.messages.map(draw) : h("p", { class: "empty" }, "Nothing was said yet."));
      drawPastes();
      drawButtons();
    }

    // A long text is kept beside the field: laying it out there can take a browser's whole memory.
    function paste(event) {
      const text = event.clipboardData.getData("text/plain");
      if (text.length <= LONG_CHARACTERS) return;
      event.preventDefault();
      state.pastes.push(text);
      drawPastes();
    }

    function drawPastes() {
      replace(pasted, state.pastes.map((text, at) => h("span", { class: "paste" },
        h("span", { class: "small" }, `pasted text, ${count(text.length)} characters`),
        h("button", { "data-key": `paste ${at}`, "aria-label": `Remove pasted text ${at + 1}`, onclick: () => { state.pastes.splice(at, 1); drawPastes(); input.focus(); } }, "Remove"))));
    }

    // What was written and pasted, as one message.
    function draft() {
      return [state.draft, ...state.pastes].map((text) => text.trim()).filter(Boolean).join("\n\n");
    }

    function drawButtons() {
      const last = state.messages.at(-1);
      replace(buttons,
        state.running
          ? h("button", { class: "danger", "data-key": "send", onclick: () => state.running?.abort() }, "Stop")
          : h("button", { class: "main", "data-key": "send", onclick: send }, "Send"),
        h("button", { disabled: Boolean(state.running) || last?.role !== "assistant", "data-key": "retry", onclick: retry }, "Retry"),
        h("button", { disabled: Boolean(state.running) || !last, "data-key": "clear", onclick: () => { state.messages = []; drawAll(); input.focus(); } }, "Clear"),
        h("span", { class: "end row" }, copyButton(() => asCurl(body(true)), "Copy as curl", fail), copyButton(() => asPython(body(true)), "Copy as Python", fail)));
    }

    function draw(message) {
      const node = h("div", { class: `message ${message.role}` });
      message.redraw = () => replace(node,
        h("div", { class: "who" }, message.role === "user" ? "You" : message.model || "Answer"),
        message.reasoning ? reasoning(message) : null,
        message.role === "user" ? typed(message) : markdown(message.content),
        message.calls?.length ? callList(message, message === state.messages.at(-1) && !state.running, answer, fail) : null,
        message.problem ? h("p", { class: "problem" }, message.problem) : null,
        message.facts ? h("div", { class: "soft small" }, message.facts) : null,
        message === state.messages.at(-1) && state.running && !message.content && !message.reasoning && !message.calls.length ? h("p", { class: "empty" }, "…") : null);
      message.redraw();
      return node;
    }

    function send() {
      const text = draft();
      if (!text || state.running) return;
      try {
        toolsOf(state.tools);
      } catch (error) {
        fail(error);
        return;
      }
      state.messages.push({ role: "user", content: text });
      input.value = state.draft = "";
      state.pastes = [];
      answer().catch(fail);
    }

    function retry() {
      const before = state.messages.pop();
      answer().catch((error) => {
        state.messages.push(before);
        fail(error);
      });
    }

    // With the draft, as what is copied; else as what is sent. Throws what is wrong with the tools.
    function body(withDraft) {
      const next = withDraft ? draft() : "";
      const messages = wire(next ? [...state.messages, { role: "user", content: next }] : state.messages);
      if (withDraft && messages.at(-1)?.role === "assistant") messages.pop();
      if (state.system.trim()) messages.unshift({ role: "system", content: state.system });
      const given = Object.entries(state.fields).filter(([, text]) => text !== "").map(([name, text]) => [name, Number(text)]);
      return { model: state.model, messages, stream: true, ...toolsOf(state.tools), ...Object.fromEntries(given) };
    }

    // Rejects only before anything is asked.
    async function answer() {
      const asked = body(false);
      const message = emptyAnswer(state.model);
      const running = state.running = new AbortController();
      state.messages.push(message);
      drawAll();
      let waiting = 0;
      let pause = DRAW_MS;
      const drawNow = () => {
        const began = performance.now();
        waiting = 0;
        message.redraw();
        follow();
        pause = Math.max(DRAW_MS, DRAW_SHARE * (performance.now() - began));
      };
      const soon = () => { waiting ||= setTimeout(drawNow, pause); };
      try {
        const stream = await request("POST", "/v1/chat/completions", { ...asked, stream_options: { include_usage: true } }, running.signal);
        for await (const event of events(stream)) {
          if (event.error) throw new Error(problemOf(event));
          take(message, event);
          soon();
        }
      } catch (error) {
        message.problem = error.name === "AbortError" ? "Stopped." : error.message;
        if (error.status === 401) fail(error);
      }
      clearTimeout(waiting);
      state.running = null;
      message.redraw();
      follow();
      if (!ended) drawButtons();
    }

    return () => { ended = true; };
  },
};

// What a person wrote; of a long paste the beginning, for a browser is slow with all of it.
function typed(message) {
  const plain = (text) => h("div", { class: "plain", dir: "auto" }, text);
  if (message.whole || message.content.length <= LONG_CHARACTERS) return plain(message.content);
  const begin = message.content.slice(0, SHOWN_CHARACTERS).replace(/[\uD800-\uDBFF]$/, "");
  return [plain(`${begin}…`), h("button", { "data-key": "whole", onclick: () => { message.whole = true; message.redraw(); } },
    `Show all ${count(message.content.length)} characters`)];
}

function reasoning(message) {
  return h("details", { class: "reasoning", open: Boolean(message.unfolded), ontoggle: (event) => { message.unfolded = event.target.open; } },
    h("summary", { "data-key": "reasoning" }, message.content ? "Reasoning" : "Reasoning…"), h("div", { class: "plain" }, message.reasoning));
}

// Keeps the end in sight for who is at the end.
function follow() {
  const page = document.documentElement;
  if (page.scrollHeight - page.scrollTop - page.clientHeight < 160) page.scrollTop = page.scrollHeight;
}

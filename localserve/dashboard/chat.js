// A playground: a conversation that is kept in this page alone.

import { events, get, key, problemOf, request } from "./api.js";
import { copyButton, count, h, replace } from "./dom.js";
import { markdown } from "./markdown.js";

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

// The conversation outlives a look at another page.
const state = { model: "", system: "", fields: {}, messages: [], draft: "", running: null };

export const chat = {
  title: "Chat",
  show(main, fail) {
    const model = h("select", { onchange: () => { state.model = model.value; } });
    const system = h("textarea", { rows: 2, value: state.system, placeholder: "none", oninput: () => { state.system = system.value; } });
    const fields = SAMPLING.map(([name, title, hint, min, max, step]) => h("label", null, title,
      h("input", { type: "number", name, min, max, step, placeholder: hint, value: state.fields[name] || "", oninput: (event) => { state.fields[name] = event.target.value; } })));
    const log = h("div", { role: "log", "aria-label": "Conversation" });
    const input = h("textarea", { rows: 3, placeholder: "Write a message; Enter sends it, Shift+Enter begins a new line", "aria-label": "Message", value: state.draft,
      oninput: () => { state.draft = input.value; },
      onkeydown: (event) => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); } } });
    const buttons = h("div", { class: "row" });
    main.append(
      h("section", null,
        h("div", { class: "row" }, h("label", { class: "grow" }, "Model", model)),
        h("details", null, h("summary", null, "System prompt and sampling"),
          h("label", null, "System prompt", system), h("div", { class: "fields" }, fields),
          h("p", { class: "soft small" }, "What is left empty is as the model or the server says."))),
      h("section", null, log, input, h("p", null, buttons)));

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
        fail(error);
      }
    }

    function drawAll() {
      replace(log, state.messages.length ? state.messages.map(draw) : h("p", { class: "empty" }, "Nothing was said yet."));
      drawButtons();
    }

    function drawButtons() {
      const last = state.messages.at(-1);
      replace(buttons,
        state.running
          ? h("button", { class: "danger", "data-key": "send", onclick: () => state.running?.abort() }, "Stop")
          : h("button", { class: "main", "data-key": "send", onclick: send }, "Send"),
        h("button", { disabled: Boolean(state.running) || last?.role !== "assistant", "data-key": "retry", onclick: retry }, "Retry"),
        h("button", { disabled: Boolean(state.running) || !last, "data-key": "clear", onclick: () => { state.messages = []; drawAll(); input.focus(); } }, "Clear"),
        h("span", { class: "end row" }, copyButton(() => asCurl(body(true)), "Copy as curl"), copyButton(() => asPython(body(true)), "Copy as Python")));
    }

    function draw(message) {
      const node = h("div", { class: `message ${message.role}` });
      message.redraw = () => replace(node,
        h("div", { class: "who" }, message.role === "user" ? "You" : message.model || "Answer"),
        message.reasoning ? reasoning(message) : null,
        message.role === "user" ? h("div", { class: "plain" }, message.content) : markdown(message.content),
        message.problem ? h("p", { class: "problem" }, message.problem) : null,
        message.facts ? h("div", { class: "soft small" }, message.facts) : null,
        message === state.messages.at(-1) && state.running && !message.content && !message.reasoning ? h("p", { class: "empty" }, "…") : null);
      message.redraw();
      return node;
    }

    function send() {
      const text = input.value.trim();
      if (!text || state.running) return;
      state.messages.push({ role: "user", content: text });
      input.value = state.draft = "";
      answer();
    }

    function retry() {
      state.messages.pop();
      answer();
    }

    function body(whole) {
      const messages = state.messages.filter((one) => !(one.role === "assistant" && !one.content)).map(({ role, content }) => ({ role, content }));
      if (whole && state.draft.trim()) messages.push({ role: "user", content: state.draft.trim() });
      if (whole && messages.at(-1)?.role === "assistant") messages.pop();
      if (state.system.trim()) messages.unshift({ role: "system", content: state.system });
      const given = Object.entries(state.fields).filter(([, text]) => text !== "").map(([name, text]) => [name, Number(text)]);
      return { model: state.model, messages, stream: true, ...Object.fromEntries(given) };
    }

    async function answer() {
      const asked = body(false);
      const message = { role: "assistant", content: "", reasoning: "", model: state.model };
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
      redrawButtons();
    }

    let redrawButtons = drawButtons;
    return () => { redrawButtons = () => {}; };
  },
};

function take(message, event) {
  const delta = event.choices?.[0]?.delta || {};
  message.content += delta.content || "";
  message.reasoning += delta.reasoning_content || "";
  if (event.model) message.model = event.model;
  if (!event.usage) return;
  const cached = event.usage.prompt_tokens_details?.cached_tokens || 0;
  const facts = [`${count(event.usage.prompt_tokens)} prompt tokens, ${count(cached)} of them cached`, `${count(event.usage.completion_tokens)} answered`];
  if (event.timings?.predicted_per_second) facts.push(`${event.timings.predicted_per_second.toFixed(1)} tokens/s`);
  message.facts = facts.join(" · ");
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

function asCurl(body) {
  const quoted = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  const auth = key.get() ? " \\\n  -H \"Authorization: Bearer $LOCALSERVE_API_KEY\"" : "";
  return `curl -N ${location.origin}/v1/chat/completions \\\n  -H 'Content-Type: application/json'${auth} \\\n  -d '${quoted}'\n`;
}

// What stands here of JSON, strings, numbers, lists and objects, is Python as well.
function asPython(body) {
  const { model, messages, stream: _, temperature, top_p, max_tokens, seed, ...rest } = body;
  const named = Object.entries({ temperature, top_p, max_tokens, seed }).filter(([, value]) => value !== undefined);
  const more = Object.keys(rest).length ? [["extra_body", JSON.stringify(rest)]] : [];
  const lines = [...named, ...more].map(([name, value]) => `    ${name}=${value},\n`).join("");
  const secret = key.get() ? "os.environ[\"LOCALSERVE_API_KEY\"]" : "\"none\"";
  return `${key.get() ? "import os\n\n" : ""}from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(`${location.origin}/v1`)}, api_key=${secret})
stream = client.chat.completions.create(
    model=${JSON.stringify(model)},
    messages=${JSON.stringify(messages, null, 4).replaceAll("\n", "\n    ")},
${lines}    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
`;
}

// Tools as JSON, the calls that a model makes of them, and the results that a person gives back.

import { answered } from "./conversation.js";
import { h, workButton } from "./dom.js";

const EXAMPLE = [{
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather at a place now",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
}];
const CHOICES = [["", "as the model likes"], ["required", "it must call one"], ["none", "it must call none"]];

// The fields; `state` has `text` and `choice`.
export function toolFields(state) {
  const problem = h("p", { class: "problem small", role: "status" });
  const text = h("textarea", { rows: 4, value: state.text, spellcheck: "false", class: "mono", placeholder: "none", oninput: () => { state.text = text.value; check(); } });
  const choice = h("select", { onchange: () => { state.choice = choice.value; } }, CHOICES.map(([value, title]) => h("option", { value }, title)));
  choice.value = state.choice;
  function check() {
    problem.textContent = problemOf(state.text);
  }
  check();
  return h("div", null, h("label", null, "Tools, a JSON list as the API takes it", text), problem,
    h("div", { class: "row" }, h("label", null, "Calls", choice),
      h("span", { class: "end" }, h("button", { type: "button", onclick: () => { text.value = state.text = JSON.stringify(EXAMPLE, null, 2); check(); } }, "Put in an example"))));
}

// What goes into a request. Throws what is wrong with the text.
export function toolsOf(state) {
  const tools = parse(state.text);
  if (!tools.length) return {};
  return { tools, ...(state.choice ? { tool_choice: state.choice } : {}) };
}

function problemOf(text) {
  try {
    parse(text);
    return "";
  } catch (error) {
    return error.message;
  }
}

function parse(text) {
  if (!text.trim()) return [];
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`The tools are no JSON: ${error.message}`);
  }
  const list = Array.isArray(value) ? value : [value];
  return list.map((one, at) => {
    const tool = one?.function ? one : { type: "function", function: one };
    if (typeof tool.function?.name !== "string" || !tool.function.name) throw new Error(`Tool ${at + 1} has no name: {"type": "function", "function": {"name": …}}.`);
    return tool;
  });
}

// The calls of a message. While one of the last message waits for its result there is a field for
// it; `goOn` is called when all are there.
export function callList(message, waiting, goOn, fail) {
  const open = waiting && !answered(message);
  return h("div", { class: "calls" },
    message.calls.map((call) => h("div", { class: "call" },
      h("div", { class: "small" }, h("span", { class: "badge" }, "call"), " ", h("code", null, call.name)),
      h("pre", { tabindex: "0", "aria-label": `Arguments of ${call.name}` }, h("code", null, pretty(call.arguments))),
      open
        ? h("label", null, `Result of ${call.name}`, h("textarea", { rows: 2, class: "mono", value: call.draft || "", oninput: (event) => { call.draft = event.target.value; } }))
        : call.result === undefined ? null : [h("div", { class: "soft small" }, "Result"), h("pre", { tabindex: "0", "aria-label": `Result of ${call.name}` }, h("code", null, call.result))])),
    open ? workButton(message.calls.length > 1 ? "Give the results and go on" : "Give the result and go on", async () => {
      for (const call of message.calls) call.result = call.draft || "";
      try {
        await goOn();
      } catch (error) {
        for (const call of message.calls) call.result = undefined;
        throw error;
      }
    }, fail, { class: "main", "data-key": "give" }) : null);
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // it is still coming, or it is no JSON
  }
}

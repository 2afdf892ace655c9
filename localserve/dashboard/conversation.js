// A conversation as a value: what was said, and what is asked of a model next. Knows no page.
//
// A message is { role, content }; one of a model has `reasoning`, `facts`, `problem` and `calls`,
// each { id, name, arguments, result }: what a call gave lies with the call.

import { count } from "./dom.js";

// The messages as the API takes them. A call without its result cannot be told of.
export function wire(messages) {
  return messages.flatMap((one) => {
    if (one.role === "user") return [{ role: "user", content: one.content }];
    const calls = answered(one) ? one.calls : [];
    if (!one.content && !calls.length) return [];
    const said = { role: "assistant", content: one.content || null };
    if (!calls.length) return [said];
    return [
      { ...said, tool_calls: calls.map((call) => ({ id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } })) },
      ...calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: call.result })),
    ];
  });
}

// Whether there are calls and all have their results.
export function answered(message) {
  return message.calls?.length > 0 && message.calls.every((call) => call.result !== undefined);
}

export function emptyAnswer(model) {
  return { role: "assistant", content: "", reasoning: "", calls: [], model };
}

// Takes in one event of a stream.
export function take(message, event) {
  const delta = event.choices?.[0]?.delta || {};
  message.content += delta.content || "";
  message.reasoning += delta.reasoning_content || "";
  for (const part of delta.tool_calls || []) takeCall(message.calls, part);
  if (event.model) message.model = event.model;
  if (event.usage) message.facts = factsOf(event);
}

function takeCall(calls, part) {
  const call = calls[part.index] ||= { id: "", name: "", arguments: "", result: undefined };
  if (part.id) call.id = part.id;
  call.name += part.function?.name || "";
  call.arguments += part.function?.arguments || "";
}

function factsOf({ usage, timings }) {
  const cached = usage.prompt_tokens_details?.cached_tokens || 0;
  const facts = [`${count(usage.prompt_tokens)} prompt tokens, ${count(cached)} of them cached`, `${count(usage.completion_tokens)} answered`];
  if (timings?.predicted_per_second) facts.push(`${timings.predicted_per_second.toFixed(1)} tokens/s`);
  return facts.join(" · ");
}

// A request to a model as something to paste: a shell's line, or a program.

import { key } from "./api.js";

export function asCurl(body) {
  const quoted = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  const auth = key.get() ? " \\\n  -H \"Authorization: Bearer $LOCALSERVE_API_KEY\"" : "";
  return `curl -N ${location.origin}/v1/chat/completions \\\n  -H 'Content-Type: application/json'${auth} \\\n  -d '${quoted}'\n`;
}

export function asPython(body) {
  const { model, messages, stream: _, tools, tool_choice, temperature, top_p, max_tokens, seed, ...rest } = body;
  const more = Object.keys(rest).length ? rest : undefined;
  const named = { model, messages, tools, tool_choice, temperature, top_p, max_tokens, seed, extra_body: more };
  const lines = Object.entries(named).filter(([, value]) => value !== undefined)
    .map(([name, value]) => `    ${name}=${python(value, "    ")},\n`).join("");
  const secret = key.get() ? "os.environ[\"LOCALSERVE_API_KEY\"]" : "\"none\"";
  return `${key.get() ? "import os\n\n" : ""}from openai import OpenAI

client = OpenAI(base_url=${python(`${location.origin}/v1`)}, api_key=${secret})
stream = client.chat.completions.create(
${lines}    stream=True,
)
for chunk in stream:
    if chunk.choices:
        delta = chunk.choices[0].delta
${tools ? CALLS : ""}        print(delta.content or "", end="", flush=True)
`;
}

const CALLS = `        for call in delta.tool_calls or []:
            print(call.function.name or "", call.function.arguments or "", sep="", end="", flush=True)
`;

// A value of JSON as Python writes it.
function python(value, indent = "") {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const deeper = `${indent}    `;
  const list = Array.isArray(value);
  const parts = list
    ? value.map((one) => python(one, deeper))
    : Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${python(one, deeper)}`);
  const [open, close] = list ? "[]" : "{}";
  if (!parts.length) return open + close;
  return `${open}\n${parts.map((one) => `${deeper}${one},\n`).join("")}${indent}${close}`;
}

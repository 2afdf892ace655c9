// What quantizations and contexts cost, as a picture and as a table: rows are quantizations, the
// best first, columns contexts, cells how many tokens per second there would be.

import { bytes, count, h, svg, table } from "./dom.js";

const CELL = [66, 30];
const LABEL = 84;
const HEAD = 26;
const KINDS = { GPU: "on-gpu", "GPU + RAM": "on-both", RAM: "on-ram" };

// `grid` are the points of a plan: { quantization, context_tokens, fits, where, best, … }.
export function frontier(grid) {
  const names = [...new Set(grid.map((one) => one.quantization))];
  const contexts = [...new Set(grid.map((one) => one.context_tokens))].sort((a, b) => a - b);
  const at = new Map(grid.map((one) => [`${one.quantization} ${one.context_tokens}`, one]));
  const [wide, high] = CELL;
  const width = LABEL + contexts.length * wide;
  const height = HEAD + names.length * high;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "frontier", role: "img", "aria-label": summary(grid) },
    contexts.map((context, column) => svg("text", { x: LABEL + (column + 0.5) * wide, y: HEAD - 9, class: "axis", "text-anchor": "middle" }, short(context))),
    names.map((name, row) => svg("text", { x: 0, y: HEAD + (row + 0.5) * high + 4, class: "axis" }, name)),
    names.flatMap((name, row) => contexts.map((context, column) =>
      cell(at.get(`${name} ${context}`), LABEL + column * wide, HEAD + row * high))));
  const measured = grid.some((one) => one.decode_tokens_per_second);
  const kinds = [...new Set(grid.filter((one) => one.fits).map((one) => one.where))];
  return h("figure", null,
    h("figcaption", { class: "small soft" },
      `${measured ? "Tokens per second" : "What is left of the memory"} by quantization and tokens of context.`,
      grid.some((one) => one.best) ? " An outline marks what no other beats in quality, context and speed at once." : null,
      measured ? null : [" How fast it would be is told once ", h("code", null, "localserve fit"), " has measured this machine."]),
    h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Quantizations and contexts" }, picture),
    h("div", { class: "legend" }, kinds.map((where) => h("span", null, h("i", { class: KINDS[where] }), where)),
      grid.some((one) => !one.fits) ? h("span", null, h("i", { class: "on-none" }), "does not fit") : null),
    h("details", { class: "small" }, h("summary", null, "As a table"), asTable(names, contexts, at)));
}

function cell(one, x, y) {
  if (!one) return null;
  const [wide, high] = CELL;
  const kind = one.fits ? KINDS[one.where] : "on-none";
  return svg("g", { class: `${kind}${one.best ? " best" : ""}` },
    svg("title", null, words(one)),
    svg("rect", { x: x + 2, y: y + 2, width: wide - 4, height: high - 4, rx: 5 }),
    svg("text", { x: x + wide / 2, y: y + high / 2 + 4, "text-anchor": "middle" }, one.fits ? figure(one) : "–"));
}

function figure(one) {
  const rate = one.decode_tokens_per_second;
  if (rate === null) return bytes(one.headroom_bytes).replace("iB", "");
  return rate >= 10 ? rate.toFixed(0) : rate.toFixed(1);
}

function words(one) {
  const what = `${one.quantization} with ${count(one.context_tokens)} tokens of context`;
  if (!one.fits) return `${what}: ${bytes(-one.headroom_bytes)} short`;
  const rate = one.decode_tokens_per_second;
  return `${what}: in ${one.where}, ${rate === null ? "" : `${figure(one)} tokens/s, `}${bytes(one.headroom_bytes)} to spare${one.best ? "; no other beats it" : ""}`;
}

function summary(grid) {
  const fitting = grid.filter((one) => one.fits);
  if (!fitting.length) return "No quantization fits with any context.";
  const longest = Math.max(...fitting.map((one) => one.context_tokens));
  return `${fitting.length} of ${grid.length} ways fit; the longest context that fits has ${count(longest)} tokens. The table below has all of them.`;
}

function asTable(names, contexts, at) {
  return table([["quantization", (name) => name],
    ...contexts.map((context) => [short(context), (name) => {
      const one = at.get(`${name} ${context}`);
      if (!one) return "";
      return one.fits ? `${figure(one)}${one.best ? " *" : ""}, ${one.where}` : `${bytes(-one.headroom_bytes)} short`;
    }, "n"])], names);
}

function short(tokens) {
  return tokens >= 1024 && tokens % 1024 === 0 ? `${tokens / 1024}K` : count(tokens);
}

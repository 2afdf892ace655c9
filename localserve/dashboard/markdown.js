// Markdown as nodes: headings, lists, quotes, code, emphasis. Whatever else a model writes stays
// text: no HTML, no images, no links that run anything.

import { copyButton, h } from "./dom.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const HEADING = /^(#{1,6})\s+(.*)$/;
const INLINE = /(`+)([^`]|[^`][^]*?[^`])\1(?!`)|\*\*(\S(?:[^*]*[^*\s])?)\*\*|\*(\S(?:[^*]*[^*\s])?)\*|\[([^\]\n]{1,500})\]\((https?:\/\/[^\s()<>"]{1,2000})\)/;

// Each block is written in its own direction.
const TEXT = { dir: "auto" };

// On a longer line no emphasis is looked for: it would take time that grows with its square.
const LONGEST_LINE = 4000;

export function markdown(text) {
  const lines = text.split("\n");
  const nodes = [];
  let at = 0;
  while (at < lines.length) {
    const fence = FENCE.exec(lines[at]);
    if (fence) {
      const end = closing(lines, at + 1, fence[1]);
      nodes.push(codeBlock(lines.slice(at + 1, end).join("\n"), fence[2]));
      at = end + 1;
    } else if (!lines[at].trim()) {
      at += 1;
    } else if (HEADING.test(lines[at])) {
      const [, marks, words] = HEADING.exec(lines[at]);
      nodes.push(h(marks.length < 3 ? "h3" : "h4", TEXT, inline(words)));
      at += 1;
    } else if (ITEM.test(lines[at])) {
      const end = run(lines, at, (line) => ITEM.test(line) || /^\s{2,}\S/.test(line));
      nodes.push(list(lines.slice(at, end)));
      at = end;
    } else if (lines[at].startsWith(">")) {
      const end = run(lines, at, (line) => line.startsWith(">"));
      nodes.push(h("blockquote", TEXT, inline(lines.slice(at, end).map((line) => line.replace(/^>\s?/, "")).join("\n"))));
      at = end;
    } else {
      const end = run(lines, at + 1, (line) => line.trim() && !FENCE.test(line) && !ITEM.test(line) && !HEADING.test(line) && !line.startsWith(">"));
      nodes.push(h("p", { class: "plain", ...TEXT }, inline(lines.slice(at, end).join("\n"))));
      at = end;
    }
  }
  return nodes;
}

function run(lines, at, belongs) {
  while (at < lines.length && belongs(lines[at])) at += 1;
  return at;
}

function closing(lines, at, marks) {
  while (at < lines.length && !lines[at].trim().startsWith(marks)) at += 1;
  return at;
}

function codeBlock(text, language) {
  return h("div", { class: "code" }, h("pre", { tabindex: "0", dir: "ltr", "aria-label": language ? `${language} code` : "code" }, h("code", null, text)), copyButton(text));
}

function list(lines) {
  const ordered = /^\s*\d/.test(lines[0]);
  const items = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item) items.push([item[1].length, item[3]]);
    else items.at(-1)[1] += `\n${line.trim()}`;
  }
  const start = ordered ? parseInt(lines[0], 10) : 1;
  return h(ordered ? "ol" : "ul", { ...TEXT, start: ordered && start !== 1 ? start : null }, items.map(([depth, words]) => {
    const node = h("li", TEXT, inline(words));
    if (depth) node.style.marginLeft = `${Math.min(depth, 12) * 0.5}em`;
    return node;
  }));
}

function inline(text) {
  const nodes = [];
  // A line of its own at a time: emphasis does not cross one, and a long answer stays cheap.
  for (const [number, line] of text.split("\n").entries()) {
    if (number) nodes.push("\n");
    if (line.length > LONGEST_LINE) {
      nodes.push(line);
      continue;
    }
    let rest = line;
    for (let found = INLINE.exec(rest); found; found = INLINE.exec(rest)) {
      if (found.index) nodes.push(rest.slice(0, found.index));
      const [whole, ticks, code, strong, soft, label, address] = found;
      if (ticks) nodes.push(h("code", null, code.trim()));
      else if (strong) nodes.push(h("strong", null, strong));
      else if (soft) nodes.push(h("em", null, soft));
      else nodes.push(h("a", { href: address, rel: "noopener noreferrer nofollow", target: "_blank", title: address }, label));
      rest = rest.slice(found.index + whole.length);
    }
    if (rest) nodes.push(rest);
  }
  return nodes;
}

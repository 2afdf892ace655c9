// Nodes from values. Text becomes text nodes: nothing here can make markup of it.

export function h(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "disabled" || name === "open") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  add(node, children);
  return node;
}

// As `h`, in a picture.
export function svg(tag, properties, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value !== undefined && value !== null && value !== false) node.setAttribute(name, String(value));
  }
  add(node, children);
  return node;
}

// A bar of parts, each [kind, title, size]; kinds are colours. `whole` is what the full width means.
export function bar(parts, whole, label) {
  const shown = parts.filter(([, , size]) => size > 0);
  return h("div", { class: "bar", role: "img", "aria-label": `${label}: ${shown.map(([, title, size]) => `${title} ${bytes(size)}`).join(", ")}` },
    shown.filter(([kind]) => kind !== "free").map(([kind, title, size]) => {
      const piece = h("i", { class: kind, title: `${title}: ${bytes(size)}` });
      piece.style.width = `${(100 * size) / Math.max(whole, 1)}%`;
      return piece;
    }));
}

// What the colours of a bar mean, and the sizes; read aloud they are the bar's.
export function legend(parts) {
  return h("div", { class: "legend", "aria-hidden": "true" }, parts.filter(([, , size]) => size > 0).map(([kind, title, size]) =>
    h("span", null, h("i", { class: kind }), `${title} ${bytes(size)}`)));
}

function add(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

// Other children for a node; the focus stays on what has the same data-key.
export function replace(node, ...children) {
  const key = node.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  node.replaceChildren();
  add(node, children);
  if (key === undefined) return;
  for (const one of node.querySelectorAll("[data-key]")) if (one.dataset.key === key) one.focus();
}

// A table that stands as a list of cards on a narrow screen. A column is [title, cell, class].
export function table(columns, rows) {
  return h("div", { class: "wide" }, h("table", { class: "cards" },
    h("thead", null, h("tr", null, columns.map(([title, , kind]) => h("th", { class: kind, scope: "col" }, title)))),
    h("tbody", null, rows.map((row) => h("tr", null, columns.map(([title, cell, kind]) =>
      h("td", { class: kind, "data-title": title }, h("span", null, cell(row)))))))));
}

// `text` may be what makes it; what that throws goes to `fail`.
export function copyButton(text, label = "Copy", fail = () => {}) {
  const button = h("button", { type: "button", onclick: () => copy().catch(fail) }, label);
  async function copy() {
    const done = await toClipboard(typeof text === "function" ? text() : text);
    button.textContent = done ? "Copied" : "Select it and press Ctrl+C";
    setTimeout(() => { button.textContent = label; }, 1800);
  }
  return button;
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without TLS a browser has no clipboard but for this machine's own pages.
    const area = h("textarea", { class: "skip", value: text });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

// A button that waits for its work; what fails goes to `fail`.
export function workButton(label, work, fail, properties) {
  const button = h("button", { type: "button", ...properties, onclick: run }, label);
  async function run() {
    button.disabled = true;
    try {
      await work();
    } catch (error) {
      fail(error);
    } finally {
      button.disabled = false;
    }
  }
  return button;
}

export function bytes(size) {
  if (size === null || size === undefined) return "unknown";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) { size /= 1024; unit += 1; }
  return `${size.toFixed(unit === 0 || size >= 100 ? 0 : 1)} ${units[unit]}`;
}

export function milliseconds(value) {
  if (value === null || value === undefined) return "";
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

export function count(value) {
  return value === null || value === undefined ? "" : value.toLocaleString("en");
}

export function time(text) {
  return text ? new Date(text).toLocaleString() : "";
}

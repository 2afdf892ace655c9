// Who holds how much: bars of a device's memory, and of what was predicted of a model.

import { bar, bytes, h, legend } from "./dom.js";

const PARTS = [["weights", "weights", "weights_bytes"], ["cache", "context (KV)", "cache_bytes"], ["compute", "compute", "compute_bytes"]];

// One device, with what the models that are loaded hold of it.
export function deviceMemory(device, models) {
  const parts = PARTS.map(([kind, title, field]) => [kind, title, sumOn(device.device, models, field)]);
  const told = parts.reduce((sum, [, , size]) => sum + size, 0);
  parts.push(["rest", "output, checkpoints", Math.max(0, device.held_bytes - told)]);
  const measured = device.total_bytes !== null;
  const whole = Math.max(device.total_bytes ?? device.capacity_bytes ?? 0, device.held_bytes);
  if (measured) parts.push(["server", "the server itself", device.server_bytes], ["other", "other programs", device.other_bytes], ["free", "free", device.free_bytes]);
  else parts.push(["free", "free", whole - device.held_bytes]);
  const name = device.device === "CPU" ? "RAM" : device.device;
  const room = device.capacity_bytes === null ? "" : `; models may have ${bytes(device.capacity_bytes)}`;
  return h("div", { class: "item" },
    h("div", { class: "row" }, h("h3", null, name), device.part_of ? h("span", { class: "soft small" }, `part of ${device.part_of === "CPU" ? "RAM" : device.part_of}`) : null,
      h("span", { class: "end soft small" }, measured ? `${bytes(device.total_bytes)}${room}` : `${bytes(device.held_bytes)} held by models${room}`)),
    bar(parts, whole, name), legend(parts));
}

function sumOn(device, models, field) {
  return models.reduce((sum, one) => sum + partsOf(one.measured || one.predicted, field, device), 0);
}

// What a usage has of one part, with what lies beside the model; of one device or of all.
function partsOf(usage, field, device) {
  if (!usage) return 0;
  return [usage, ...(usage.beside || [])].flatMap((one) => one.devices)
    .filter((one) => !device || one.device === device)
    .reduce((sum, one) => sum + (one[field] || 0), 0);
}

// What was predicted of a model, above what llama.cpp then held, on one scale.
export function comparison(one) {
  const rows = [["predicted", one.predicted], ["measured", one.measured]].map(([title, usage]) => {
    const parts = PARTS.map(([kind, name, field]) => [kind, name, partsOf(usage, field)]);
    return [title, parts, parts.reduce((sum, [, , size]) => sum + size, 0)];
  });
  const whole = Math.max(...rows.map(([, , total]) => total), 1);
  const off = rows[0][2] ? (100 * (rows[1][2] - rows[0][2])) / rows[0][2] : 0;
  return h("div", { class: "compare" }, rows.map(([title, parts, total]) => [
    h("span", null, title), bar(parts, whole, `${title} of ${one.id}`),
    h("span", { class: "nowrap" }, bytes(total), title === "measured" ? ` (${off >= 0 ? "+" : "−"}${Math.abs(off).toFixed(1)} %)` : "")]));
}

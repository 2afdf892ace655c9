// Downloads: they go on while other pages are shown, and end with this tab.

import { lines, post, request } from "./api.js";
import { bytes, h, replace, workButton } from "./dom.js";

const pulls = new Map();
const listeners = new Set();

// Shows the downloads in `place`; `arrived` is called when one is complete. Gives what ends that.
export function showPulls(place, arrived, fail) {
  function draw() {
    replace(place, [...pulls.values()].map((one) => item(one, fail)));
    const fresh = [...pulls.values()].filter((one) => one.fresh);
    for (const one of fresh) one.fresh = false;
    if (fresh.length) arrived();
  }
  listeners.add(draw);
  draw();
  return () => listeners.delete(draw);
}

export async function pull(name) {
  if (!name || (pulls.has(name) && !pulls.get(name).ended)) return;
  const before = pulls.get(name);
  const one = { name, said: "looking for it", abort: new AbortController(), total: before?.total || 0, completed: before?.completed || 0, ended: false };
  pulls.set(name, one);
  tell();
  try {
    const answer = await request("POST", "/api/pull", { model: name }, one.abort.signal);
    let complete = false;
    for await (const line of lines(answer)) {
      const news = JSON.parse(line);
      if (news.error) throw new Error(news.error);
      complete = news.status === "success";
      take(one, news);
      tell();
    }
    if (!complete) throw new Error("The server ended it.");
    one.said = "here";
    one.total = 0;
    one.fresh = true;
  } catch (error) {
    one.paused = error.name === "AbortError";
    one.failed = !one.paused;
    const where = one.total ? ` at ${share(one)}` : "";
    one.said = one.paused ? `paused${where}` : `${error.message}${where && ` It got as far as ${share(one)}.`}`;
  }
  one.ended = true;
  tell();
}

function take(one, news) {
  if (news.total) {
    one.total = news.total;
    one.completed = news.completed || 0;
  }
  one.said = news.total ? share(one) : news.status;
}

function share(one) {
  return `${bytes(one.completed)} of ${bytes(one.total)}`;
}

// Ends a download and deletes what came of it.
async function cancel(one) {
  one.abort.abort();
  try {
    await post(`/admin/pulls/${one.name.split("/").map(encodeURIComponent).join("/")}/discard`);
  } catch (error) {
    if (error.status !== 404) throw error; // nothing came
  }
  if (pulls.get(one.name) === one) pulls.delete(one.name);
  tell();
}

function item(one, fail) {
  const labelled = (what) => ({ "data-key": `${what} fetching ${one.name}`, "aria-label": `${what} fetching ${one.name}` });
  const done = one.ended && !one.paused && !one.failed;
  return h("div", { class: "item" },
    h("div", { class: "row" }, h("h3", null, one.name),
      h("span", { class: `small ${one.failed ? "problem" : "soft"}`, role: "status" }, one.said),
      h("span", { class: "end row" },
        one.ended ? null : h("button", { ...labelled("Pause"), onclick: () => one.abort.abort() }, "Pause"),
        one.failed || one.paused ? h("button", { class: "main", ...labelled("Go on"), onclick: () => pull(one.name) }, "Go on") : null,
        done
          ? h("button", { ...labelled("Dismiss"), onclick: () => { pulls.delete(one.name); tell(); } }, "Dismiss")
          : workButton("Cancel", () => cancel(one), fail, { class: "danger", ...labelled("Cancel") }))),
    one.total ? h("progress", { max: one.total, value: one.completed, "aria-label": `fetching ${one.name}` }) : null);
}

function tell() {
  for (const listener of listeners) listener();
}

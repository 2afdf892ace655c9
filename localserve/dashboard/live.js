// What the server does, as it tells by server-sent events while the tab is looked at. By fetch, for
// a key travels in a header, which an EventSource cannot send.

import { events, Refusal, request } from "./api.js";

const LATE_MS = 2000; // no word for so long after the question: the server counts as lost
const SILENCE_MS = 15_000; // it says every 5 s that it is there
const SHORTEST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15_000;
const NO_ACCESS_PAUSE_MS = 30_000;
const MOST_KEPT = 100;
export const CURVE_MS = 60_000;

// `rates` are tokens per second as [{ at, rate, first }]; each holds until the next, but before the
// `first` of a connection nothing is known.
export const live = { now: null, recent: [], rates: [], problem: "", status: 0 };

const watchers = new Set();
let connection = null;
let again = 0;
let pause = SHORTEST_PAUSE_MS;

export function watch(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

// Listens anew, at once: with another key, or because the tab is looked at again.
export function listen() {
  leave();
  if (document.hidden) return;
  connection = new AbortController();
  hear(connection);
}

// What this page did is seen before the server tells of it.
export function amend(change) {
  if (!live.now) return;
  live.now = change(live.now);
  tell();
}

function leave() {
  clearTimeout(again);
  connection?.abort();
  connection = null;
}

async function hear(mine) {
  const began = performance.now();
  const late = setTimeout(lost, LATE_MS, "The server does not answer.");
  let silence = 0;
  let heard = false;
  function alive() {
    clearTimeout(silence);
    silence = setTimeout(() => mine.abort(), SILENCE_MS);
  }
  try {
    alive();
    const answer = await request("GET", "/admin/activity/events", undefined, mine.signal);
    for await (const event of events(answer, alive)) {
      if (event.error) break; // a key that no longer counts: the next answer says so
      clearTimeout(late);
      take(event, !heard);
      heard = true;
    }
    // What ended its answer properly may be there already.
    if (mine === connection) comeBack(heard && performance.now() - began > SHORTEST_PAUSE_MS ? 0 : pause);
  } catch (error) {
    if (mine !== connection) return; // by our own hand
    const status = error.status || 0;
    comeBack(status === 401 || status === 403 ? NO_ACCESS_PAUSE_MS : pause);
    if (!(error instanceof Refusal) && error.name !== "AbortError") throw error;
    lost(status ? error.message : "The server cannot be reached.", status);
  } finally {
    clearTimeout(late);
    clearTimeout(silence);
  }
}

// After a pause, longer each time until the server is heard again.
function comeBack(wait) {
  again = setTimeout(listen, wait);
  pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
}

function lost(problem, status = 0) {
  live.problem = problem;
  live.status = status;
  tell();
}

function take(event, first) {
  const at = performance.now();
  const rate = event.models.reduce((sum, one) => sum + (one.running ? one.tokens_per_second : 0), 0);
  const oldest = live.rates.findLastIndex((one) => at - one.at > CURVE_MS);
  live.rates = [...live.rates.slice(Math.max(oldest, 0)), { at, rate, first }];
  live.recent = [...event.recent, ...(first ? [] : live.recent)].slice(0, MOST_KEPT);
  live.now = event;
  live.problem = "";
  live.status = 200;
  pause = SHORTEST_PAUSE_MS;
  tell();
}

function tell() {
  for (const watcher of watchers) watcher();
}

function listenSoon() {
  pause = SHORTEST_PAUSE_MS;
  listen();
}

document.addEventListener("visibilitychange", () => { if (document.hidden) leave(); else listenSoon(); });
// A connection over a network that went away can look alive for long.
for (const change of ["online", "offline"]) window.addEventListener(change, listenSoon);

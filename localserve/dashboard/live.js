// What the server does, asked every second while the page is looked at. A poll, not a stream: an
// open stream would hold up the server's end, and a poll finds a restarted server by itself.

import { get, Refusal } from "./api.js";

const EVERY_MS = 1000;
const MOST_KEPT = 100;

export const live = { now: null, recent: [], rates: [], problem: "", status: 0 };

const listeners = new Set();
let timer = 0;
let asking = false;

export function watch(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export async function ask() {
  clearTimeout(timer);
  if (asking) return;
  asking = true;
  try {
    await askOnce();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    live.status = error.status;
    live.problem = error.message;
  } finally {
    asking = false;
  }
  for (const listener of listeners) listener();
  const wait = live.status === 401 || live.status === 403 ? 30 * EVERY_MS : EVERY_MS;
  if (!document.hidden) timer = setTimeout(ask, wait);
}

async function askOnce() {
  const known = live.now ? live.now.ended : 0;
  let now = await get(`/admin/activity?after=${known}`);
  const restarted = live.now && (now.pid !== live.now.pid || now.started_at !== live.now.started_at);
  if (restarted) {
    now = await get("/admin/activity");
    live.rates = [];
  }
  live.recent = [...now.recent, ...(restarted ? [] : live.recent)].slice(0, MOST_KEPT);
  const rate = now.models.reduce((sum, one) => sum + (one.running ? one.tokens_per_second : 0), 0);
  live.rates = [...live.rates, rate].slice(-60);
  live.now = now;
  live.problem = "";
  live.status = 200;
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });

// The server's routes, with the key of this tab; what it refuses becomes a Refusal,
// of status 0 where it is not reached.

const KEY = "localserve.key";

export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) || "",
  set: (text) => (text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY)),
};

export async function request(method, path, body, signal) {
  const headers = {};
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await reached("The server cannot be reached.", () => fetch(path, {
    method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body),
  }));
  if (answer.ok) return answer;
  let message = `The server answered ${answer.status}.`;
  try {
    message = problemOf(await answer.json()) || message;
  } catch {
    // No JSON: the status is all there is to say.
  }
  throw new Refusal(answer.status, message);
}

// What browsers say where a connection fails differs and helps nobody.
async function reached(otherwise, work) {
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, otherwise);
  }
}

export async function get(path) {
  return (await request("GET", path)).json();
}

export async function post(path, body = {}) {
  return (await request("POST", path, body)).json();
}

export function problemOf(document) {
  if (document.detail) return document.detail;
  return typeof document.error === "string" ? document.error : document.error?.message;
}

// The lines of a stream as they come.
export async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reached("The connection was cut.", () => reader.read());
      if (done) break;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      yield* parts;
    }
    if (rest) yield rest;
  } finally {
    reader.cancel().catch(() => {});
  }
}

// The JSON data of server-sent events, until [DONE]; `alive` is called for comments, too.
export async function* events(answer, alive = () => {}) {
  for await (const line of lines(answer)) {
    alive();
    if (!line.startsWith("data:")) continue;
    const data = line.slice(5).trim();
    if (data === "[DONE]") continue;
    yield JSON.parse(data);
  }
}

export function modelPath(name, change) {
  return `/admin/models/${name.split("/").map(encodeURIComponent).join("/")}/${change}`;
}

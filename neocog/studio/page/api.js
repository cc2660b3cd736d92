// Talking to the server: JSON over fetch, null where there is nothing new; and one web socket that tells of all runs and
// comes back by itself.

/** What the server would not do: `error` is its explanation, `status` is 0 where it did not answer at all. */
class Refused extends Error {
  constructor(error, status) {
    super(error.rule);
    this.error = error;
    this.status = status;
  }
}

async function fetched(path, options) {
  try {
    return await fetch(`/api/${path}`, options);
  } catch {
    throw new Refused({ rule: "the server does not answer" }, 0);
  }
}

async function answered(response) {
  let body = null;
  try {
    if (response.status !== 204) body = await response.json();
  } catch {
    body = { error: { rule: `HTTP ${response.status}` } };
  }
  if (!response.ok) throw new Refused(body?.error || { rule: `HTTP ${response.status}` }, response.status);
  return body;
}

async function ask(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["content-type"] = "application/json";
  }
  return answered(await fetched(path, options));
}

export const get = (path) => ask("GET", path);
export const post = (path, body = {}) => ask("POST", path, body);
export const patch = (path, body) => ask("PATCH", path, body);
export const remove = (path) => ask("DELETE", path);

const NAME = 60;

/** Send a file as it is. */
export async function send(path, file, name = file.name || "image") {
  const short = [...name.toWellFormed()].slice(0, NAME).join("");
  const headers = { "content-type": "application/octet-stream", "x-name": encodeURIComponent(short) };
  return answered(await fetched(path, { method: "POST", body: file, headers }));
}

export const runPath = (name, rest = "") => `runs/${encodeURIComponent(name)}${rest}`;

const listeners = new Set();
const SOON_MS = 500, LATE_MS = 5000;
let last = null, pause = SOON_MS;

/** Be told `{there, closed, runs}` whenever there is news; `closed` is when the server is there and does not know us. */
export function listen(listener) {
  listeners.add(listener);
  if (last) listener(last);
}

function tell(news) {
  last = news;
  for (const listener of listeners) listener(news);
}

const BLIND = new Set(["preparing", "failed"]);

/** Whether a run has weights that can be asked about. */
export const isReady = (run) => !BLIND.has(run.status);

/** Be told of the runs that can be asked about, whenever they are others than before. */
export function listenReady(listener) {
  let names = null;
  listen((news) => {
    const ready = news.runs.filter(isReady), now = JSON.stringify(ready.map((run) => run.name));
    if (now === names) return;
    names = now;
    listener(ready);
  });
}

const curves = new Map();

/** Runs with their curves, which are told more seldom than the rest. */
function withCurves(runs) {
  const names = new Set(runs.map((run) => run.name));
  for (const name of curves.keys()) if (!names.has(name)) curves.delete(name);
  for (const run of runs) {
    if (run.curves) curves.set(run.name, run.curves);
    run.curves = curves.get(run.name) || {};
  }
  return runs;
}

/** Hold the web socket, and open it again whenever it is lost. */
export function connect() {
  const socket = new WebSocket(`ws://${location.host}/api/live`);
  socket.onopen = () => { pause = SOON_MS; };
  socket.onmessage = (message) => tell({ there: true, closed: false, runs: withCurves(JSON.parse(message.data).runs) });
  socket.onclose = async () => {
    const closed = await get("about").then(() => false, (error) => error.status === 401);
    tell({ there: false, closed, runs: last?.runs || [] });
    setTimeout(connect, pause);
    pause = Math.min(LATE_MS, pause * 1.5);
  };
}

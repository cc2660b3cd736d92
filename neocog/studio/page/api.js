// Talking to the server: JSON over fetch, and one web socket that tells of all runs and comes back by itself.

export class Refused extends Error {
  constructor(error, status) {
    super(error.where ? `${error.where}: ${error.rule}` : error.rule);
    this.error = error;
    this.status = status;
  }
}

async function answered(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    body = { error: { rule: `HTTP ${response.status}` } };
  }
  if (!response.ok) throw new Refused(body.error || { rule: `HTTP ${response.status}` }, response.status);
  return body;
}

async function ask(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["content-type"] = "application/json";
  }
  return answered(await fetch(`/api/${path}`, options));
}

export const get = (path) => ask("GET", path);
export const post = (path, body = {}) => ask("POST", path, body);
export const patch = (path, body) => ask("PATCH", path, body);
export const remove = (path) => ask("DELETE", path);

/** Send a file as it is. */
export async function send(path, file, name = file.name || "image") {
  const headers = { "content-type": "application/octet-stream", "x-name": encodeURIComponent(name).slice(0, 240) };
  return answered(await fetch(`/api/${path}`, { method: "POST", body: file, headers }));
}

export const runPath = (name, rest = "") => `runs/${encodeURIComponent(name)}${rest}`;

const listeners = new Set();
let last = null;

/** Be told of all runs whenever there is news; and whether the server is there. */
export function listen(listener) {
  listeners.add(listener);
  if (last) listener(last);
  return () => listeners.delete(listener);
}

function tell(news) {
  last = news;
  for (const listener of listeners) listener(news);
}

const kept = new Map();

export function connect() {
  const socket = new WebSocket(`ws://${location.host}/api/live`);
  let pause = connect.pause || 500;
  socket.onopen = () => { connect.pause = 500; };
  socket.onmessage = (message) => {
    const told = JSON.parse(message.data);
    const names = new Set(told.runs.map((run) => run.name));
    for (const name of kept.keys()) if (!names.has(name)) kept.delete(name);
    for (const run of told.runs) {
      if (run.curves) kept.set(run.name, run.curves);
      run.curves = kept.get(run.name) || {};
    }
    tell({ there: true, runs: told.runs });
  };
  socket.onclose = () => {
    tell({ there: false, runs: last?.runs || [] });
    setTimeout(connect, pause);
    connect.pause = Math.min(5000, pause * 1.5);
  };
}

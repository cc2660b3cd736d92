// Networks that learn while one watches: their figures, curves, layers and answers, and what can be changed meanwhile.

import { get, listen, patch, post, remove, runPath, send } from "./api.js";
import { card, field, fill, h, number, percent, say, select, t } from "./dom.js";
import { chart, imageCanvas, legend } from "./drawing.js";
import { editor } from "./editor.js";
import { layersPanel } from "./layers.js";
import { picker, topBars } from "./pick.js";

const START = "INPUT[28x28x1] -> CONV5-6 -> RELU -> POOL2 -> CONV5-16(P=0) -> RELU -> POOL2 -> FC120 -> RELU -> FC84 -> RELU -> FC10";
const COLOUR = "INPUT[32x32x3] -> [CONV3-32 -> BN -> RELU -> CONV3-32 -> BN -> RELU -> POOL2]*2 -> FC10";
const LOOK_MS = 1000;

export function trainView(about) {
  let runs = [], chosen = null, wantsNew = false, looked = -1, timer = null, image = {}, busy = null, leaving = null;
  const chips = h("div.chips", { role: "group", ariaLabel: t("runs") });
  const body = h("div");
  const root = h("div.view", {}, h("header", {}, h("h1", {}, t("trainTitle")), h("p", {}, t("trainWords"))), chips, body);
  const start = beginCard(about, (run) => choose(run.name));
  let shown = null;

  function choose(name) {
    chosen = name;
    wantsNew = name === null;
    looked = -1;
    image = {};
    shown = null;
    draw();
  }

  function draw() {
    fill(chips, h("button.chip", { ariaPressed: String(chosen === null), onclick: () => choose(null) }, `+ ${t("newRun")}`),
      runs.map((run) => h("button.chip", { ariaPressed: String(run.name === chosen), onclick: () => choose(run.name) },
        h(`span.dot.${run.status}`), run.name, h("small", {}, t(`is-${run.status}`)))));
    const run = runs.find((one) => one.name === chosen);
    if (!run) {
      if (shown !== start) fill(body, start.root);
      shown = start;
      return;
    }
    if (shown?.name !== run.name) {
      shown = runPanel(about, run, { choose, forget, image: () => image, setImage: (source) => { image = source; looked = -1; look(); } });
      fill(body, shown.root);
    }
    shown.draw(run, runs);
  }

  async function look() {
    const run = runs.find((one) => one.name === chosen);
    if (!run || run.name === leaving || !shown?.look || run.looks === looked || run.status === "preparing" || run.status === "failed") return;
    looked = run.looks;
    busy = shown.look(run, image);
    await busy;
  }

  /** End a run, once what is being asked of it has been answered. */
  async function forget(name) {
    leaving = name;  // until the news no longer tell of it
    await busy;
    try {
      await remove(runPath(name));
    } catch (error) {
      leaving = null;
      throw error;
    }
  }

  let key = "";
  const stop = listen((news) => {
    runs = news.runs;
    if (!runs.some((run) => run.name === leaving)) leaving = null;
    const gone = chosen && !runs.some((run) => run.name === chosen);
    if (gone || (chosen === null && !wantsNew)) chosen = runs.at(-1)?.name ?? null;
    if (!root.isConnected) return;
    const now = runs.map((run) => `${run.name}${run.status}`).join() + chosen;
    if (now !== key) draw();
    else {
      const run = runs.find((one) => one.name === chosen);
      if (run && shown?.draw) shown.draw(run, runs);
    }
    key = now;
  });

  return {
    root,
    stop,
    enter([what]) {
      if (what === "new") {
        start.useText(sessionStorage.getItem("text"));
        choose(null);
        history.replaceState(null, "", "#train");
      } else draw();
      clearInterval(timer);
      timer = setInterval(look, LOOK_MS);
    },
    leave() { clearInterval(timer); },
    recolour() { looked = -1; },
  };
}

function beginCard(about, begun) {
  const memory = h("p.soft");
  let data = about.data[0], ok = false;
  const write = editor(START, { changed: (told) => {
    ok = told.ok;
    memory.textContent = told.ok ? t("planLine", number(told.totals.parameters), number(told.totals.macs), told.memory.said) : "";
    go.disabled = !told.ok;
  } });
  const dataField = select(about.data.map((name) => [name, name]), data, (name) => {
    const wasColour = data.startsWith("cifar") || data === "svhn";
    data = name;
    const isColour = name.startsWith("cifar") || name === "svhn";
    if (wasColour !== isColour && [START, COLOUR].includes(write.text)) write.set(isColour ? COLOUR : START);
  });
  const lr = h("input.number", { type: "number", step: "any", min: 0, value: about.rates.nesterov });
  const optimizer = select(about.optimizers.map((name) => [name, name]), "nesterov", (name) => { lr.value = about.rates[name]; });
  const momentum = h("input.number", { type: "number", step: "any", min: 0, value: 0.9 });
  const batch = h("input.number", { type: "number", min: 1, value: 64 });
  const decay = h("input.number", { type: "number", step: "any", min: 0, value: 0.0005 });
  const augment = h("input.number", { value: "none", size: 10 });
  const seed = h("input.number", { type: "number", min: 0, value: 0 });
  const go = h("button.main", { id: "start", onclick: async () => {
    go.disabled = true;
    try {
      const settings = { optimizer: optimizer.value, lr: Number(lr.value), momentum: Number(momentum.value), batch_size: Number(batch.value),
        weight_decay: Number(decay.value), augment: augment.value, seed: Number(seed.value) };
      begun(await post("runs", { text: write.text, data, settings }));
    } catch (error) {
      say([error.message, error.error?.received, error.error?.hint && `${t("try")}: ${error.error.hint}`].filter(Boolean).join(" · "), true);
    }
    go.disabled = !ok;
  } }, t("start"));
  const load = loadField(begun);
  const root = h("div.cards", {},
    card(t("newRun"), write.root, memory,
      h("div.row.end", {}, field(t("data"), dataField), field(t("optimizer"), optimizer), field(t("lr"), lr), field(t("momentum"), momentum),
        field(t("batch"), batch), field(t("decay"), decay), field(t("augment"), augment), field(t("seed"), seed), go)),
    card(t("goOn"), h("p.soft", {}, t("loadWords")), load));
  return { root, useText: (text) => text && write.set(text) };
}

function loadField(begun) {
  const file = h("input", { type: "file", accept: ".safetensors", ariaLabel: t("snapshotFile"), id: "load-snapshot", onchange: async () => {
    if (!file.files[0]) return;
    try {
      begun(await send("snapshots", file.files[0], "snapshot"));
    } catch (error) {
      say([error.message, error.error?.received].filter(Boolean).join(": "), true);
    }
    file.value = "";
  } });
  return file;
}

const STATS = [
  ["forward_ms", (v) => ms(v)], ["backward_ms", (v) => ms(v)], ["images_per_second", (v) => number(v === null || v === undefined ? v : Math.round(v))],
  ["loss", (v) => number(v)], ["decay_loss", (v) => number(v)], ["train_accuracy", percent], ["validation_accuracy", percent],
  ["test_accuracy", percent], ["seen", (v) => number(v)], ["step", (v) => number(v)], ["epoch", (v) => number(v)],
];
const ms = (v) => (v === null || v === undefined ? "–" : v < 0.1 ? `${number(v * 1000, 3)} µs` : `${number(v, 3)} ms`);

function runPanel(about, run, actions) {
  const name = run.name, live = run.kind === "live";
  const act = async (action) => {
    try {
      return await action();
    } catch (error) {
      say([error.message, error.error?.received].filter(Boolean).join(": "), true);
      return null;
    }
  };
  const turn = h("button.main", { id: "turn", onclick: () => act(() => post(runPath(name, turn.dataset.running ? "/pause" : "/resume"))) });
  const download = (what, words) => h("a.button", { href: `/api/${runPath(name, `/${what}`)}`, download: "" }, words);
  const replay = h("button", { id: "again", title: t("againHint"), onclick: () => act(async () => actions.choose((await post(runPath(name, "/again"))).name)) }, t("again"));
  const forget = h("button.quiet", { onclick: () => act(() => actions.forget(name)) }, t("forget"));
  const message = h("p.soft", { ariaLive: "polite" });
  const stats = h("dl.facts", { id: "stats" });
  const values = {};
  for (const [key] of STATS) {
    values[key] = h("dd", { id: `stat-${key}` }, "–");
    stats.append(h("div", {}, h("dt", {}, t(`stat-${key}`)), values[key]));
  }
  const edits = ["lr", "momentum", "batch_size", "weight_decay"].map((key) => editField(name, key, run[key], act));
  const curves = h("div.cards");
  const compared = new Set([name]);
  const beside = h("div.wide");
  const compare = h("div.row", { role: "group", ariaLabel: t("compared") });
  const events = h("div.tall"), answers = h("div.answers", { id: "answers" }), confusion = h("div.wide");
  const inside = layersPanel(name, live);
  const asked = h("div", { id: "asked" });
  const choose = picker(() => name, async (source, what) => {
    actions.setImage(source);
    fill(asked, h("p.soft", {}, t("shownNow", what)));
  });
  const write = editor(run.network, { quiet: false, changed: (told) => { change.disabled = !told.ok; } });
  const change = h("button.main", { id: "change-network", onclick: () => act(async () => {
    const now = latest;
    const settings = Object.fromEntries(["optimizer", "lr", "momentum", "batch_size", "weight_decay"].map((key) => [key, now[key]]));
    actions.choose((await post("runs", { text: write.text, data: now.data, settings })).name);
  }) }, t("changeNetwork"));
  let latest = run, seen = new Set(), opened = false;

  function draw(now, runs) {
    latest = now;
    const running = now.status === "running";
    turn.dataset.running = running ? "1" : "";
    fill(turn, running ? t("pause") : t("resume"));
    turn.disabled = now.status === "preparing" || now.status === "failed";
    message.textContent = now.message || now.engine || "";
    message.className = now.status === "failed" || now.status === "diverged" ? "mistake" : "soft";
    for (const [key, shown] of STATS) values[key].textContent = shown(now[key]);
    for (const one of edits) one.echo(now);
    drawCurves(now, runs);
    fill(events, now.events.length ? h("ol", {}, now.events.map((one) => h("li", {}, t("eventLine", number(one.step),
      Object.entries(one.changes).map(([key, value]) => `${t(key)} = ${number(value)}`).join(", "))))) : h("p.soft", {}, t("noEvents")));
    if (!opened && now.status !== "preparing" && now.status !== "failed") {
      opened = true;
      choose.more();
    }
  }

  function drawCurves(now, runs) {
    const others = runs.filter((one) => compared.has(one.name));
    const key = others.map((one) => `${one.name}:${one.step}`).join();
    const names = runs.map((one) => one.name).join();
    if (compare.dataset.names !== names) {
      compare.dataset.names = names;
      fill(compare, runs.length > 1 ? [h("span.soft", {}, t("compared")), runs.map((one) => {
        const box = h("input", { type: "checkbox", checked: compared.has(one.name), onchange: () => {
          if (box.checked) compared.add(one.name);
          else compared.delete(one.name);
          curves.dataset.key = "";
        } });
        return h("label", {}, box, ` ${one.name}`);
      })] : null);
    }
    if (curves.dataset.key === key) return;
    curves.dataset.key = key;
    const many = others.length > 1;
    const lines = (curve, k, kind, words) => others.map((one, m) => ({
      points: one.curves[curve] || [], kind: `s${many ? (2 * m + k) % 6 : kind}`, name: many ? `${one.name}: ${words}` : words }));
    const loss = [...lines("loss", 0, 0, t("trainLoss")), ...lines("validation_loss", 1, 1, t("validationLoss"))];
    const share = [...lines("train_accuracy", 0, 0, t("trainLoss")), ...lines("validation_accuracy", 1, 1, t("validation"))];
    fill(beside, many ? comparison(others) : null);
    fill(curves,
      half(h("div", {}, h("h3", {}, t("lossGraph")), chart(loss, { label: t("lossGraph"), low: 0 }), legend(loss))),
      half(h("div", {}, h("h3", {}, t("accuracyGraph")), chart(share, { label: t("accuracyGraph"), low: 0, high: 1, shares: true }), legend(share))));
  }

  async function look(now, image) {
    await inside.look(image).then((told) => {
      if (!told) return;
      if (image.upload || image.number !== undefined) {
        fill(asked, h("div.row", {}, imageCanvas(told.pixels, 3, t("asSeen")), h("div", {}, h("h3", {}, told.label ?? t("unknownClass")), topBars(told.top, told.label))),
          told.notes.length ? h("p.soft", {}, told.notes.join("; ")) : null);
      }
    });
    if (!live) return;
    const told = await act(() => get(runPath(name, "/predictions")));
    if (told) {
      fill(answers, told.slice(0, 12).map((one) => {
        const id = `${one.step}:${one.number}`, isNew = !seen.has(id);
        return h(isNew ? "div.answer.new" : "div.answer", {}, imageCanvas(one.image, 2, one.label), topBars(one.top, one.label));
      }));
      seen = new Set(told.map((one) => `${one.step}:${one.number}`));
    }
    const table = await act(() => get(runPath(name, "/confusion")));
    if (table) fill(confusion, confusionTable(table));
  }

  const root = h("div.cards", {},
    card(h("span", {}, name), h("div.row", {}, live && turn, live && replay, live && download("snapshot", t("saveSnapshot")), download("model", t("saveModel")), forget), message, stats,
      live && h("div.row.end", { id: "edits" }, edits.map((one) => one.root))),
    card(t("curves"), curves, h("div.row", {}, live && h("button", { id: "clear", onclick: () => act(() => post(runPath(name, "/clear"))) }, t("clearGraph")), compare), beside),
    sized("two", card(t("inside"), inside.root)),
    h("div.third", {}, h("div.cards", {},
      card(t("ownImage"), choose.root, asked),
      live && card(t("answers"), h("p.soft", {}, t("answersWords")), answers),
      live && card(t("confusion"), h("p.soft", {}, t("confusionWords")), confusion),
      live && card(t("events"), h("p.soft", {}, t("eventsWords")), events))),
    card(t("text"), write.root, live && h("p", {}, change)));
  return { root, name, draw, look };
}

/** Several runs in a table. */
function comparison(runs) {
  const keys = ["step", "seen", "loss", "train_accuracy", "validation_accuracy", "test_accuracy", "images_per_second"];
  const shown = Object.fromEntries(STATS);
  return h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("run")), keys.map((key) => h("th.n", { scope: "col" }, t(`stat-${key}`))))),
    h("tbody", {}, runs.map((one) => h("tr", {}, h("td", {}, one.name), keys.map((key) => h("td.n", {}, shown[key](one[key])))))));
}

const half = (made) => sized("half", made);
function sized(size, made) {
  made.classList.add(size);
  return made;
}

/** A setting that is changed while the network learns; what holds now is echoed under it. */
function editField(name, key, value, act) {
  const input = h("input.number", { type: "number", step: "any", min: 0, value: value ?? "", id: `edit-${key}` });
  const echo = h("small", { id: `echo-${key}` });
  const send_ = () => act(async () => {
    await patch(runPath(name), { [key]: Number(input.value) });
    say(t("changed", t(key), input.value));
  });
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") send_(); });
  const root = h("div.row.end", {}, field(t(key), input, echo), h("button", { id: `change-${key}`, ariaLabel: `${t("change")} ${t(key)}`, onclick: send_ }, t("change")));
  return { root, echo: (run) => { echo.textContent = t("now", number(run[key])); } };
}

function confusionTable({ classes, counts }) {
  const sums = counts.map((row) => Math.max(1, row.reduce((a, b) => a + b, 0)));
  return h("table.confusion", {}, h("caption.hidden", {}, t("confusion")),
    h("thead", {}, h("tr", {}, h("td", {}, ""), classes.map((name) => h("th", { scope: "col", title: name }, name)))),
    h("tbody", {}, counts.map((row, i) => h("tr", {}, h("th", { scope: "row", title: classes[i] }, classes[i]), row.map((count, j) => {
      const cell = h("td", { title: `${classes[i]} → ${classes[j]}` }, count || "·");
      const share = count / sums[i];
      cell.style.background = count ? `color-mix(in srgb, var(--${i === j ? "blue" : "orange"}) ${Math.round(10 + 34 * share)}%, transparent)` : "";
      return cell;
    })))));
}

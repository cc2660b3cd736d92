// One run: its figures and curves, what can be changed while it learns, what is inside it, and what it says of images.

import { get, isReady, patch, post, runPath } from "./api.js";
import { card, complain, field, fill, h, number, percent, say, sized } from "./dom.js";
import { chart, imageCanvas, legend } from "./drawing.js";
import { editor } from "./editor.js";
import { layersPanel } from "./layers.js";
import { picker, topBars } from "./pick.js";
import { spoken, t } from "./words.js";

const MOST_TESTED = 200, MOST_ANSWERS = 12, MOST_IN_TABLE = 24, MOST_PAIRS = 12;
const SETTINGS = ["lr", "momentum", "batch_size", "weight_decay"];
const ms = (v) => (v === null || v === undefined ? "–" : v < 0.1 ? `${number(v * 1000, 3)} µs` : `${number(v, 3)} ms`);
const whole = (v) => number(v === null || v === undefined ? v : Math.round(v));
const STATS = {
  forward_ms: ms, backward_ms: ms, images_per_second: whole, loss: number, decay_loss: number, train_accuracy: percent,
  validation_accuracy: percent, test_accuracy: percent, seen: number, step: number, epoch: number,
};
const COMPARED = ["optimizer", "step", "seen", "loss", "train_accuracy", "validation_accuracy", "test_accuracy", "images_per_second"];

/** The panel of a run. `actions`: choose(name), forget(name), setImage(source), and the runs to show `beside` it. */
export function runPanel(run, { choose, forget, setImage, beside }) {
  const name = run.name, live = run.kind === "live";
  let latest = run;
  const act = async (action) => {
    try {
      return await action();
    } catch (error) {
      complain(error);
      return null;
    }
  };
  const head = headOf(name, live, { act, choose, forget });
  const curves = curvesOf(name, live, { act, beside });
  const inside = layersPanel(name);
  const answers = live ? answersOf(name, act) : null;
  const events = h("div.tall", live ? { tabIndex: 0, role: "region", ariaLabel: t("events") } : {}), asked = h("div", { id: "asked" });
  const images = picker(() => name, (source, what) => {
    setImage(source);
    fill(asked, h("p.soft", {}, t("shownNow", what)));
  });
  const write = editor(run.network, { changed: (told) => { change.disabled = !told.ok; } });
  const change = h("button.main", { id: "change-network", onclick: () => act(async () => {
    const settings = Object.fromEntries(["optimizer", "augment", "seed", ...SETTINGS].map((key) => [key, latest[key]]));
    choose((await post("runs", { text: write.text, data: latest.data, settings })).name);
  }) }, t("changeNetwork"));
  let opened = false, told = "";

  function draw(now, runs) {
    latest = now;
    head.draw(now);
    curves.draw(now, runs);
    const key = JSON.stringify(now.events);
    if (key !== told) fill(events, eventsOf(now.events));
    told = key;
    if (!opened && isReady(now)) {
      opened = true;
      images.more();
    }
  }

  async function look(now, image) {
    const seen = await inside.look(image);
    if (seen && (image.upload || image.number !== undefined)) {
      fill(asked, h("div.row", {}, imageCanvas(seen.pixels, 3, t("asSeen")), h("div", {}, h("h3", {}, seen.label ?? t("unknownClass")), topBars(seen.top, seen.label))),
        seen.notes.length ? h("p.soft", {}, seen.notes.map(spoken).join(" · ")) : null);
    }
    await answers?.look();
  }

  const root = h("div.cards", {}, head.root, curves.root,
    h("div.two", {}, h("div.cards", {}, card(t("inside"), inside.root), card(t("text"), write.root, live && h("p", {}, change)))),
    h("div.third", {}, h("div.cards", {}, card(t("ownImage"), images.root, asked), answers?.cards,
      live && card(t("events"), h("p.soft", {}, t("eventsWords")), events))));
  return { root, name, draw, look, recolour: inside.recolour };
}

/** Of how many test images the share of right answers is. */
const testedOf = (run) => t("stat-test_accuracy", run?.windows?.test || MOST_TESTED);

/** Name, buttons, figures, and settings to change. */
function headOf(name, live, { act, choose, forget }) {
  const turn = h("button.main", { id: "turn", onclick: () => act(() => post(runPath(name, turn.dataset.running ? "/pause" : "/resume"))) });
  const download = (what, words) => h("a.button", { href: `/api/${runPath(name, `/${what}`)}`, download: "" }, words);
  const replay = h("button", { id: "again", title: t("againHint"), onclick: () => act(async () => choose((await post(runPath(name, "/again"))).name)) }, t("again"));
  const message = h("p.soft", { ariaLive: "polite" });
  const values = Object.fromEntries(Object.keys(STATS).map((key) => [key, h("dd", { id: `stat-${key}` }, "–")]));
  const tested = h("dt");
  const stats = h("dl.facts", { id: "stats" }, Object.entries(values).map(([key, value]) => h("div", {}, key === "test_accuracy" ? tested : h("dt", {}, t(`stat-${key}`)), value)));
  const edits = live ? SETTINGS.map((key) => editField(name, key, act)) : [];
  const root = card(name, h("div.row", {}, live && [turn, replay, download("snapshot", t("saveSnapshot"))], download("model", t("saveModel")),
    h("button.quiet", { onclick: () => act(() => forget(name)) }, t("forget"))), message, stats,
  live && h("div.row.end", { id: "edits" }, edits.map((one) => one.root)));

  function draw(now) {
    const running = now.status === "running";
    turn.dataset.running = running ? "1" : "";
    turn.textContent = t(running ? "pause" : "resume");
    turn.disabled = !isReady(now) || now.status === "diverged";
    const words = now.status === "preparing" ? t("preparingWords") : spoken(now.message || now.engine || "");
    if (message.textContent !== words) message.textContent = words;
    message.className = now.status === "failed" || now.status === "diverged" ? "mistake" : "soft";
    for (const [key, shown] of Object.entries(STATS)) values[key].textContent = shown(now[key]);
    tested.textContent = testedOf(now);
    for (const one of edits) one.echo(now);
  }
  return { root, draw };
}

/** A setting that is changed while the network learns; what holds now is echoed under it. */
function editField(name, key, act) {
  const input = h("input.number", { type: "number", step: "any", min: 0, id: `edit-${key}` }), echo = h("small", { id: `echo-${key}` });
  const change = () => input.value !== "" && act(async () => {
    await patch(runPath(name), { [key]: Number(input.value) });
    say(t("changed", t(key), input.value));
  });
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") change(); });
  const button = h("button", { id: `change-${key}`, ariaLabel: `${t("change")} ${t(key)}`, onclick: change }, t("change"));
  return { root: field(t(key), input, { beside: button, hint: echo }), echo: (run) => {
    if (!input.value && document.activeElement !== input) input.value = run[key] ?? "";
    echo.textContent = t("now", number(run[key]));
  } };
}

/** Loss and accuracy over steps, of this run and of those it is compared with. */
function curvesOf(name, live, { act, beside }) {
  const charts = h("div.cards"), table = h("div.wide", { tabIndex: 0, role: "region", ariaLabel: t("compared") }), boxes = h("div.row", { role: "group", ariaLabel: t("compared") });
  const compared = new Set([name, ...beside]);
  let names = "", drawn = [];
  const root = card(t("curves"), charts, h("div.row", {}, live && h("button", { id: "clear", onclick: () => act(() => post(runPath(name, "/clear"))) }, t("clearGraph")), boxes), table);

  function drawBoxes(runs) {
    fill(boxes, runs.length > 1 ? [h("span.soft", {}, t("compared")), runs.map((one) => h("label", {}, h("input", {
      type: "checkbox", checked: compared.has(one.name), onchange: ({ target }) => {
        compared[target.checked ? "add" : "delete"](one.name);
        drawn = [];
      } }), ` ${one.name}`))] : null);
  }

  function draw(now, runs) {
    const others = runs.filter((one) => compared.has(one.name)), list = JSON.stringify(runs.map((one) => one.name));
    if (list !== names) drawBoxes(runs);
    names = list;
    const many = others.length > 1;
    table.hidden = !many;
    fill(table, many ? comparison(others) : null);
    if (others.length === drawn.length && others.every((one, k) => one.curves === drawn[k])) return;  // as they are drawn
    drawn = others.map((one) => one.curves);
    const lines = (curve, k, words) => others.map((one, m) => ({
      points: one.curves?.[curve] || [], kind: `s${many ? m % 6 : k}${many && k ? ".dashed" : ""}`, name: many ? `${one.name}: ${words}` : words }));
    const loss = [...lines("loss", 0, t("trainLoss")), ...lines("validation_loss", 1, t("validation"))];
    const share = [...lines("train_accuracy", 0, t("trainLoss")), ...lines("validation_accuracy", 1, t("validation"))];
    fill(charts, [[t("lossGraph"), loss, {}], [t("accuracyGraph"), share, { high: 1, shares: true }]].map(([label, series, more]) =>
      sized("half", h("div", {}, h("h3", {}, label), chart(series, { label, low: 0, ...more }), legend(series)))));
  }
  return { root, draw };
}

/** Several runs in a table. */
function comparison(runs) {
  const shown = { ...STATS, optimizer: (word) => word || "–" };
  return h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("run")), COMPARED.map((key) => h("th.n", { scope: "col" }, t(key === "optimizer" ? key : `stat-${key}`, MOST_TESTED))))),
    h("tbody", {}, runs.map((one) => h("tr", {}, h("td", {}, one.name), COMPARED.map((key) => h("td.n", {}, shown[key](one[key])))))));
}

function eventsOf(events) {
  if (!events.length) return h("p.soft", {}, t("noEvents"));
  const words = ({ changes }) => Object.entries(changes).map(([key, value]) => `${t(key)} = ${number(value)}`).join(", ");
  return h("ol", {}, events.map((one) => h("li", {}, t("eventLine", number(one.step), words(one)))));
}

/** Test images with what the network says of them, and which classes it takes for which. */
function answersOf(name, act) {
  const answers = h("div.answers", { id: "answers" }), confusion = h("div.wide", { tabIndex: 0, role: "region", ariaLabel: t("confusion") });
  let seen = new Set();
  const idOf = (one) => `${one.step}:${one.number}`;
  for (const place of [answers, confusion]) fill(place, h("p.soft", {}, t("afterSteps")));

  async function look() {
    const told = await act(() => get(runPath(name, "/predictions")));
    if (told?.length) {
      fill(answers, told.slice(0, MOST_ANSWERS).map((one) => h(seen.has(idOf(one)) ? "div.answer" : "div.answer.new", {},
        imageCanvas(one.image, 2, one.label), topBars(one.top, one.label))));
      seen = new Set(told.map(idOf));
    }
    const table = await act(() => get(runPath(name, "/confusion")));
    if (table?.counts.flat().some(Boolean)) fill(confusion, (table.classes.length > MOST_IN_TABLE ? confusionList : confusionTable)(table));
  }
  return { look, cards: [card(t("answers"), h("p.soft", {}, t("answersWords")), answers), card(t("confusion"), h("p.soft", {}, t("confusionWords")), confusion)] };
}

/** The pairs that are taken for each other most often: a table of many classes would be empty, and take long to draw. */
function confusionList({ classes, counts }) {
  const pairs = counts.flatMap((row, i) => row.map((count, j) => [count, i, j])).filter(([count, i, j]) => count && i !== j);
  pairs.sort(([a], [b]) => b - a);
  return [h("p.soft", {}, t("confusedPairs")), h("ol", {}, pairs.slice(0, MOST_PAIRS).map(([count, i, j]) => h("li", {}, `${classes[i]} → ${classes[j]}: ${count}`)))];
}

function confusionTable({ classes, counts }) {
  const sums = counts.map((row) => Math.max(1, row.reduce((a, b) => a + b, 0)));
  const cellOf = (count, i, j) => {
    const cell = h("td", { title: `${classes[i]} → ${classes[j]}` }, count || "·");
    cell.style.background = count ? `color-mix(in srgb, var(--${i === j ? "blue" : "orange"}) ${Math.round(10 + (34 * count) / sums[i])}%, transparent)` : "";
    return cell;
  };
  return h("table.confusion", {}, h("caption.hidden", {}, t("confusion")),
    h("thead", {}, h("tr", {}, h("td", {}, ""), classes.map((name) => h("th", { scope: "col", title: name }, name)))),
    h("tbody", {}, counts.map((row, i) => h("tr", {}, h("th", { scope: "row", title: classes[i] }, classes[i]), row.map((count, j) => cellOf(count, i, j))))));
}

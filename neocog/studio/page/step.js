// One output value taken apart: its window, products, sum and bias; then its gradient, back to each weight and pixel.

import { get, listenReady, post } from "./api.js";
import { card, complain, field, fill, h, select } from "./dom.js";
import { fittingWidget } from "./fitting.js";
import { flowOver, within } from "./flow.js";
import { partsOf, sumOf } from "./parts.js";
import { imageIn } from "./pick.js";
import { BLOCK, volumeFigure } from "./volumes.js";
import { t } from "./words.js";

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
const PLAY_MS = 900, FAST_MS = 300, SOON_MS = 300, SOME_IMAGES = 1000, MOST_KEPT = 64;
const RANDOM = "INPUT[8x8x2] -> CONV3-4(G=2, D=2) -> RELU -> POOL2 -> FLATTEN -> FC5";

export function stepView() {
  let scene = null, layer = null, channel = 0, place = [0, 0], first = 0, backward = false, told = null, timer = null, seed = 1;
  let volumes = {}, asked = 0, followed = 0, figures = [], boxes = [], busy = false;
  const layerPlace = h("div.row.end"), title = h("h2", {}, t("oneValue"));
  const inputs = h("div.inputs"), parts = h("div.middle"), sum = h("div"), output = h("div.result");
  const stage = h("div.stage", {}, inputs, parts, output);
  const flow = flowOver(stage, edges);
  const play = h("button.main", { id: "play", onclick: () => (timer ? stop() : start()) }, t("play"));
  const speed = select([[String(PLAY_MS), t("slow")], [String(FAST_MS), t("fast")]], String(PLAY_MS), () => timer && start());
  speed.setAttribute("aria-label", t("speed"));
  const ways = ["forward", "backward"].map((one) => h("button", { id: `way-${one}`, ariaPressed: String(one === "forward"), onclick: () => turn(one) }, t(one)));
  const controls = h("div.row", {}, play, h("button", { id: "back", ariaLabel: t("stepBack"), onclick: () => move(-1) }, "←"),
    h("button", { id: "forth", ariaLabel: t("stepForth"), onclick: () => move(1) }, "→"), speed,
    h("div.row", { role: "group", ariaLabel: t("direction") }, ways));

  const current = () => scene.layers.find((one) => one.name === layer);
  const spatial = () => current().output.slice(0, -1);

  async function follow(body, wanted = null, at = 0) {
    stop();
    const mine = ++followed;
    const slow = setTimeout(() => fill(title, t("working")), SOON_MS);
    try {
      const found = await post("scenes", body);
      if (mine !== followed) return;
      scene = found;
    } catch (error) {
      complain(error);
      return;
    } finally {
      clearTimeout(slow);
      if (told) drawTitle();
      else fill(title, t("oneValue"));
    }
    volumes = {};
    const names = scene.layers.map((one) => one.name);
    await choose(names.includes(wanted) ? wanted : names.find((name) => name.startsWith("conv")) ?? names.at(1) ?? names[0], at);
  }

  /** Turn to a layer: the middle of an image, the beginning of anything else. */
  function choose(name, at = 0) {
    layer = name;
    channel = Math.max(0, Math.min(current().output.at(-1) - 1, at));
    first = 0;
    place = spatial().map((n) => (scene.image ? Math.floor(n / 2) : 0));
    drawLayerChoice();
    return refresh();
  }

  function drawLayerChoice() {
    const which = select(scene.layers.map((one) => [one.name, `${one.name} · ${one.token} · ${one.output.join("×")}`]), layer, (name) => choose(name));
    which.id = "layer";
    const exact = (id, count, value, changed) => {
      const input = h("input.number", { type: "number", min: 0, max: count - 1, value, id, oninput: () => {
        stop();  // who asks for a value wants to look at it
        changed(Math.max(0, Math.min(count - 1, Math.floor(Number(input.value)) || 0)));
        refresh();
      } });
      return input;
    };
    const axes = spatial(), channels = current().output.at(-1);
    fill(layerPlace, field(t("layer"), which), field(t("channelOf", channels), exact("channel", channels, channel, (value) => { channel = value; })),
      axes.map((n, k) => field(axes.length === 1 ? t("position") : t(k ? "columnWord" : "rowWord"), exact(`place-${k}`, n, place[k], (value) => { place[k] = value; }))));
  }

  async function refresh() {
    const mine = ++asked;
    try {
      const cell = await post(`scenes/${scene.scene}/cell`, { layer, channel, place, first });
      const shown = await figuresOf(cell);
      if (mine !== asked) return;
      told = cell;
      figures = shown;
      draw();
    } catch (error) {
      if (mine !== asked) return;
      stop();
      complain(error);
    }
  }

  /** The volumes that are shown with a value: those its layer reads, then its own; each [layer, role, first channel]. */
  async function figuresOf(cell) {
    const block = (k) => Math.floor(k / BLOCK) * BLOCK;
    const read = cell.parts?.[0]?.channel ?? cell.source?.[0] ?? cell.channel;
    const sources = current().from.map((k) => [scene.layers[k], "input", scene.layers[k].output.at(-1) > read ? block(read) : 0]);
    const wanted = [...sources, [current(), "output", block(cell.channel)]];
    if (Object.keys(volumes).length > MOST_KEPT) volumes = {};
    const keys = wanted.flatMap(([one, , begin]) => ["forward", "backward"].map((side) => [one.name, side, begin]));
    await Promise.all(keys.map(async ([name, side, begin]) => {
      volumes[[name, side, begin]] ??= await get(`scenes/${scene.scene}/volume?layer=${encodeURIComponent(name)}&side=${side}&first=${begin}`);
    }));
    return wanted;
  }

  const drawTitle = () => fill(title, `${told.layer} · ${told.token} · [${[...told.place, told.channel].join(", ")}]`);

  function draw() {
    drawTitle();
    for (const one of ways) one.setAttribute("aria-pressed", String(one.id === (backward ? "way-backward" : "way-forward")));
    drawVolumes();
    fill(parts, partsOf(told, backward, (from) => { first = from; refresh(); }));
    fill(sum, sumOf(told, backward, scene));
    sum.firstChild.id = "sum";
    for (const input of layerPlace.querySelectorAll("input")) {
      const value = input.id === "channel" ? channel : place[Number(input.id.slice(-1))];
      if (document.activeElement !== input) input.value = value;
    }
    flow.draw(backward);
  }

  function drawVolumes() {
    const value = { channel: told.channel, place: told.place, told, backward };
    const made = figures.map(([one, role, begin]) => {
      const maps = volumes[[one.name, backward ? "backward" : "forward", begin]];
      return [role, volumeFigure(one, maps, role, value, pick)];
    });
    const held = output.contains(document.activeElement);
    fill(inputs, made.filter(([role]) => role === "input").map(([, figure]) => figure.root));
    fill(output, made.at(-1)[1].root);
    if (held) output.querySelector("td.now button")?.focus();
    boxes = made.map(([, figure]) => figure.box);
  }

  /** Where lines go: from each window to its products, from their sum to the value; without parts, straight to it. */
  function edges() {
    const target = told && boxes.at(-1)?.();
    if (!target) return [];
    const view = parts.querySelector(".parts")?.getBoundingClientRect();
    if (!view) return boxes.slice(0, -1).map((box) => box()).filter(Boolean).map((from) => [from, target]);
    return told.parts.flatMap((part) => {
      const row = document.getElementById(`part-${part.channel}`), ends = [row?.firstChild, row?.querySelector(".total") ?? row];
      const [begin, end] = ends.map((one) => one?.getBoundingClientRect()), from = boxes[0]?.(part.channel);
      return [from && begin && within(begin, view) && [from, begin], end && within(end, view) && [end, target]].filter(Boolean);
    });
  }

  function pick(k, at) {
    stop();
    channel = k;
    place = at;
    refresh();
  }

  /** The next value: along rows, then down, then the next channel, round and round. */
  function move(by) {
    if (!scene) return undefined;
    const shape = spatial(), channels = current().output.at(-1), positions = shape.reduce((a, b) => a * b, 1), total = channels * positions;
    const index = channel * positions + (shape.length === 1 ? place[0] : place[0] * shape[1] + place[1]);
    const next = (((index + by) % total) + total) % total, rest = next % positions;
    channel = Math.floor(next / positions);
    place = shape.length === 1 ? [rest] : [Math.floor(rest / shape[1]), rest % shape[1]];
    return refresh();
  }

  function start() {
    stop();
    fill(play, t("pause"));
    timer = setInterval(async () => {
      if (busy) return;  // a slow server is not asked for more than it can answer
      busy = true;
      await move(1);
      busy = false;
    }, Number(speed.value));
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    fill(play, t("play"));
  }

  function turn(one) {
    backward = one === "backward";
    if (told) draw();
  }

  const source = h("div.row.end"), text = h("input.code", { id: "random-text", value: RANDOM, size: 44, ariaLabel: t("text") });
  function drawSource(runs) {
    const some = (name) => follow({ run: name, image: { number: Math.floor(Math.random() * SOME_IMAGES) } });
    fill(source,
      h("button", { id: "demo", onclick: () => follow({ seed: seed++ }, "conv1").then(start) }, t("demo")),
      runs.map((run) => h("button", { onclick: () => some(run.name) }, t("fromRun", run.name))),
      h("button", { id: "random", onclick: () => follow({ text: text.value, seed: seed++ }) }, t("fromText")), text);
  }
  listenReady(drawSource);

  const root = h("div.view", {}, h("header", {}, h("h1", {}, t("stepTitle")), h("p", {}, t("stepWords"))),
    h("div.cards", {}, card(t("what"), source, layerPlace),
      h("section.card", {}, title, controls, h("p.soft", {}, t("stepHow")), sum, stage),
      fittingWidget()));
  root.addEventListener("keydown", (event) => {
    if (["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)) return;
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by && scene) {
      event.preventDefault();
      move(by);
    }
  });

  return {
    root,
    enter([run, wanted, at, image]) {
      if (run) {
        follow({ run, image: imageIn(image) }, wanted, Number(at) || 0);
        history.replaceState(null, "", "#step");
      } else if (!scene) follow({ seed: 0 }, "conv1").then(() => still() || start());
      else draw();
    },
    leave: stop,
    recolour: () => told && draw(),
  };
}

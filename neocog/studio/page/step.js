// One output value taken apart: its window, products, sum and bias; then its gradient, back to each weight and pixel.

import { get, listen, post, runPath } from "./api.js";
import { card, field, fill, h, number, say, select, t } from "./dom.js";
import { imageCanvas, mapsCanvas, tileAt } from "./drawing.js";
import { fittingWidget } from "./fitting.js";

const PLAY_MS = 900, FAST_MS = 300, PART_PAGE = 8;
const RANDOM = "INPUT[8x8x2] -> CONV3-4(G=2, D=2) -> RELU -> POOL2 -> FLATTEN -> FC5 -> SOFTMAX";

export function stepView() {
  let runs = [], scene = null, layer = null, channel = 0, place = [0, 0], first = 0, way = "forward", timer = null, told = null, seed = 1;
  let volumes = {}, asked = 0;
  const source = h("div.row.end"), layerPlace = h("div.row.end"), pictures = h("div.slices"), parts = h("div"), sum = h("div");
  const title = h("h2", {}, t("oneValue"));
  const play = h("button.main", { id: "play", onclick: () => (timer ? stop() : start()) }, t("play"));
  const speed = select([[String(PLAY_MS), t("slow")], [String(FAST_MS), t("fast")]], String(PLAY_MS), () => timer && start());
  speed.setAttribute("aria-label", t("speed"));
  const controls = h("div.row", {}, play, h("button", { id: "back", ariaLabel: t("stepBack"), onclick: () => move(-1) }, "←"),
    h("button", { id: "forth", ariaLabel: t("stepForth"), onclick: () => move(1) }, "→"), speed,
    h("div.row", { role: "group", ariaLabel: t("direction") }, ["forward", "backward"].map((one) => h("button", { id: `way-${one}`, ariaPressed: String(way === one), onclick: () => turn(one) }, t(one)))));

  async function follow(body, wanted = null) {
    stop();
    try {
      scene = await post("scenes", body);
    } catch (error) {
      say([error.message, error.error?.received].filter(Boolean).join(": "), true);
      return;
    }
    volumes = {};
    first = 0;
    const names = scene.layers.map((one) => one.name);
    layer = names.includes(wanted) ? wanted : names.find((name) => name.startsWith("conv")) || names[1];
    channel = 0;
    place = middle();
    drawLayerChoice();
    await refresh();
  }

  const current = () => scene.layers.find((one) => one.name === layer);
  const spatial = () => current().output.slice(0, -1);
  const middle = () => spatial().map((n) => (scene.image ? Math.floor(n / 2) : 0));

  function drawLayerChoice() {
    const shape = current().output, channels = shape.at(-1);
    const which = select(scene.layers.map((one) => [one.name, `${one.name} · ${one.token} · ${one.output.join("×")}`]), layer, (name) => {
      layer = name;
      channel = 0;
      first = 0;
      place = middle();
      drawLayerChoice();
      refresh();
    });
    which.id = "layer";
    const one = h("input.number", { type: "number", min: 0, max: channels - 1, value: channel, id: "channel", oninput: () => {
      channel = Math.max(0, Math.min(channels - 1, Number(one.value) || 0));
      refresh();
    } });
    const axes = spatial().map((n, k) => {
      const input = h("input.number", { type: "number", min: 0, max: n - 1, value: place[k], id: `place-${k}`, oninput: () => {
        place[k] = Math.max(0, Math.min(n - 1, Number(input.value) || 0));
        refresh();
      } });
      return field(spatial().length === 1 ? t("position") : t(k === 0 ? "rowWord" : "columnWord"), input);
    });
    fill(layerPlace, field(t("layer"), which), field(t("channelOf", channels), one), axes);
  }

  async function refresh() {
    if (!scene) return;
    const mine = ++asked;
    try {
      const [cell] = await Promise.all([post(`scenes/${scene.scene}/cell`, { layer, channel, place, first }), ensureVolumes()]);
      if (mine !== asked) return;
      told = cell;
      draw();
    } catch (error) {
      say(error.message, true);
      stop();
    }
  }

  async function ensureVolumes() {
    const sources = current().from.map((k) => scene.layers[k].name);
    const block = Math.floor(channel / 32) * 32;
    await Promise.all([[layer, block], ...sources.map((name) => [name, 0])].flatMap(([name, begin]) => ["forward", "backward"].map(async (side) => {
      const key = `${name}:${side}:${begin}`;
      volumes[key] ||= await get(`scenes/${scene.scene}/volume?layer=${encodeURIComponent(name)}&side=${side}&first=${begin}`);
    })));
  }

  function draw() {
    fill(title, `${layer} · ${told.token} · [${[...told.place, told.channel].join(", ")}]`);
    for (const one of ["forward", "backward"]) document.getElementById(`way-${one}`)?.setAttribute("aria-pressed", String(way === one));
    drawPictures();
    fill(parts, partsOf(told, way, (from) => { first = from; refresh(); }));
    fill(sum, sumOf(told, way, scene));
    sum.firstChild?.setAttribute?.("id", "sum");
    layerPlace.querySelectorAll("input").forEach((input) => {
      const value = input.id === "channel" ? channel : place[Number(input.id.slice(-1))];
      if (document.activeElement !== input) input.value = value;
    });
  }

  /** Small volumes as numbers, as in the CS231n demo; larger ones as maps to point at. */
  function drawPictures() {
    const sources = current().from.map((k) => scene.layers[k]);
    const shown = [];
    for (const one of sources) shown.push(volumeFigure(one, t("inputOf", one.name), false));
    shown.push(volumeFigure(current(), t("outputOf", layer), true));
    fill(pictures, shown);
  }

  function volumeFigure(one, words, isOutput) {
    const maps = volumes[`${one.name}:${way}:${isOutput ? Math.floor(channel / 32) * 32 : 0}`];
    if (maps.values && one.output.length === 3 && one.output[0] > 1) return numbersFigure(one, maps.values, words, isOutput);
    const canvas = h("canvas.mapview", { role: "img", ariaLabel: words });
    const vector = maps.shape[1] === 1;
    const room = isOutput ? 400 : 560, side = Math.max(maps.shape[1], maps.shape[2]), count = maps.shape[0];
    const most = side <= 8 ? 14 : side <= 16 ? 8 : 5, across = count === 1 ? 1 : Math.ceil(Math.sqrt(1.8 * count));
    const zoom = vector ? Math.max(4, Math.min(16, Math.floor(room / maps.shape[2]))) : Math.max(1, Math.min(most, Math.floor(room / (across * (side + 1)))));
    mapsCanvas(canvas, maps, { signed: way === "backward" || Math.min(...maps.low) < 0, width: room, zoom });
    outline(canvas, maps, isOutput, one);
    canvas.addEventListener("click", (event) => {
      if (!isOutput) return;
      const tile = tileAt(canvas, event);
      if (tile === null) return;
      const box = canvas.getBoundingClientRect(), { wide, high, perRow, zoom: z } = canvas.tiles;
      const x = ((event.clientX - box.left) * canvas.width) / box.width, y = ((event.clientY - box.top) * canvas.height) / box.height;
      const column = Math.floor((x - 1 - (tile % perRow) * wide) / z), row = Math.floor((y - 1 - Math.floor(tile / perRow) * high) / z);
      pick(maps, one, tile, row, column);
    });
    return h("figure", {}, h("figcaption", {}, `${words} ${one.output.join("×")}`), canvas);
  }

  /** A small volume as numbers, slice by slice; an input with its padding and the window marked. */
  function numbersFigure(one, slices, words, isOutput) {
    const geometry = told.geometry || { padding: [0, 0] };
    const [top, left] = isOutput ? [0, 0] : geometry.padding;
    const [height, width] = one.output;
    const seen = new Set((told.parts || []).flatMap((part) => part.rows.flatMap((r) => part.columns.map((c) => `${part.channel}:${r}:${c}`))));
    const cellOf = (k, r, c) => {
      const inside = r >= 0 && r < height && c >= 0 && c < width;
      const here = isOutput && k === channel && r === place[0] && c === place[1];
      const alone = !isOutput && !told.parts && k === channel && r === place[0] && c === place[1];
      const classes = [inside ? "" : "pad", here ? "now" : "", alone || (!isOutput && seen.has(`${k}:${r}:${c}`)) ? "seen" : ""].filter(Boolean);
      const value = inside ? number(slices[k][r][c], 3) : "0";
      return h(["td", ...classes].join("."), {}, isOutput ? h("button", { ariaLabel: `${one.name} ${r}, ${c}, ${k}: ${value}`, onclick: () => { channel = k; place = [r, c]; refresh(); } }, value) : value);
    };
    const range = (from, to) => Array.from({ length: to - from }, (_, n) => from + n);
    const tables = slices.map((_, k) => h("figure", {}, h("figcaption", {}, `${isOutput ? "o" : "x"}[:,:,${k}]`),
      h(`table.grid.${isOutput ? "o" : "x"}`, {}, h("tbody", {}, range(-top, height + top).map((r) => h("tr", {}, range(-left, width + left).map((c) => cellOf(k, r, c))))))));
    const padded = top || left ? ` (+${t("paddingShort")} ${top}: ${height + 2 * top}×${width + 2 * left}×${one.output[2]})` : "";
    return h("figure", {}, h("figcaption", {}, `${words} ${one.output.join("×")}${padded}`), h("div.slices", {}, tables));
  }

  function pick(maps, one, tile, row, column) {
    const shape = one.output.slice(0, -1);
    if (shape.every((n) => n === 1)) channel = Math.min(one.output.at(-1) - 1, Math.max(0, column));
    else {
      channel = tile + maps.first;
      const thinned = shape.map((n) => Math.ceil(n / 64));
      place = shape.length === 1 ? [column * thinned[0]] : [row * thinned[0], column * thinned[1]].map((v, k) => Math.max(0, Math.min(shape[k] - 1, v)));
    }
    refresh();
  }

  /** Mark the chosen cell in the output, and its window in the input. */
  function outline(canvas, maps, isOutput, one) {
    const pen = canvas.getContext("2d"), { wide, high, perRow, zoom, tiles } = canvas.tiles;
    const style = getComputedStyle(document.documentElement);
    const vector = one.output.slice(0, -1).every((n) => n === 1);
    const thin = vector ? 1 : Math.ceil(Math.max(...one.output.slice(0, -1)) / 64);
    pen.lineWidth = 2;
    const box = (tile, row, column, height, width, colour) => {
      if (tile < 0 || tile >= tiles) return;
      pen.strokeStyle = style.getPropertyValue(colour);
      pen.strokeRect(1 + (tile % perRow) * wide + (column / thin) * zoom, 1 + Math.floor(tile / perRow) * high + (row / thin) * zoom,
        Math.max(3, (width / thin) * zoom), Math.max(3, (height / thin) * zoom));
    };
    if (isOutput) {
      if (vector) box(0, 0, channel, 1, 1, "--blue");
      else if (place.length === 1) box(channel - maps.first, 0, place[0], 1, 1, "--blue");
      else box(channel - maps.first, place[0], place[1], 1, 1, "--blue");
      return;
    }
    for (const part of told.parts || []) {
      if (vector) box(0, 0, part.channel, 1, 1, "--orange");
      else box(part.channel, part.rows[0], part.columns[0], part.rows.at(-1) - part.rows[0] + 1, part.columns.at(-1) - part.columns[0] + 1, "--orange");
    }
    if (!told.parts && told.kind !== "softmax" && !vector) box(channel, ...(place.length === 1 ? [0, place[0]] : place), 1, 1, "--orange");
  }

  /** The next cell: along rows, then down, then the next channel, round and round. */
  function move(by) {
    if (!scene) return;
    const shape = spatial(), channels = current().output.at(-1), positions = shape.reduce((a, b) => a * b, 1);
    const index = channel * positions + (shape.length === 1 ? place[0] : place[0] * shape[1] + place[1]);
    const next = (((index + by) % (channels * positions)) + channels * positions) % (channels * positions);
    channel = Math.floor(next / positions);
    const rest = next % positions;
    place = shape.length === 1 ? [rest] : [Math.floor(rest / shape[1]), rest % shape[1]];
    return refresh();
  }

  function start() {
    stop();
    fill(play, t("pause"));
    timer = setInterval(() => move(1), Number(speed.value));
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    fill(play, t("play"));
  }

  function turn(one) {
    way = one;
    if (told) draw();
  }

  function drawSource() {
    const ready = runs.filter((run) => !["preparing", "failed"].includes(run.status));
    const of = (name, number = 0) => follow({ run: name, image: { number } });
    fill(source,
      h("button", { id: "demo", onclick: () => follow({ seed: seed++ }, "conv1").then(start) }, t("demo")),
      ready.map((run) => h("button", { onclick: () => of(run.name, Math.floor(Math.random() * 1000)) }, t("fromRun", run.name))),
      h("button", { id: "random", onclick: () => follow({ text: text.value, seed: seed++ }) }, t("fromText")), text);
  }
  const text = h("input.code", { value: RANDOM, size: 44, ariaLabel: t("text") });

  let names = "";
  listen((news) => {
    runs = news.runs;
    const now = runs.map((run) => run.name + (run.status === "preparing")).join();
    if (now !== names) drawSource();
    names = now;
  });
  drawSource();

  const root = h("div.view", {}, h("header", {}, h("h1", {}, t("stepTitle")), h("p", {}, t("stepWords"))),
    h("div.cards", {}, card(t("what"), source, layerPlace),
      h("section.card", {}, title, controls, h("p.soft", {}, t("stepHow")), pictures, sum, parts),
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
    enter([run, wanted, tile]) {
      if (run) {
        follow({ run, image: {} }, wanted).then(() => {
          channel = Number(tile) || 0;
          if (current().output.slice(0, -1).every((n) => n === 1)) channel = 0;
          refresh();
        });
        history.replaceState(null, "", "#step");
      } else if (!scene) follow({ seed: 0 }, "conv1");
    },
    leave: stop,
    recolour: () => told && draw(),
  };
}

const cellText = (value) => (value === null ? "" : number(value, 3));

function grid(kind, values, inside, words) {
  return h(`table.grid.${kind}`, { ariaLabel: words }, h("tbody", {}, values.map((row, u) => h("tr", {}, row.map((value, v) =>
    h(inside && !inside[u][v] ? "td.pad" : "td", { title: String(value) }, cellText(value)))))));
}

function partsOf(told, way, turn) {
  if (told.kind === "softmax") return softmaxTable(told, way);
  if (!told.parts) return null;
  const list = told.parts.map((part) => h("div.part", { id: `part-${part.channel}` }, h("span", {}, h("code", {}, `x[:,:,${part.channel}]`)),
    way === "forward" ? forwardPart(told, part) : backwardPart(told, part)));
  const pages = told.channels > told.parts.length ? h("div.row", {}, h("button", { disabled: told.first === 0, onclick: () => turn(Math.max(0, told.first - PART_PAGE)) }, t("earlier")),
    h("span.soft", {}, t("channelsOf", told.first + 1, told.first + told.parts.length, told.channels)),
    h("button", { disabled: told.first + PART_PAGE >= told.channels, onclick: () => turn(told.first + PART_PAGE) }, t("later"))) : null;
  return [pages, h("div.tall", { tabIndex: 0, role: "region", ariaLabel: t("channels") }, list)];
}

function forwardPart(told, part) {
  if (told.kind === "pool") return [grid("x", part.values, part.inside, t("values")), h("span", {}, `${told.pool} = `), h("strong", {}, number(told.output))];
  return [grid("x", part.values, part.inside, t("values")), h("span", {}, "×"), grid("w", part.weights, null, t("weights")),
    h("span", {}, "="), grid("p", part.products, null, t("products")), h("span", {}, "Σ"), h("strong", {}, number(part.sum))];
}

function backwardPart(told, part) {
  return [part.dw && [h("div", {}, h("h3", {}, t("dwHere")), grid("w", part.dw, null, t("dwHere"))), h("div", {}, h("h3", {}, t("dwTotal")), grid("w", part.dw_total, null, t("dwTotal")))],
    h("div", {}, h("h3", {}, t("dxHere")), grid("x", part.dx, part.inside, t("dxHere"))), h("div", {}, h("h3", {}, t("dxTotal")), grid("x", part.dx_total, part.inside, t("dxTotal")))];
}

function sumOf(told, way, scene) {
  const y = number(told.output, 6);
  if (way === "backward") {
    const lines = [h("p.sum", {}, `dL/dy = `, h("b", {}, number(told.gradient, 6)), `   L = ${number(scene.loss, 6)}${scene.classes.length && scene.label !== null ? ` (${t("forClass", scene.classes[scene.label])})` : ` (${t("sumOfOutputs")})`}`)];
    if (told.kind === "sum") lines.push(h("p.soft", {}, t("flowHow")));
    if (told.back?.bias !== undefined) lines.push(h("p.sum", {}, `dL/db: ${number(told.back.bias, 5)} ${t("ofAll")} ${number(told.back.bias_total, 5)}`));
    if (told.back?.inputs && told.kind !== "softmax") lines.push(h("p.sum", {}, `dL/dx = ${told.back.inputs.map((v) => number(v, 5)).join(", ")}`));
    return lines;
  }
  if (told.kind === "sum") {
    const terms = told.parts.slice(0, 6).map((part) => number(part.sum, 4));
    const more = told.channels > terms.length ? ` + … (${told.channels})` : "";
    return h("p.sum", {}, `${terms.join(" + ")}${more} + ${number(told.bias, 4)} (${t("bias")}) = `, h("b", {}, y));
  }
  if (told.kind === "each") return h("p.sum", {}, `${told.formula},  x = ${number(told.inputs[0], 6)}  →  `, h("b", {}, y));
  if (told.kind === "pool") return h("p.sum", {}, `${told.pool}( … ) = `, h("b", {}, y));
  if (told.kind === "softmax") return h("p.sum", {}, `exp(${number(told.logits[told.channel] - told.shift, 5)}) / ${number(told.sum, 5)} = `, h("b", {}, y));
  if (told.kind === "flatten") return h("p.sum", {}, `x[${[...told.source.slice(1), told.source[0]].join(", ")}] → y[${told.channel}] = `, h("b", {}, y));
  if (told.kind === "join") return h("p.sum", {}, `${told.names.map((name, k) => `${name}: ${number(told.inputs[k], 5)}`).join("   ")}   →   `, h("b", {}, y));
  if (told.kind === "input") return h("p.sum", {}, "x = ", h("b", {}, y));
  return h("p.sum", {}, `${told.inputs.length ? `x = ${number(told.inputs[0], 6)}  →  ` : ""}y = `, h("b", {}, y));
}

function softmaxTable(told, way) {
  const most = 24, head = [t("class"), t("logit"), "exp(x − max)", way === "forward" ? t("share") : "dL/dx"];
  return h("div.wide", {}, h("table", {}, h("thead", {}, h("tr", {}, head.map((word, k) => h(k ? "th.n" : "th", { scope: "col" }, word)))),
    h("tbody", {}, told.logits.slice(0, most).map((logit, k) => h(k === told.channel ? "tr.chosen" : "tr", {}, h("td", {}, k), h("td.n", {}, number(logit, 5)),
      h("td.n", {}, number(told.powers[k], 5)), h("td.n", {}, number(way === "forward" ? told.powers[k] / told.sum : told.back.inputs[k], 5)))))));
}

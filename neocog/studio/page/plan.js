// The plan of a text: sizes, costs, memory over a step, what each layer sees, and advice.

import { get } from "./api.js";
import { ARROWS, card, field, fill, h, number, percent, select, sized } from "./dom.js";
import { imageCanvas } from "./drawing.js";
import { editor } from "./editor.js";
import { spoken, t } from "./words.js";

const START = "INPUT[28x28x1] -> [CONV5-20 -> RELU -> POOL2]*2 -> FC500 -> RELU -> FC10";
const MOST_ROWS = 120;

export function planView(about) {
  let plan = null, chosen = null, own = false, all = false, at = [0.5, 0.5];
  const batch = h("input", { type: "number", min: 1, max: 100000, value: 32, oninput: () => write.plan() });
  const facts = h("div"), table = h("div.wide.tall", { tabIndex: 0, role: "region", ariaLabel: t("layers") });
  const drawing = h("div.drawing.wide", { tabIndex: 0, role: "region", ariaLabel: t("drawing") });
  const memory = h("div"), advice = h("div"), seen = h("div");
  const write = editor(sessionStorage.getItem("text") || START, {
    batch: () => Math.max(1, Math.min(100000, Number(batch.value) || 1)), changed,
  });
  const train = h("button.main", { id: "train-this", onclick: () => { sessionStorage.setItem("text", write.text); location.hash = "#train/new"; } }, t("trainThis"));
  const zoo = select([["", t("zoo")], ...about.zoo.map((one) => [one.name, one.name])], "", (name) => {
    const found = about.zoo.find((one) => one.name === name);
    if (found) write.set(found.text);
  });

  function changed(told, text) {
    sessionStorage.setItem("text", text);
    plan = told;
    all = false;
    own &&= told.layers.some((layer) => layer.name === chosen);
    if (!own) chosen = told.layers.findLast((layer) => layer.output.length > 1 && layer.output[0] > 1)?.name ?? null;
    draw();
  }

  function draw() {
    train.disabled = !plan.ok;
    fill(facts, plan.ok ? h("dl.facts", {}, factsOf(plan)) : h("p.soft", {}, t("afterRepair")));
    drawTable();
    drawDrawing();
    fill(memory, plan.ok ? memoryOf(plan) : h("p.soft", {}, t("afterRepair")));
    fill(advice, !plan.ok ? h("p.soft", {}, t("afterRepair")) : plan.advice.length
      ? h("ul", {}, plan.advice.map((one) => h("li", {}, h("code", {}, one.layer), ": ", spoken(one.text))))
      : h("p.soft", {}, t("noAdvice")));
    drawSeen();
  }

  function drawTable() {
    const rows = all ? plan.layers : plan.layers.slice(0, MOST_ROWS);
    const head = [t("layer"), t("written"), t("output"), t("parameters"), t("connections"), "MACs", t("sees"), t("jump")];
    fill(table, h("table", {}, h("thead", {}, h("tr", {}, head.map((word, k) => h(k > 1 ? "th.n" : "th", { scope: "col" }, word)))),
      h("tbody", {}, rows.map((layer) => h(layer.name === chosen ? "tr.pick.chosen" : "tr.pick", { onclick: () => choose(layer.name) },
        layer.cells.map((cell, k) => h(k > 1 ? "td.n" : k === 1 ? "td.code" : "td", { title: k === 1 ? cell : "" },
          k === 0 ? h("button.quiet", { id: `choose-${layer.name}`, ariaPressed: String(layer.name === chosen) }, cell) : cell)))))),
    rows.length < plan.layers.length && h("p", {}, h("button", { onclick: () => { all = true; drawTable(); } }, t("allRows", plan.layers.length))));
  }

  function choose(name) {
    chosen = name;
    own = true;
    drawTable();
    drawSeen();
  }

  function drawDrawing() {
    if (!plan.ok || !plan.drawing) {
      fill(drawing, h("p.soft", {}, plan.ok ? t("tooManyToDraw") : t("afterRepair")));
      return;
    }
    const svg = new DOMParser().parseFromString(plan.drawing, "image/svg+xml").documentElement;
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", plan.network);
    for (const words of svg.querySelectorAll("text")) words.textContent = spoken(words.textContent);
    fill(drawing, document.importNode(svg, true));
  }

  function drawSeen() {
    const layer = plan.layers.find((one) => one.name === chosen);
    if (!layer || layer.output.length !== 3) {
      fill(seen, h("p.soft", {}, t("pickLayer")));
      return;
    }
    fill(seen, fieldOf(plan, layer, at, (place) => { at = place; }));
    fetchSample(about, plan.layers[0].output[2]).then(() => seen.querySelector("canvas")?.repaint());
  }

  const root = h("div.view", {},
    h("header", {}, h("h1", {}, t("planTitle")), h("p", {}, t("planWords"))),
    h("div.cards", {},
      sized("seven", card(t("text"), write.root, h("div.row.end", {}, field(t("startFrom"), zoo), field(t("batch"), batch),
        train))),
      sized("five", card(t("total"), facts)),
      card(t("drawing"), drawing),
      sized("seven", card(t("layers"), table)),
      sized("five", card(t("field"), seen)),
      sized("seven", card(t("memory"), memory)),
      sized("five", card(t("advice"), advice))));
  return { root, recolour: () => plan && draw() };
}

function factsOf(plan) {
  const { totals, memory } = plan;
  const pairs = [
    [t("layers"), number(totals.layers)], [t("parameters"), number(totals.parameters)], ["MACs", number(totals.macs)],
    [t("connections"), number(totals.connections)], [t("activationValues"), number(totals.activations)],
    [t("trainingMemory"), memory.said],
  ];
  return pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
}

function memoryOf(plan) {
  const kinds = [[["activations_bytes"], "volumes", "s0"], [["parameters_bytes"], "parameters", "s1"],
    [["activation_gradients_bytes", "parameter_gradients_bytes"], "gradientsOfAll", "s2"], [["optimizer_bytes"], "optimizer", "s3"], [["batch_bytes"], "batchImages", "s4"]];
  const parts = kinds.map(([keys, word, kind]) => ({ word: t(word), bytes: keys.reduce((sum, key) => sum + (plan.memory[key] || 0), 0), kind }));
  const total = parts.reduce((sum, one) => sum + one.bytes, 0) || 1;
  const bar = h("div.bars", { role: "img", ariaLabel: parts.map((one) => `${one.word} ${percent(one.bytes / total)}`).join(", ") });
  for (const one of parts) {
    const piece = h(`div.${one.kind}`);
    piece.style.width = `${(100 * one.bytes) / total}%`;
    bar.append(piece);
  }
  return [h("h3", {}, t("unfreed")), bar, h("p.legend", {}, parts.map((one) => h("span", {}, h(`span.swatch.${one.kind}`), `${one.word} ${bytes(one.bytes)}`))),
    h("h3", {}, t("alive")), timeline(plan)];
}

const bytes = (count) => {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (count < 1024) return `${unit === "B" ? count : count.toFixed(1)} ${unit}`;
    count /= 1024;
  }
  return `${count.toFixed(1)} TiB`;
};

function timeline(plan) {
  const moments = plan.moments, wide = 560, high = 120;
  const most = Math.max(...moments.map((m) => m[2])), step = wide / moments.length;
  const peak = moments.findIndex((m) => m[2] === most);
  const svg = h("svg.chart", { viewBox: `0 0 ${wide} ${high + 16}`, role: "img", "aria-label": t("peakAt", moments[peak][3], t(moments[peak][0]), moments[peak][1]) });
  moments.forEach(([phase, layer, count, said], k) => {
    const tall = (high * count) / most;
    const bar = h(phase === "forward" ? "rect.area" : "rect.area.back", { x: k * step, y: high - tall, width: Math.max(0.5, step - 0.5), height: tall });
    bar.append(h("title", { svg: true }, `${t(phase)} ${layer}: ${said}`));
    svg.append(bar);
  });
  const phases = [["s0", [t("forward")]], ["s1", [t("backward"), t("update")]]];
  return [svg, h("p.legend", {}, phases.map(([kind, words]) => h("span", {}, h(`span.swatch.${kind}`), words.join(" / ")))), h("p.soft", {}, t("peakAt", moments[peak][3], t(moments[peak][0]), moments[peak][1]))];
}

/** The receptive field of a position of a layer, on an image. */
function fieldOf(plan, layer, at, moved) {
  const [height, width] = plan.layers[0].output;
  const axis = (value, k) => (Array.isArray(value) ? value[k] : value);
  const canvas = h("canvas.mapview", { width: 320, height: Math.max(1, Math.round((320 * height) / width)), tabIndex: 0, role: "application", ariaLabel: t("fieldHint") });
  const told = h("p.soft");
  const zoom = 320 / width;

  function paint() {
    const pen = canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    background(pen, canvas, width, height, zoom);
    const field = layer.receptive_field;
    const boxes = [0, 1].map((k) => {
      const count = layer.output[k], index = Math.min(count - 1, Math.floor(at[k] * count));
      const jump = axis(field.jump, k) ?? 0, size = axis(field.size, k), centre = axis(field.start, k) + jump * index;
      return { index, from: centre - (size - 1) / 2, size };
    });
    const [y, x] = boxes;
    pen.strokeStyle = style.getPropertyValue("--orange");
    pen.lineWidth = 2.5;
    pen.fillStyle = style.getPropertyValue("--orange");
    pen.globalAlpha = 0.22;
    pen.fillRect(x.from * zoom, y.from * zoom, x.size * zoom, y.size * zoom);
    pen.globalAlpha = 1;
    pen.strokeRect(x.from * zoom, y.from * zoom, x.size * zoom, y.size * zoom);
    told.textContent = t("fieldSays", layer.name, y.index, x.index, `${number(y.size)}×${number(x.size)}`, `${height}×${width}`);
  }
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    at[1] = Math.min(0.999, Math.max(0, (event.clientX - box.left) / box.width));
    at[0] = Math.min(0.999, Math.max(0, (event.clientY - box.top) / box.height));
    moved(at);
    paint();
  };
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("keydown", (event) => {
    const move = ARROWS[event.key];
    if (!move) return;
    event.preventDefault();
    for (const k of [0, 1]) at[k] = Math.min(0.999, Math.max(0, at[k] + move[k] / layer.output[k]));
    paint();
  });
  paint();
  canvas.repaint = paint;
  return [canvas, told];
}

let sample = null;

/** An image behind the field, stretched to the input; a quiet grid until it is there. */
async function fetchSample(about, channels) {
  const name = channels === 3 && about.data.includes("cifar10") ? "cifar10" : "mnist";
  if (sample?.name === name) return;
  try {
    const { images } = await get(`data/${name}/samples`);
    sample = { name, canvas: imageCanvas(images.at(-1).image) };
  } catch {
    sample = null;  // the grid will do
  }
}

function background(pen, canvas, width, height, zoom) {
  const style = getComputedStyle(document.documentElement);
  pen.fillStyle = style.getPropertyValue("--tint");
  pen.fillRect(0, 0, canvas.width, canvas.height);
  if (sample) {
    pen.imageSmoothingEnabled = false;
    pen.drawImage(sample.canvas, 0, 0, canvas.width, canvas.height);
    return;
  }
  pen.strokeStyle = style.getPropertyValue("--rule");
  const every = Math.max(1, Math.round(width / 32));
  pen.lineWidth = 1;
  for (let k = 0; k <= width; k += every) line(pen, k * zoom, 0, k * zoom, canvas.height);
  for (let k = 0; k <= height; k += every) line(pen, 0, k * zoom, canvas.width, k * zoom);
}

function line(pen, ...ends) {
  pen.beginPath();
  pen.moveTo(ends[0], ends[1]);
  pen.lineTo(ends[2], ends[3]);
  pen.stroke();
}

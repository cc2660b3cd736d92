// Inside a network: for each layer its activations and weights, and the gradients of both, a page of layers at a time.

import { post, runPath } from "./api.js";
import { fill, h, number, percent, select, sentence } from "./dom.js";
import { imageCanvas, mapsCanvas, span, tileAt } from "./drawing.js";
import { stepLink } from "./pick.js";
import { spoken, t } from "./words.js";

const PAGE = 8;

export function layersPanel(name) {
  let first = 0, total = 0, scale = "layer", told = null, question = "";
  const list = h("div", {}, h("p.soft", {}, t("working")));
  const where = h("span.soft");
  const back = h("button", { onclick: () => turn(-PAGE) }, t("earlier"));
  const next = h("button", { onclick: () => turn(PAGE) }, t("later"));
  const scales = select([["unit", t("scaleUnit")], ["layer", t("scaleLayer")], ["network", t("scaleNetwork")]], scale, (value) => {
    scale = value;
    if (told) draw();
  });
  const root = h("div", {}, h("div.row", {}, h("span.soft", {}, t("scale")), scales, back, next, where), list);
  scales.setAttribute("aria-label", t("scale"));
  let shown = {};

  /** What is inside for an image now; null where that is what is shown already, or cannot be told. */
  async function look(image) {
    shown = image;
    const asked = JSON.stringify([image, first]), have = asked === question ? told.looks : null;
    try {
      const found = await post(runPath(name, "/layers"), { image, first, count: PAGE, have });
      if (found === null) return null;
      told = found;
      question = asked;
    } catch (error) {
      question = "";
      fill(list, h("p.soft", {}, sentence(error)));
      return null;
    }
    total = told.total;
    draw();
    return told;
  }

  function turn(step) {
    first = Math.max(0, Math.min(total - 1, first + step));
    look(shown);
  }

  function draw() {
    back.disabled = first === 0;
    next.disabled = first + PAGE >= total;
    where.textContent = t("layersOf", first + 1, Math.min(total, first + PAGE), total);
    const joint = {};
    for (const part of ["activation", "gradient"]) {
      const spans = told.layers.map((layer) => span(layer[part].maps));
      joint[part] = [Math.min(...spans.map((s) => s[0])), Math.max(...spans.map((s) => s[1]))];
    }
    fill(list, told.layers.map((layer, k) => layerOf(layer, first + k === 0, joint)));
  }

  function layerOf(layer, isInput, joint) {
    const window = layer.window;
    const facts = [
      layer.output.join("×"),
      window && t("windowLine", window.kernel.join("×"), window.stride.join("×")),
      layer.parameters && t("parameterLine", layer.parameters),
      t("range", t("activations"), number(layer.activation.range[0], 3), number(layer.activation.range[1], 3)),
      t("range", t("gradients"), number(layer.gradient.range[0], 3), number(layer.gradient.range[1], 3)),
      layer.dead !== null && layer.dead !== undefined && t("dead", percent(layer.dead, 0)),
    ];
    return h("div.layer", { id: `layer-${layer.name}` },
      h("div.about", {}, h("a", { href: stepLink(name, layer.name, 0, shown), title: t("stepLayer") }, layer.name), h("code", {}, layer.token), facts.filter(Boolean).map((fact) => h("span", {}, fact))),
      h("div.strips", {},
        isInput ? strip(t("image"), imageCanvas(told.pixels, zoomOf([1, layer.output[0]]), t("image"))) : mapStrip(layer, "activation", t("activations"), joint, false),
        mapStrip(layer, "gradient", isInput ? t("imageGradient") : t("activationGradients"), joint, true),
        layer.weights.flatMap((array) => weightStrips(layer, array))));
  }

  function mapStrip(layer, part, words, joint, signed) {
    const maps = layer[part].maps;
    const low = layer[part].range[0];
    const canvas = h("canvas.pick", { role: "img", ariaLabel: `${layer.name}: ${words}`, title: t("stepHint"), onclick: (event) => {
      const tile = tileAt(canvas, event);
      if (tile !== null) location.hash = stepLink(name, layer.name, tile + maps.first, shown);
    } });
    const vector = maps.shape[1] === 1;
    mapsCanvas(canvas, maps, {
      signed: signed || low < 0, width: 420, zoom: vector ? Math.max(3, Math.min(14, Math.floor(420 / maps.shape[2]))) : zoomOf(maps.shape),
      scale: scale === "unit" ? "unit" : scale === "network" ? joint[part] : undefined, colour: layer.name === "input" && maps.shape[0] === 3,
    });
    if (vector) canvas.style.height = "16px";
    return strip(`${words}${maps.total > maps.shape[0] ? ` (${maps.shape[0]} / ${maps.total})` : ""}`, canvas);
  }

  function weightStrips(layer, array) {
    const called = spoken(array.name), strips = [[called, array]];
    if (array.gradient) strips.push([t("gradientOf", called), array.gradient]);
    return strips.map(([words, part], k) => {
      const canvas = h("canvas", { role: "img", ariaLabel: `${layer.name}: ${words}` });
      const [, height, width] = part.maps.shape;
      const zoom = height <= 7 && width <= 7 ? 6 : height === 1 ? 4 : 1;
      mapsCanvas(canvas, part.maps, { signed: true, width: 420, zoom, group: array.channels, colour: array.channels === 3, scale: scale === "unit" ? "unit" : undefined });
      const ratio = k === 0 && array.ratio ? ` · ${t("ratio", number(array.ratio, 2))}` : "";
      const hidden = part.maps.total > part.maps.shape[0] ? ` (${part.maps.shape[0]} / ${part.maps.total})` : "";
      return strip(`${words} ${array.shape.join("×")}${hidden}: ${number(part.range[0], 3)} … ${number(part.range[1], 3)}${ratio}`, canvas);
    });
  }

  return { root, look, recolour: () => told && draw() };
}

/** How much maps (n, h, w) are enlarged: many large ones not at all. */
const zoomOf = ([count, side]) => (side <= 8 ? 4 : side <= 16 ? (count <= 16 ? 3 : 2) : side <= 32 && count <= 12 ? 2 : 1);

function strip(words, canvas) {
  return h("div.strip", {}, h("h3", {}, words), canvas);
}

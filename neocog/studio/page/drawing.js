// Maps of numbers as pictures, and curves as lines. Colours follow the page's own.

import { dark, h } from "./dom.js";
import { t } from "./words.js";

/** The bytes of a base64 text. */
function bytes(text) {
  const raw = atob(text);
  const made = new Uint8Array(raw.length);
  for (let k = 0; k < raw.length; k++) made[k] = raw.charCodeAt(k);
  return made;
}

const POSITIVE = { light: [31, 111, 181], dark: [98, 174, 240] };
const NEGATIVE = { light: [200, 87, 27], dark: [240, 144, 88] };
const PAPER = { light: [255, 255, 255], dark: [16, 19, 22] };

/** Colours for the 256 bytes of a map, as canvases keep them. */
function colours(low, high, options, from, to, tone) {
  const found = new Uint32Array(256), most = Math.max(-from, to) || 1, wide = to - from || 1;
  for (let b = 0; b < 256; b++) {
    const value = low + (b / 255) * (high - low);
    let rgb;
    if (options.signed) {
      const end = (value < 0 ? NEGATIVE : POSITIVE)[tone], part = Math.min(1, Math.abs(value) / most);
      rgb = PAPER[tone].map((c, k) => Math.round(c + (end[k] - c) * part));
    } else rgb = Array(3).fill(Math.round(255 * Math.min(1, Math.max(0, (value - from) / wide))));
    found[b] = (255 << 24) | (rgb[2] << 16) | (rgb[1] << 8) | rgb[0];
  }
  return found;
}

/** The lowest and highest value of some maps. */
export function span(maps) {
  return [Math.min(...maps.low), Math.max(...maps.high)];
}

const GAP = 1, GROUP = 5;

/**
 * Maps as one canvas, in rows as wide as there is room.
 * options: signed (0 in the middle), scale ("unit" or [low, high]), zoom, width, group (maps of a filter), colour.
 */
export function mapsCanvas(canvas, maps, options) {
  const [count, height, width] = maps.shape;
  const colour = options.colour && count % 3 === 0;
  const tiles = colour ? count / 3 : count;
  const zoom = options.zoom || 1;
  const group = options.group && options.group > 1 && !colour ? options.group : 0;
  const wide = width * zoom + GAP, high = height * zoom + GAP;
  const extra = (k) => (group ? Math.floor(k / group) * GROUP : 0);
  let perRow = Math.max(1, Math.floor((options.width - GAP) / wide));
  if (group) perRow = Math.max(group, Math.floor(perRow / (group + GROUP / wide)) * group);
  perRow = Math.min(perRow, tiles);
  const rows = Math.ceil(tiles / perRow);
  canvas.width = Math.max(1, perRow * wide + extra(perRow - 1) + GAP);
  canvas.height = Math.max(1, rows * high + GAP);
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const data = bytes(maps.data), size = width * height;
  const [lowest, highest] = span(maps);
  const sheet = new OffscreenCanvas(width, height);
  const sheetPen = sheet.getContext("2d");
  const tone = dark() ? "dark" : "light";
  for (let k = 0; k < tiles; k++) {
    const image = sheetPen.createImageData(width, height);
    if (colour) paintColour(image.data, maps, data, 3 * k, size, lowest, highest, options.signed);
    else {
      const [from, to] = options.scale === "unit" ? [maps.low[k], maps.high[k]] : options.scale || [lowest, highest];
      const table = colours(maps.low[k], maps.high[k], options, from, to, tone);
      const words = new Uint32Array(image.data.buffer);
      for (let p = 0; p < size; p++) words[p] = table[data[k * size + p]];
    }
    sheetPen.putImageData(image, 0, 0);
    const column = k % perRow;
    pen.drawImage(sheet, GAP + column * wide + extra(column), GAP + Math.floor(k / perRow) * high, width * zoom, height * zoom);
  }
  canvas.tiles = { perRow, wide, high, tiles, extra, zoom, group };
  return canvas;
}

/** Three maps as one picture in colour; signed ones have 0 in mid-grey. */
function paintColour(pixels, maps, data, first, size, low, high, centred) {
  const most = Math.max(-low, high) || 1;
  for (let p = 0; p < size; p++) {
    for (let c = 0; c < 3; c++) {
      const k = first + c, value = maps.low[k] + (data[k * size + p] / 255) * (maps.high[k] - maps.low[k]);
      pixels[4 * p + c] = centred ? 127.5 + (127.5 * value) / most : (255 * (value - low)) / (high - low || 1);
    }
    pixels[4 * p + 3] = 255;
  }
}

/** Which map of a canvas was pointed at. */
export function tileAt(canvas, event) {
  const box = canvas.getBoundingClientRect(), { perRow, wide, high, tiles, extra } = canvas.tiles;
  const x = ((event.clientX - box.left) * canvas.width) / box.width, y = ((event.clientY - box.top) * canvas.height) / box.height;
  let column = 0;
  while (column + 1 < perRow && x >= (column + 1) * wide + extra(column + 1)) column++;
  const k = Math.floor(y / high) * perRow + column;
  return k < tiles ? k : null;
}

/** An image (H, W, 1 or 3) of bytes. */
export function imageCanvas(image, zoom = 1, label = "") {
  const [height, width, channels] = image.shape, data = bytes(image.data);
  const canvas = h("canvas.pixels", { width, height, ...(label ? { role: "img", ariaLabel: label } : { ariaHidden: "true" }) });
  const pen = canvas.getContext("2d"), drawn = pen.createImageData(width, height);
  for (let p = 0; p < width * height; p++) {
    for (let c = 0; c < 3; c++) drawn.data[4 * p + c] = data[p * channels + (channels === 3 ? c : 0)];
    drawn.data[4 * p + 3] = 255;
  }
  pen.putImageData(drawn, 0, 0);
  canvas.style.width = `${width * zoom}px`;
  return canvas;
}

const LEFT = 54, RIGHT = 10, TOP = 8, BOTTOM = 22, HIGH = 230;
/** As wide as it stands on the page, so that its words are as large as the others. */
const wide = () => (matchMedia("(max-width: 600px)").matches ? 340 : 560);

/** Nice numbers between two ends. */
function ticks(low, high, most = 5) {
  const rough = (high - low) / most || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-6; v += step) found.push(Math.abs(v) < step * 1e-6 ? 0 : v);
  return found;
}

const steps = (v) => (v >= 1e6 ? `${+(v / 1e6).toFixed(2)}M` : v >= 1000 ? `${+(v / 1000).toFixed(2)}k` : String(v));

/** Curves over steps: series of {points, kind, name}. */
export function chart(series, { label, low, high, shares } = {}) {
  const WIDE = wide(), all = series.flatMap((one) => one.points);
  const svg = h("svg.chart", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": label });
  if (!all.length) {
    svg.append(h("text.tick", { x: WIDE / 2, y: HIGH / 2, "text-anchor": "middle" }, t("afterSteps")));
    return svg;
  }
  const right = Math.max(1, ...all.map((p) => p[0]));
  const sorted = all.map((p) => p[1]).sort((a, b) => a - b);
  const top = high ?? sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.995))] * 1.05;
  const bottom = low ?? Math.min(0, sorted[0]);
  const x = (v) => LEFT + (v / right) * (WIDE - LEFT - RIGHT);
  const y = (v) => HIGH - BOTTOM - ((Math.min(top, Math.max(bottom, v)) - bottom) / (top - bottom || 1)) * (HIGH - TOP - BOTTOM);
  for (const v of ticks(bottom, top)) {
    svg.append(h("line.grid", { x1: LEFT, x2: WIDE - RIGHT, y1: y(v), y2: y(v) }));
    svg.append(h("text.tick", { x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, shares ? `${Math.round(100 * v)} %` : String(Number(v.toPrecision(3)))));
  }
  for (const v of ticks(0, right, 6)) {
    svg.append(h("line.grid", { x1: x(v), x2: x(v), y1: TOP, y2: HIGH - BOTTOM }));
    svg.append(h("text.tick", { x: x(v), y: HIGH - 5, "text-anchor": "middle" }, steps(v)));
  }
  for (const one of series) {
    if (!one.points.length) continue;
    const points = one.points.map((p) => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join(" ");
    svg.append(h(`polyline.line.${one.kind}`, { points }));
  }
  return svg;
}

/** What the colours of curves mean. */
export function legend(series) {
  return h("p.legend", {}, series.map((one) => h("span.key", {}, h(`span.swatch.${one.kind}`), one.name)));
}

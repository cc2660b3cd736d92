// The volumes around a value: small ones as numbers, as in the CS231n demo, larger ones as maps to point at.

import { h, number } from "./dom.js";
import { mapsCanvas, tileAt } from "./drawing.js";
import { around } from "./flow.js";
import { t } from "./words.js";

export const BLOCK = 32;
const FEW = 6, INPUT_ROOM = 320, OUTPUT_ROOM = 240, THIN = 64, LOW = 16;

const isVector = (layer) => layer.output.slice(0, -1).every((n) => n === 1);
const atOf = (place) => (place.length === 1 ? [0, place[0]] : place);

/**
 * What a layer gives (`role` "output") or is given ("input"), with the value or its window marked.
 * `value` is {channel, place, told, backward}; `picked(channel, place)` is called when another value is pointed at.
 * Returns {root, box(channel)}: the figure, and where on the screen the mark is, that of a channel if one is named; or null.
 */
export function volumeFigure(layer, maps, role, value, picked) {
  const small = maps.values && layer.output.length === 3 && layer.output[0] > 1;
  return (small ? numbersFigure : mapsFigure)(layer, maps, role, value, picked);
}

/** How many rows and columns of a map stand for one that is shown. */
function thinned(layer) {
  const steps = layer.output.slice(0, -1).map((n) => Math.ceil(n / THIN));
  return steps.length === 1 ? [1, ...steps] : steps;
}

const caption = (role, layer) => t(role === "output" ? "outputOf" : "inputOf", layer.name);

function numbersFigure(layer, maps, role, { channel, place, told }, picked) {
  const isOutput = role === "output";
  const [top, left] = isOutput || !told.geometry ? [0, 0] : told.geometry.padding;
  const [height, width] = layer.output;
  const seen = isOutput ? new Set() : seenIn(told, channel, place);
  const cellOf = (k, r, c) => {
    const inside = r >= 0 && r < height && c >= 0 && c < width;
    const here = isOutput && k === channel && r === place[0] && c === place[1];
    const classes = ["td", inside ? "" : "pad", here ? "now" : "", seen.has(`${k}:${r}:${c}`) ? "seen" : ""].filter(Boolean);
    const shown = inside ? number(maps.values[k][r][c], width > FEW ? 2 : 3) : "0";
    return h(classes.join("."), {}, isOutput ? h("button", { ariaLabel: `${layer.name} ${r}, ${c}, ${k}: ${shown}`, tabIndex: here ? 0 : -1, onclick: () => picked(k, [r, c]) }, shown) : shown);
  };
  const range = (from, to) => Array.from({ length: to - from }, (_, n) => from + n);
  const tables = maps.values.map((_, k) => h(`table.grid.${isOutput ? "o" : "x"}`, {}, h("tbody", {},
    range(-top, height + top).map((r) => h("tr", {}, range(-left, width + left).map((c) => cellOf(k, r, c)))))));
  const padded = top || left ? ` (+${t("paddingShort")} ${top}: ${height + 2 * top}×${width + 2 * left}×${layer.output[2]})` : "";
  const slices = tables.map((table, k) => h("figure", {}, h("figcaption", {}, `${isOutput ? "o" : "x"}[:,:,${k}]`), table));
  const root = h("figure", {}, h("figcaption", {}, `${caption(role, layer)} ${layer.output.join("×")}${padded}`), h("div.slices", {}, slices));
  return {
    root,
    box: (k) => {
      const marked = (k === undefined ? tables : tables.slice(k, k + 1)).flatMap((table) => [...table.querySelectorAll("td.seen, td.now")]);
      if (!marked.length) return null;
      const { top, bottom } = around(marked), { left, right } = marked[0].closest("table").getBoundingClientRect();
      const end = root.parentElement.getBoundingClientRect().right;  // beyond it a wide table is scrolled
      return { top, bottom, left, right: Math.min(right, end) };  // lines end beside the numbers, not on them
    },
  };
}

/** The values of the input that the value is made of, as `channel:row:column`. */
function seenIn(told, channel, place) {
  if (!told.parts) return new Set([(told.source ?? [channel, ...atOf(place)]).join(":")]);
  return new Set(told.parts.flatMap((part) => part.rows.flatMap((r) => part.columns.map((c) => `${part.channel}:${r}:${c}`))));
}

function mapsFigure(layer, maps, role, value, picked) {
  const isOutput = role === "output", words = caption(role, layer);
  const canvas = h(isOutput ? "canvas.mapview.pick" : "canvas.mapview", { role: "img", ariaLabel: words });
  const [count, height, width] = maps.shape, room = isOutput ? OUTPUT_ROOM : INPUT_ROOM;
  mapsCanvas(canvas, maps, { signed: value.backward || Math.min(...maps.low) < 0, width: room, zoom: zoomOf(count, height, width, room) });
  if (isVector(layer)) canvas.style.height = `${Math.max(LOW, canvas.height)}px`;
  const marks = outline(canvas, layer, maps, isOutput, value);
  if (isOutput) canvas.addEventListener("click", (event) => pointed(canvas, event, layer, maps, picked));
  return {
    root: h("figure", {}, h("figcaption", {}, `${words} ${layer.output.join("×")}`), canvas),
    box: (k) => onScreen(canvas, k === undefined ? marks.values().next().value : marks.get(k)),
  };
}

function zoomOf(count, height, width, room) {
  if (height === 1) return Math.max(4, Math.min(16, Math.floor(room / width)));
  const side = Math.max(height, width), most = side <= 8 ? 14 : side <= 16 ? 8 : 5;
  const across = count === 1 ? 1 : Math.ceil(Math.sqrt(1.8 * count));
  return Math.max(1, Math.min(most, Math.floor(room / (across * (side + 1)))));
}

/** Mark the value in the output, or its window in the input; where the marks are on the canvas, by channel. */
function outline(canvas, layer, maps, isOutput, { channel, place, told }) {
  const pen = canvas.getContext("2d"), { wide, high, perRow, zoom, tiles } = canvas.tiles;
  const vector = isVector(layer), [thinRows, thinColumns] = thinned(layer);
  const marks = new Map();
  pen.lineWidth = 2;
  pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue(isOutput ? "--blue" : "--orange");
  const mark = (key, tile, [row, column], tall = 1, broad = 1) => {
    if (tile < 0 || tile >= tiles) return;
    const box = [1 + (tile % perRow) * wide + (column / thinColumns) * zoom, 1 + Math.floor(tile / perRow) * high + (row / thinRows) * zoom,
      Math.max(3, (broad / thinColumns) * zoom), Math.max(3, (tall / thinRows) * zoom)];
    pen.strokeRect(...box);
    marks.set(key, box);
  };
  const parts = isOutput ? null : told.parts;
  if (vector) for (const k of parts?.map((part) => part.channel) ?? [channel]) mark(k, 0, [0, k]);
  else if (parts) {
    for (const { channel: k, rows, columns } of parts) mark(k, k - maps.first, [rows[0], columns[0]], rows.at(-1) - rows[0] + 1, columns.at(-1) - columns[0] + 1);
  } else if (told.kind === "flatten" && !isOutput) mark(channel, told.source[0] - maps.first, atOf(told.source.slice(1)));
  else mark(channel, channel - maps.first, atOf(place));
  return marks;
}

function onScreen(canvas, mark) {
  if (!mark) return null;
  const box = canvas.getBoundingClientRect(), across = box.width / canvas.width, down = box.height / canvas.height, [x, y, wide, high] = mark;
  return { left: box.left + x * across, right: box.left + (x + wide) * across, top: box.top + y * down, bottom: box.top + (y + high) * down };
}

/** The value that was pointed at. */
function pointed(canvas, event, layer, maps, picked) {
  const tile = tileAt(canvas, event);
  if (tile === null) return;
  const box = canvas.getBoundingClientRect(), { wide, high, perRow, zoom } = canvas.tiles;
  const x = ((event.clientX - box.left) * canvas.width) / box.width, y = ((event.clientY - box.top) * canvas.height) / box.height;
  const column = Math.floor((x - 1 - (tile % perRow) * wide) / zoom), row = Math.floor((y - 1 - Math.floor(tile / perRow) * high) / zoom);
  const bounded = (value, count) => Math.max(0, Math.min(count - 1, value));
  if (isVector(layer)) {
    picked(bounded(column, layer.output.at(-1)), layer.output.slice(0, -1).map(() => 0));
    return;
  }
  const shape = layer.output.slice(0, -1), place = shape.length === 1 ? [column] : [row, column];
  picked(tile + maps.first, place.map((v, k) => bounded(v * thinned(layer).at(k - shape.length), shape[k])));
}

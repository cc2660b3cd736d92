// Input size, padding, kernel, stride: which strides tile, and why the others do not. Point at an output to see its window.

import { post } from "./api.js";
import { ARROWS, card, complain, fill, h, settled } from "./dom.js";
import { spoken, t } from "./words.js";

const STEP_MS = 1000;

export function fittingWidget() {
  const numbers = { size: 7, padding: 0, kernel: 3, stride: 2, dilation: 1 };
  const most = { size: 12, padding: 4, kernel: 7, stride: 8, dilation: 3 };
  const strides = h("div.ticks", { role: "group", ariaLabel: t("stride") });
  const why = h("p.soft", { id: "fit-why", ariaLive: "polite" });
  const grids = h("div.slices");
  let fits = [], at = [0, 0], timer = null;

  const fitOf = (stride) => fits.find((one) => one.stride === stride);
  const outputNow = () => fitOf(numbers.stride)?.output;

  const slider = (key) => {
    const range = h("input", { type: "range", min: key === "padding" ? 0 : 1, max: most[key], value: numbers[key], ariaLabel: t(key), oninput: () => set(range.value) });
    const exact = h("input.number", { type: "number", min: key === "padding" ? 0 : 1, max: most[key], value: numbers[key], id: `fit-${key}`, oninput: () => set(exact.value) });
    const set = (value) => {
      numbers[key] = Math.max(Number(range.min), Math.min(most[key], Number(value) || Number(range.min)));
      range.value = numbers[key];
      if (document.activeElement !== exact) exact.value = numbers[key];
      at = [0, 0];
      ask();
    };
    return h("div.field", {}, h("label", { htmlFor: exact.id }, t(key)), h("div.row", {}, range, exact));
  };

  const ask = settled(async () => {
    const { size, padding, kernel, dilation } = numbers;
    try {
      fits = await post("window", { size, padding, kernel, dilation, most_stride: most.stride });
    } catch (error) {
      complain(error);
      return;
    }
    draw();
  }, 40);

  function draw() {
    fill(strides, fits.map((one) => h(one.output === null ? "button.tick-no" : "button", { ariaPressed: String(one.stride === numbers.stride), id: `stride-${one.stride}`, title: spoken(one.why) || "",
      onclick: () => { numbers.stride = one.stride; at = [0, 0]; draw(); } }, `${one.stride}${one.output === null ? " ✕" : ` → ${one.output}`}`)));
    const now = fitOf(numbers.stride);
    const padded = numbers.size + 2 * numbers.padding;
    why.textContent = now.output === null ? `${spoken(now.why)} ${t("try")}: ${spoken(now.hint)}` : t("fits", padded, now.output);
    why.className = now.output === null ? "mistake" : "soft";
    drawGrids(now.output, padded);
  }

  function drawGrids(output, padded) {
    const { padding, size, kernel, stride, dilation } = numbers;
    const seen = (r, c) => output !== null && [[r, at[0]], [c, at[1]]].every(([v, o]) => {
      const d = v - stride * o;
      return d >= 0 && d % dilation === 0 && d / dilation < kernel;
    });
    const inside = (v) => v >= padding && v < padding + size;
    const input = table(padded, (r, c) => [inside(r) && inside(c) ? "" : "pad", seen(r, c) ? "seen" : ""]);
    fill(grids, h("figure", {}, h("figcaption", {}, t("paddedInput", padded)), input),
      output === null ? null : h("figure", {}, h("figcaption", {}, t("outputSize", output)), table(output, (r, c) => [r === at[0] && c === at[1] ? "now" : ""], (r, c) => { at = [r, c]; draw(); })));
  }

  grids.addEventListener("keydown", (event) => {
    const by = ARROWS[event.key], count = outputNow();
    if (!by || !count) return;
    event.preventDefault();
    event.stopPropagation();  // the step view has another meaning for them
    at = at.map((v, k) => Math.max(0, Math.min(count - 1, v + by[k])));
    draw();
  });

  function table(count, classes, picked) {
    return h("table.grid.x", {}, h("tbody", {}, Array.from({ length: count }, (_, r) => h("tr", {}, Array.from({ length: count }, (_, c) => {
      const now = picked && r === at[0] && c === at[1] ? { id: "fit-now", tabIndex: 0 } : { tabIndex: -1 };
      const cell = h(["td", ...classes(r, c).filter(Boolean)].join("."), {}, picked ? h("button", { ariaLabel: `${r}, ${c}`, ...now }, "·") : "");
      if (picked) {
        cell.addEventListener("pointerenter", () => { if (at[0] !== r || at[1] !== c) picked(r, c); });
        cell.firstChild.addEventListener("click", () => picked(r, c));
      }
      return cell;
    })))));
  }

  const play = h("button", { onclick: () => {
    if (timer) {
      clearInterval(timer);
      timer = null;
    } else {
      timer = setInterval(() => {
        const count = outputNow();
        if (!count || !play.isConnected) return;
        const next = (at[0] * count + at[1] + 1) % (count * count);
        at = [Math.floor(next / count), next % count];
        draw();
      }, STEP_MS);
    }
    fill(play, timer ? t("pause") : t("play"));
  } }, t("play"));

  ask();
  return card(t("fitting"), h("p.soft", {}, t("fittingWords")), h("div.row.end", {}, ["size", "padding", "kernel", "dilation"].map(slider)),
    h("h3", {}, t("stride")), strides, why, h("p", {}, play), grids);
}

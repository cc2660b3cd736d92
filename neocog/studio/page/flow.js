// Lines from what a value is made of to the value. They flow for a moment at each step, the way the numbers go.

import { fill, h } from "./dom.js";

const GAP = 3;

/**
 * A sheet over `stage` with lines between places on it; `edges()` gives pairs of rectangles on the screen, [from, to].
 * `draw(backward)` makes them anew, and they flow; when the stage moves they only follow it.
 */
export function flowOver(stage, edges) {
  const sheet = h("svg.flow", { ariaHidden: "true" });
  stage.append(sheet);
  const lay = () => {
    const origin = stage.getBoundingClientRect();
    sheet.setAttribute("width", origin.width);
    sheet.setAttribute("height", origin.height);
    const lines = edges().map(([from, to]) => line(from, to, origin));
    if (lines.length !== sheet.childNodes.length) fill(sheet, lines.map((d) => h("path", { d })));
    else lines.forEach((d, k) => sheet.childNodes[k].setAttribute("d", d));
  };
  new ResizeObserver(lay).observe(stage);
  stage.addEventListener("scroll", lay, { capture: true, passive: true });
  return {
    draw(backward) {
      sheet.classList.toggle("back", backward);
      fill(sheet);
      lay();
    },
  };
}

/** A curve from the right side of one rectangle to the left side of another. */
function line(from, to, origin) {
  const x1 = from.right - origin.left + GAP, y1 = (from.top + from.bottom) / 2 - origin.top;
  const x2 = to.left - origin.left - GAP, y2 = (to.top + to.bottom) / 2 - origin.top;
  const bend = Math.max(24, (x2 - x1) / 2);
  return `M${x1.toFixed(1)} ${y1.toFixed(1)} C${(x1 + bend).toFixed(1)} ${y1.toFixed(1)} ${(x2 - bend).toFixed(1)} ${y2.toFixed(1)} ${x2.toFixed(1)} ${y2.toFixed(1)}`;
}

/** The rectangle around some elements. */
export function around(elements) {
  const boxes = [...elements].map((element) => element.getBoundingClientRect());
  return {
    left: Math.min(...boxes.map((box) => box.left)), right: Math.max(...boxes.map((box) => box.right)),
    top: Math.min(...boxes.map((box) => box.top)), bottom: Math.max(...boxes.map((box) => box.bottom)),
  };
}

/** Whether a rectangle's middle can be seen within another one. */
export function within(box, view) {
  const y = (box.top + box.bottom) / 2;
  return y >= view.top && y <= view.bottom && box.right <= view.right + 1;
}

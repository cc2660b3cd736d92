// Choosing an image: a test image, a file, or one drawn by hand.

import { get, runPath, send } from "./api.js";
import { complain, filePicker, fill, h, say, sentence } from "./dom.js";
import { imageCanvas } from "./drawing.js";
import { spoken, t } from "./words.js";

const SIDE = 196, STROKE = 16;

/** A picker; `chosen(source, what)` gets `{number}` or `{upload}`. */
export function picker(runName, chosen) {
  let first = 0;
  const samples = h("div.samples", { role: "group", ariaLabel: t("testImages") });
  const file = h("input", { type: "file", accept: "image/png,image/jpeg,image/webp,image/bmp,image/gif,image/tiff", ariaLabel: t("imageFile"),
    onchange: () => file.files[0] && bring(file.files[0]) });
  const drop = h("div.drop", {}, h("p", {}, t("dropHere")), filePicker(t("chooseFile"), file));
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files[0]) bring(event.dataTransfer.files[0]);
  });

  async function bring(content, name) {
    try {
      const told = await send("images", content, name);
      say([told.name, `${told.size[1]}×${told.size[0]}`, ...told.notes.map(spoken)].join(" · "));
      chosen({ upload: told.upload }, told.name);
    } catch (error) {
      complain(error);
    }
  }

  async function more(step = 0) {
    const name = runName();
    if (!name) return;
    try {
      const told = await get(runPath(name, `/samples?first=${(first += step)}`));
      fill(samples, told.images.map((one) => h("button", { title: `${one.number}: ${one.label}`, ariaLabel: t("testImage", one.number, one.label),
        onclick: () => chosen({ number: one.number }, one.label) }, imageCanvas(one.image))),
      h("button.quiet", { onclick: () => more(12) }, t("more")));
    } catch (error) {
      fill(samples, h("p.soft", {}, sentence(error)));
    }
  }

  const pad = drawingPad((content) => bring(content, t("drawn")));
  const root = h("div", {}, samples, h("div.bringing", {}, drop, pad));
  return { root, more };
}

/** The address of the step view at a channel of a layer, for an image. */
export const stepLink = (run, layer = "", channel = 0, { upload, number } = {}) =>
  `#step/${[run, layer, channel, upload ? `u${upload}` : `n${number ?? 0}`].map(encodeURIComponent).join("/")}`;

/** The image that such an address names. */
export const imageIn = (word = "") => (word.startsWith("u") ? { upload: word.slice(1) } : { number: Number(word.slice(1)) || 0 });

/** A sheet to draw a digit on; the drawing is sent after each stroke. */
function drawingPad(drawn) {
  const canvas = h("canvas.pad", { width: SIDE, height: SIDE, ariaLabel: t("drawDigit"), role: "img" });
  const pen = canvas.getContext("2d");
  let down = false;
  const clear = () => {
    pen.fillStyle = "#ffffff";
    pen.fillRect(0, 0, SIDE, SIDE);
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * SIDE) / box.width, ((event.clientY - box.top) * SIDE) / box.height];
  };
  canvas.addEventListener("pointerdown", (event) => {
    down = true;
    canvas.setPointerCapture(event.pointerId);
    pen.strokeStyle = "#10151a";
    pen.lineWidth = STROKE;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(...place(event));
    pen.lineTo(...place(event));
    pen.stroke();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!down) return;
    pen.lineTo(...place(event));
    pen.stroke();
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => {
    if (!down) return;
    down = false;
    canvas.toBlob((content) => drawn(content), "image/png");
  });
  clear();
  return h("div", {}, h("p.soft", {}, t("drawDigit")), canvas, h("button.quiet", { onclick: clear }, t("wipe")));
}

/** The likeliest classes as bars. */
export function topBars(top, label) {
  return h("ol.top", {}, top.slice(0, 5).map(([name, share]) => {
    const bar = h("i");
    bar.style.width = `${100 * share}%`;
    return h(label === undefined || label === null ? "li.open" : name === label ? "li.right" : "li.wrong", {}, bar,
      h("span", {}, name), h("span", {}, `${(100 * share).toFixed(1)} %`));
  }));
}

// Asking a network about an image: what it says, and what in the image it says it for.

import { get, listen, post, runPath } from "./api.js";
import { card, fill, h, number, say, select, t } from "./dom.js";
import { imageCanvas, mapsCanvas } from "./drawing.js";
import { picker, topBars } from "./pick.js";

export function explainView() {
  let runs = [], name = null, image = {}, what = "", told = null;
  const choice = h("div.row.end"), answer = h("div"), evidence = h("div");
  const choose = picker(() => name, (source, words) => {
    image = source;
    what = words;
    ask();
  });

  async function ask() {
    if (!name) return;
    try {
      told = await post("scenes", { run: name, image });
      draw();
    } catch (error) {
      say([error.message, error.error?.received].filter(Boolean).join(": "), true);
    }
  }

  function draw() {
    const label = told.label === null ? null : told.classes[told.label];
    fill(answer, h("div.row", {}, imageCanvas(told.image, 5, t("asSeen")), h("div", {}, h("p.soft", {}, what), topBars(told.top || [], image.upload ? null : label))),
      told.notes.length ? h("p.soft", {}, told.notes.join("; ")) : null);
    const classes = select(told.classes.map((one, k) => [String(k), one]), String(told.label ?? 0), async (value) => {
      told = await post("scenes", { run: name, image, label: Number(value) });
      draw();
    });
    classes.setAttribute("aria-label", t("class"));
    fill(evidence, h("div.row.end", {}, h("label", {}, t("class"), " ", classes)));
    showGradient(told);
  }

  async function showGradient(scene) {
    const maps = await get(`scenes/${scene.scene}/volume?layer=input&side=backward`);
    const canvas = h("canvas.mapview", { role: "img", ariaLabel: t("imageGradient") });
    mapsCanvas(canvas, maps, { signed: true, zoom: Math.max(1, Math.floor(160 / maps.shape[1])), width: 600 });
    evidence.append(h("h3", {}, t("imageGradient")), canvas,
      h("p.soft", {}, t("gradientEvidence", scene.classes[scene.label] ?? "", number(scene.loss, 4))),
      h("p", {}, h("a.button", { href: `#step/${encodeURIComponent(name)}/` }, t("stepThrough"))));
  }

  function drawChoice() {
    const ready = runs.filter((run) => !["preparing", "failed"].includes(run.status));
    if (!ready.some((run) => run.name === name)) name = ready.at(-1)?.name ?? null;
    if (!ready.length) {
      fill(choice, h("p.soft", {}, t("noNetwork")), h("a.button", { href: "#train" }, t("train")));
      return;
    }
    const which = select(ready.map((run) => [run.name, run.name]), name, (value) => {
      name = value;
      choose.more();
      ask();
    });
    which.setAttribute("aria-label", t("network"));
    fill(choice, h("label", {}, t("network"), " ", which));
    choose.more();
  }

  let names = null;
  listen((news) => {
    runs = news.runs;
    const now = runs.map((run) => run.name + ["preparing", "failed"].includes(run.status)).join();
    if (now !== names) drawChoice();
    names = now;
  });

  return {
    root: h("div.view", {}, h("header", {}, h("h1", {}, t("explainTitle")), h("p", {}, t("explainWords"))),
      h("div.cards", {}, sized("half", card(t("ownImage"), choice, choose.root)), sized("half", card(t("answer"), answer, evidence)))),
    enter: () => runs.length && name && !told && (image = { number: 0 }, ask()),
    recolour: () => told && draw(),
  };
}

function sized(size, made) {
  made.classList.add(size);
  return made;
}

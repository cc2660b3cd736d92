// Asking a network about an image: what it says, what in the image it says it for, and what speaks for that.

import { get, listenReady, post, runPath } from "./api.js";
import { card, complain, field, fill, h, number, say, select, sized } from "./dom.js";
import { imageCanvas } from "./drawing.js";
import { picker, stepLink, topBars } from "./pick.js";
import { language, spoken, t } from "./words.js";

const MOST_ANSWERS = 12;

export function explainView() {
  let runs = [], methods = [], asked = 0, name = null, image = { number: 0 }, what = "", told = null, target = "", layer = "", method = "grad-cam";
  const choice = h("div.row.end"), answer = h("div"), how = h("div.row.end"), says = h("p.soft");
  const answers = h("div.whys", { id: "whys", ariaLive: "polite" });
  const withEvidence = h("input", { type: "checkbox", checked: true, id: "evidence" });
  const go = h("button.main", { id: "why", onclick: why }, t("askWhy"));
  const stride = h("input.number", { type: "number", min: 1, placeholder: t("own"), id: "slide-stride" });
  const slide = h("button", { id: "slide", onclick: slideOver }, t("slideOver"));
  const sliding = h("div.row.end", {}, field(t("stride"), stride), slide, h("span.soft", {}, t("slideWords")));
  const choose = picker(() => name, (source, words) => {
    image = source;
    what = words;
    ask();
  });

  async function ask() {
    if (!name) return;
    const mine = ++asked;
    try {
      const found = await post(runPath(name, "/answer"), { image });
      if (mine !== asked) return;
      told = found;
      draw();
    } catch (error) {
      if (mine === asked) complain(error);
    }
  }

  function draw() {
    const label = told.label === null ? null : told.classes[told.label];
    fill(answer, h("div.row", {}, imageCanvas(told.image, Math.max(1, Math.floor(140 / told.image.shape[0])), t("asSeen")),
      h("div", {}, h("p.soft", {}, what), topBars(told.top, image.upload ? null : label))),
    told.notes.length ? h("p.soft", {}, told.notes.map(spoken).join(" · ")) : null,
    h("p", {}, h("a.button", { href: stepLink(name, "", 0, image) }, t("stepThrough"))));
    drawHow();
  }

  function drawHow() {
    const layers = told.layers.filter((one) => one.output.length > 1 && one.output.slice(0, -1).some((n) => n > 1) && one.name !== "input");
    const methodField = h("select", { onchange: () => {
      method = methodField.value;
      drawSays();
    } });
    for (const [words, isMap] of [[t("mapsOf"), true], [t("viewsOf"), false]]) {
      methodField.append(h("optgroup", { label: words }, methods.filter((one) => one.map === isMap).map((one) => h("option", { value: one.name, selected: one.name === method }, one.name))));
    }
    methodField.id = "method";
    fill(how, field(t("method"), methodField),
      field(t("layer"), select([["", t("itsOwn")], ...layers.map((one) => [one.name, `${one.name} · ${one.token}`])], layer, (value) => { layer = value; })),
      field(t("class"), select([["", t("likeliest")], ...told.classes.map((one, k) => [String(k), one])], target, (value) => { target = value; })),
      h("label", {}, withEvidence, ` ${t("evidence")}`), go);
    drawSays();
  }

  function drawSays() {
    const one = methods.find((found) => found.name === method);
    says.textContent = one ? `${one.says[language]} (${one.source})` : "";
  }

  /** Ask what takes a while; `figureOf(found)` is what is shown of the answer, the newest first. */
  async function inquire(button, path, body, figureOf) {
    button.disabled = true;
    const waiting = h("p.soft", {}, t("working"));
    answers.prepend(waiting);
    try {
      answers.prepend(figureOf(await post(runPath(name, path), { ...body, target: target === "" ? null : Number(target) })));
    } catch (error) {
      complain(error);
    }
    waiting.remove();
    while (answers.children.length > MOST_ANSWERS) answers.lastChild.remove();
    button.disabled = name === null;
  }

  function why() {
    inquire(go, "/why", { method, image, layer: layer || null, evidence: withEvidence.checked, language }, (found) => {
      const evidence = found.document.explanations.map((one) => one.evidence && evidenceOf(one));
      return figure(found.picture, [found.title, ...found.lines].join(". "), h("strong", {}, found.title), evidence);
    });
  }

  function slideOver() {
    if (!image.upload) {
      say(t("bringFirst"), true);
      return;
    }
    inquire(slide, "/dense", { upload: image.upload, stride: stride.value ? Number(stride.value) : null }, (found) => {
      const words = t("denseLine", found.cells.join("×"), found.stride[0], number(found.crops), number(found.ratio, 3));
      return figure(found.picture, words, h("strong", {}, words));
    });
  }

  /** Ask another network, about the image that was brought or its first test image. */
  function turnTo(other) {
    name = other;
    told = null;
    layer = target = "";
    if (!image.upload) [image, what] = [{ number: 0 }, ""];
    choose.more();
    ask();
  }

  function drawChoice() {
    const some = runs.length > 0;
    go.disabled = slide.disabled = !some;
    choose.root.hidden = sliding.hidden = !some;
    if (!some) {
      name = told = null;
      fill(choice, h("p.soft", {}, t("noNetwork")), h("a.button.main", { href: "#train/new" }, t("trainOne")));
      for (const place of [answer, how]) fill(place, h("p.soft", {}, t("afterNetwork")));
      says.textContent = "";
      return;
    }
    if (!runs.some((run) => run.name === name)) turnTo(runs.at(-1).name);
    fill(choice, field(t("network"), select(runs.map((run) => [run.name, run.name]), name, turnTo)));
  }

  const root = h("div.view", {}, h("header", {}, h("h1", {}, t("explainTitle")), h("p", {}, t("explainWords"))),
    h("div.cards", {}, sized("half", card(t("ownImage"), choice, choose.root)), sized("half", card(t("answer"), answer)),
      card(t("why"), how, says, sliding, answers)));
  listenReady((ready) => {
    runs = ready;
    drawChoice();
  });
  get("methods").then((found) => {
    methods = found;
    if (told) drawHow();
  }, complain);
  return { root, enter: ask };  // a network that learns answers differently by now
}

/** A picture that the server drew, with what is said of it. */
function figure(picture, alt, ...caption) {
  return h("figure.why", {}, h("img", { src: `data:image/png;base64,${picture}`, alt }), h("figcaption", {}, ...caption));
}

/** What speaks for a map, as a table of numbers. */
function evidenceOf(one) {
  const { completeness_gap: gap, randomised_similarity: alike, deletion, insertion, random_deletion, random_insertion } = one.evidence;
  const rows = [gap !== null && [t("completeness"), number(gap, 2), ""], [t("sanity"), number(alike, 2), ""],
    [t("deletion"), number(deletion, 2), number(random_deletion, 2)], [t("insertion"), number(insertion, 2), number(random_insertion, 2)]].filter(Boolean);
  return h("div.wide", { tabIndex: 0, role: "region", ariaLabel: t("evidence") }, h("table", {}, h("thead", {}, h("tr", {}, [`${spoken(one.target)}${one.layer ? ` · ${one.layer}` : ""}`, t("thisMap"), t("randomMaps")].map((word, k) => h(k ? "th.n" : "th", { scope: "col" }, word)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, k) => h(k ? "td.n" : "td", {}, cell)))))));
}

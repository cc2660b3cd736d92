// Beginning a run: a demo to start from, a text, data and settings; or a file to go on from.

import { post, send } from "./api.js";
import { card, complain, field, filePicker, h, number, select } from "./dom.js";
import { editor } from "./editor.js";
import { t } from "./words.js";

const LENET = "INPUT[28x28x1] -> CONV5-6 -> RELU -> POOL2 -> CONV5-16(P=0) -> RELU -> POOL2 -> FC120 -> RELU -> FC84 -> RELU -> FC10";
const VGG = "INPUT[32x32x3] -> [CONV3-32 -> BN -> RELU -> CONV3-32 -> BN -> RELU -> POOL2]*2 -> FC10";
/** Demos: ConvNetJS's of images, and what one would train today. `zoo` is a network by name. */
const DEMOS = [
  { key: "demoDigits", text: LENET, data: "mnist" },
  { key: "demoFashion", text: LENET, data: "fashion-mnist" },
  { key: "demoObjects", text: VGG, data: "cifar10" },
  { key: "demoConvnetMnist", zoo: "convnetjs-mnist", data: "mnist", batch_size: 20, weight_decay: 0.001 },
  { key: "demoConvnetCifar", zoo: "convnetjs-cifar10", data: "cifar10", batch_size: 4, lr: 0.002, weight_decay: 0.0001, augment: "shift=2, flip" },
];
const USUAL = { optimizer: "nesterov", momentum: 0.9, batch_size: 64, weight_decay: 0.0005, augment: "none", seed: 0 };
const AUGMENTS = ["none", "shift=2", "flip", "shift=2, flip", "shift=4, flip, erase=8", "flip, vary=2", "rotate=10, scale=0.1"];
const COMPARED_STEPS = 300;

/** The card of a new run; `begun(run, others)` gets what was begun. */
export function beginCard(about, begun) {
  let ok = false;
  const memory = h("p.soft");
  const write = editor(LENET, { changed: (told) => {
    ok = told.ok;
    memory.textContent = ok ? t("planLine", number(told.totals.parameters), number(told.totals.macs), told.memory.said) : "";
    go.disabled = compare.disabled = !ok;
  } });
  const textOf = (demo) => demo.text ?? about.zoo.find((one) => one.name === demo.zoo).text;
  const data = select(about.data.map((name) => [name, name]), about.data[0], (name) => {
    const suited = DEMOS.find((demo) => demo.data === name);
    if (suited && DEMOS.some((demo) => textOf(demo) === write.text)) write.set(textOf(suited));  // nothing of the user's own is lost
  });
  const numeric = (value, more = {}) => h("input.number", { type: "number", step: "any", min: 0, value, ...more });
  const inputs = {
    optimizer: select(about.optimizers.map((name) => [name, name]), USUAL.optimizer, (name) => { inputs.lr.value = about.rates[name]; }),
    lr: numeric(about.rates[USUAL.optimizer]), momentum: numeric(USUAL.momentum), batch_size: numeric(USUAL.batch_size, { min: 1, step: 1 }),
    weight_decay: numeric(USUAL.weight_decay), augment: h("input", { value: USUAL.augment, size: 16 }), seed: numeric(USUAL.seed, { step: 1 }),
  };
  inputs.augment.setAttribute("list", "augments");

  const body = () => ({ text: write.text, data: data.value, settings: Object.fromEntries(Object.entries(inputs).map(([key, input]) =>
    [key, input.type === "number" ? Number(input.value) : input.value])) });

  /** Ask for something to begin; nothing else can be asked for meanwhile. */
  async function ask(path, more = {}) {
    go.disabled = compare.disabled = true;
    try {
      const made = [await post(path, { ...body(), ...more })].flat();
      begun(made[0], made.slice(1));
    } catch (error) {
      complain(error);
    }
    go.disabled = compare.disabled = !ok;
  }
  const go = h("button.main", { id: "start", onclick: () => ask("runs") }, t("start"));
  const compare = h("button", { id: "compare", title: t("compareHint", COMPARED_STEPS), onclick: () => ask("comparisons", { steps: COMPARED_STEPS }) }, t("compareOptimizers"));

  function use(demo) {
    const settings = { ...USUAL, lr: about.rates[USUAL.optimizer], ...demo };
    for (const [key, input] of Object.entries(inputs)) input.value = settings[key];
    data.value = demo.data;
    write.set(textOf(demo));
  }
  const demos = h("div.row", { role: "group", ariaLabel: t("demos") }, h("span.soft", {}, t("demos")), DEMOS.map((demo) => {
    const isThere = about.data.includes(demo.data);
    return h("button", { id: demo.key, disabled: !isThere, title: isThere ? "" : t("getData", demo.data), onclick: () => use(demo) }, t(demo.key));
  }));

  const root = h("div.cards", {},
    card(t("newRun"), demos, write.root, memory,
      h("div.row.end", {}, field(t("data"), data), Object.entries(inputs).map(([key, input]) => field(t(key), input)),
        h("datalist", { id: "augments" }, AUGMENTS.map((value) => h("option", { value })))),
      h("div.row", {}, go, compare)),
    card(t("goOn"), h("p.soft", {}, t("loadWords")), loadField(begun)));
  return { root, useText: (text) => text && write.set(text) };
}

function loadField(begun) {
  const file = h("input", { type: "file", accept: ".safetensors", ariaLabel: t("snapshotFile"), id: "load-snapshot", onchange: async () => {
    if (!file.files[0]) return;
    try {
      begun(await send("snapshots", file.files[0]), []);
    } catch (error) {
      complain(error);
    }
    file.value = "";
  } });
  return filePicker(t("chooseFile"), file);
}

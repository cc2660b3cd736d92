// Networks that learn while one watches: which run is shown, and when it is looked into.

import { isReady, listen, remove, runPath } from "./api.js";
import { fill, h } from "./dom.js";
import { beginCard } from "./begin.js";
import { runPanel } from "./run.js";
import { t } from "./words.js";

const LOOK_MS = 1000;

export function trainView(about) {
  let runs = [], chosen = null, wantsNew = false, looked = -1, timer = null, image = {}, busy = null, leaving = null, shown = null, drawn = null;
  const chips = h("div.chips", { role: "group", ariaLabel: t("runs") }), body = h("div");
  const root = h("div.view", {}, h("header", {}, h("h1", {}, t("trainTitle")), h("p", {}, t("trainWords"))), chips, body);
  const start = beginCard(about, (run, others) => {
    runs = [...runs.filter((one) => one.name !== run.name), run];  // before the news tell of it
    choose(run.name, others.map((one) => one.name));
  });

  function choose(name, beside = []) {
    chosen = name;
    wantsNew = name === null;
    looked = -1;
    image = {};
    shown = null;
    draw(beside);
  }

  function draw(beside = []) {
    drawChips();
    const run = runs.find((one) => one.name === chosen);
    if (!run) {
      if (shown !== start) fill(body, start.root);
      shown = start;
      return;
    }
    if (shown?.name !== run.name) {
      shown = runPanel(run, { choose, forget, beside, setImage: (source) => { image = source; looked = -1; look(); } });
      fill(body, shown.root);
    }
    shown.draw(run, runs);
  }

  function drawChips() {
    const now = [...runs.map((run) => run.name + run.status), chosen].join();
    if (now === drawn) return;
    drawn = now;
    const at = [...chips.children].indexOf(document.activeElement);
    fill(chips, h("button.chip", { ariaPressed: String(chosen === null), onclick: () => choose(null) }, `+ ${t("newRun")}`),
      runs.map((run) => h("button.chip", { ariaPressed: String(run.name === chosen), onclick: () => choose(run.name) },
        h(`span.dot.${run.status}`), run.name, h("small", {}, t(`is-${run.status}`)))));
    if (at >= 0) chips.children[Math.min(at, chips.children.length - 1)].focus();
  }

  async function look() {
    const run = runs.find((one) => one.name === chosen);
    if (document.hidden || !run || run.name === leaving || !shown?.look || run.looks === looked || !isReady(run)) return;
    looked = run.looks;
    busy = shown.look(run, image);
    await busy;
  }

  /** End a run, once what is being asked of it has been answered. */
  async function forget(name) {
    leaving = name;  // until the news no longer tell of it
    await busy;
    try {
      await remove(runPath(name));
    } catch (error) {
      leaving = null;
      throw error;
    }
  }

  listen((news) => {
    runs = news.runs;
    if (!runs.some((run) => run.name === leaving)) leaving = null;
    const gone = chosen !== null && !runs.some((run) => run.name === chosen);
    if (gone || (chosen === null && !wantsNew)) chosen = runs.at(-1)?.name ?? null;
    if (root.isConnected) draw();
  });

  return {
    root,
    enter([what]) {
      if (what === "new") {
        start.useText(sessionStorage.getItem("text"));
        choose(null);
        history.replaceState(null, "", "#train");
      } else draw();
      clearInterval(timer);
      timer = setInterval(look, LOOK_MS);
    },
    leave() { clearInterval(timer); },
    recolour: () => shown?.recolour?.(),
  };
}

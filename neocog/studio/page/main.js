// The page's frame: which view is shown, language, light or dark, and whether the server is there.

import { connect, get, listen } from "./api.js";
import { dark, fill, h, say, sentence } from "./dom.js";
import { explainView } from "./explain.js";
import { planView } from "./plan.js";
import { stepView } from "./step.js";
import { trainView } from "./train.js";
import { language, t } from "./words.js";

const VIEWS = { plan: planView, train: trainView, step: stepView, explain: explainView };
const shown = {};
let about;

/** The view that the address names, and what it says of it. */
function route() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  try {
    return [name in VIEWS ? name : "plan", rest.map(decodeURIComponent)];
  } catch {  // an address with percent signs that mean nothing
    return ["plan", []];
  }
}

function show() {
  const [name, rest] = route();
  for (const other of Object.values(shown)) {
    if (other.root.isConnected && other !== shown[name]) other.leave?.();
  }
  shown[name] ||= VIEWS[name](about);
  fill(document.getElementById("main"), shown[name].root);
  shown[name].enter?.(rest);
  for (const link of document.querySelectorAll("#bar nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${t(name)} · neocog studio`;
}

function theme() {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
}

function recolour() {
  for (const view of Object.values(shown)) view.recolour?.();
}

function turnTheme() {
  localStorage.setItem("theme", dark() ? "light" : "dark");
  theme();
  recolour();
}

function turnLanguage() {
  localStorage.setItem("language", language === "zh" ? "en" : "zh");
  location.reload();
}

function bar() {
  const link = h("p.link", { id: "link", role: "status" });
  listen((news) => {
    const words = news.there ? "" : t(news.closed ? "closed" : "away");
    link.className = news.there ? "link" : "link away";
    if (link.textContent !== words) link.textContent = words;
  });
  fill(document.getElementById("bar"),
    h("a.mark", { href: "#plan" }, h("img", { src: "/page/mark.svg", alt: "" }), h("span", {}, "neocog ", h("span", {}, t("studio")))),
    h("nav", { ariaLabel: t("views") }, Object.keys(VIEWS).map((name) => h("a", { href: `#${name}` }, t(name)))),
    h("div.side", {},
      h("button.quiet", { id: "language", lang: language === "zh" ? "en" : "zh-Hans", onclick: turnLanguage }, language === "zh" ? "English" : "中文"),
      h("button.quiet", { id: "theme", onclick: turnTheme }, t("theme"))),
    link);
}

async function start() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  document.getElementById("skip").textContent = t("skip");
  theme();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  bar();
  document.getElementById("said").addEventListener("click", () => say(""));
  addEventListener("keydown", (event) => { if (event.key === "Escape") say(""); });
  try {
    about = await get("about");
  } catch (error) {
    fill(document.getElementById("main"), h("div.mistake", { role: "alert" }, error.status === 401 ? t("closed") : sentence(error)));
    return;
  }
  connect();
  addEventListener("hashchange", show);
  show();
}

start();

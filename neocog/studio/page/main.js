// The page's frame: which view is shown, language, light or dark, and whether the server is there.

import { connect, get, listen } from "./api.js";
import { fill, h, language, say, t } from "./dom.js";
import { explainView } from "./explain.js";
import { planView } from "./plan.js";
import { stepView } from "./step.js";
import { trainView } from "./train.js";

const VIEWS = { plan: planView, train: trainView, step: stepView, explain: explainView };
const shown = {};
let about;

function current() {
  const name = location.hash.slice(1).split("/")[0];
  return name in VIEWS ? name : "plan";
}

function show() {
  const name = current();
  for (const other of Object.values(shown)) {
    if (other.root.isConnected && other !== shown[name]) other.leave?.();
  }
  shown[name] ||= VIEWS[name](about);
  fill(document.getElementById("main"), shown[name].root);
  shown[name].enter?.(location.hash.slice(1).split("/").slice(1).map(decodeURIComponent));
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

function turnTheme() {
  const isDark = getComputedStyle(document.documentElement).getPropertyValue("--is-dark").trim() === "1";
  localStorage.setItem("theme", isDark ? "light" : "dark");
  theme();
  for (const view of Object.values(shown)) view.recolour?.();
}

function bar() {
  const link = h("span.link", { id: "link" });
  listen((news) => {
    link.className = news.there ? "link" : "link away";
    fill(link, h("span", {}, news.there ? "" : t("away")));
  });
  fill(document.getElementById("bar"),
    h("a.mark", { href: "#plan" }, h("img", { src: "/page/mark.svg", alt: "" }), h("span", {}, "neocog ", h("span", {}, t("studio")))),
    h("nav", { ariaLabel: t("views") }, Object.keys(VIEWS).map((name) => h("a", { href: `#${name}` }, t(name)))),
    h("div.side", {}, link,
      h("button.quiet", { id: "language", lang: language === "zh" ? "en" : "zh", onclick: () => {
        localStorage.setItem("language", language === "zh" ? "en" : "zh");
        location.reload();
      } }, language === "zh" ? "English" : "中文"),
      h("button.quiet", { id: "theme", onclick: turnTheme }, t("theme"))));
}

async function start() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  document.getElementById("skip").textContent = t("skip");
  theme();
  bar();
  try {
    about = await get("about");
  } catch (error) {
    fill(document.getElementById("main"), h("p", {}, error.status === 401 ? t("closed") : error.message));
    say(error.message, true);
    return;
  }
  connect();
  addEventListener("hashchange", show);
  show();
}

start();

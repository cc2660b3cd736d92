// A network's text as it is typed: planned while one types, mistakes underlined, repairs one click away.

import { post } from "./api.js";
import { fill, h, mistake, settled } from "./dom.js";
import { t } from "./words.js";

const WAIT = 60, ROWS = 5, MOST_ROWS = 14;

let numbered = 0;

/** An editor; `changed(told, text)` gets each plan or mistake, `batch()` is the mini-batch that memory is planned for. */
export function editor(text, { changed, batch = () => 1 }) {
  const under = h("pre.under", { ariaHidden: "true" });
  const below = h("div", { ariaLive: "polite", id: `text-says-${++numbered}` });
  const area = h("textarea", { spellcheck: false, value: text, ariaLabel: t("text"), ariaDescribedby: below.id, rows: ROWS, autocomplete: "off", autocapitalize: "off" });
  const root = h("div", {}, h("div.editor", {}, under, area), below);
  let stale = false, planning = null;

  /** Have the text planned as it is now; one plan at a time, so that a large network's do not pile up. */
  function plan() {
    stale = true;
    planning ??= planned().finally(() => { planning = null; });
    return planning;
  }

  async function planned() {
    while (stale) {
      stale = false;
      const written = area.value;
      let told;
      try {
        told = await post("plan", { text: written, batch: batch() });
      } catch (error) {
        told = { ok: false, error: error.error || { rule: error.message }, layers: [] };
      }
      if (stale) continue;
      mark(written, told.ok ? null : told.error);
      changed(told, written);
    }
  }

  function mark(written, error) {
    area.setAttribute("aria-invalid", String(error !== null));
    if (!error) {
      fill(under, written);
      fill(below, h("p.good", {}, t("planned")));
      return;
    }
    const { begin = 0, end = 0 } = error;
    fill(under, written.slice(0, begin), h("mark", {}, written.slice(begin, end)), written.slice(end));
    const shown = error.excerpt ? error : { ...error, excerpt: excerpt(written, begin, end) };
    fill(below, mistake(shown),
      error.repairs?.length ? h("div.row", { role: "group", ariaLabel: t("repairs") }, h("span.soft", {}, t("repairs")),
        error.repairs.map((one) => h("button", { onclick: () => { set(one.text); area.focus(); } }, one.label === "-" ? t("without") : one.label))) : null);
  }

  const soon = settled(plan, WAIT);
  area.addEventListener("input", () => {
    fill(under, area.value);
    soon();
  });
  area.addEventListener("scroll", () => { under.scrollTop = area.scrollTop; });

  function set(value) {
    area.value = value;
    area.rows = Math.max(ROWS, Math.min(MOST_ROWS, value.split("\n").length));
    fill(under, value);
    return plan();
  }
  plan();
  return { root, set, plan, get text() { return area.value; } };
}

/** The line with carets under what is wrong. */
function excerpt(text, begin, end) {
  if (end <= begin) return "";
  const from = text.lastIndexOf("\n", begin - 1) + 1;
  const to = text.indexOf("\n", begin) < 0 ? text.length : text.indexOf("\n", begin);
  const start = Math.max(from, begin - 40), stop = Math.min(to, end + 30);
  const line = `${start > from ? "… " : ""}${text.slice(start, stop)}${stop < to ? " …" : ""}`;
  return `${line}\n${" ".repeat(begin - start + (start > from ? 2 : 0))}${"^".repeat(Math.min(end, to) - begin || 1)}`;
}

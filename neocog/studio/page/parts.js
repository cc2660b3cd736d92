// A value taken apart: its products and sums, or where its gradient goes.

import { h, number, terms } from "./dom.js";
import { spoken, t } from "./words.js";

const PART_PAGE = 8;
const MOST_LOGITS = 24, MOST_TERMS = 6;

/** The parts of a value, a page of input channels at a time; `turn(first)` asks for another page. */
export function partsOf(told, backward, turn) {
  if (told.kind === "softmax") return softmaxTable(told, backward);
  if (!told.parts) return null;
  const list = told.parts.map((part) => h("div.part", { id: `part-${part.channel}` }, h("span", {}, h("code", {}, `x[:,:,${part.channel}]`)),
    backward ? backwardPart(part) : forwardPart(told, part)));
  return [pagesOf(told, turn), h("div.parts.tall", { tabIndex: 0, role: "region", ariaLabel: t("channels") }, list)];
}

function pagesOf(told, turn) {
  if (told.channels === undefined || told.channels <= told.parts.length) return null;
  return h("div.row", {}, h("button", { disabled: told.first === 0, onclick: () => turn(Math.max(0, told.first - PART_PAGE)) }, t("earlier")),
    h("span.soft", {}, t("channelsOf", told.first + 1, told.first + told.parts.length, told.channels)),
    h("button", { disabled: told.first + PART_PAGE >= told.channels, onclick: () => turn(told.first + PART_PAGE) }, t("later")));
}

const WIDE = 3;

/** Numbers as a table, with fewer digits in a wide one; the whole number stands in the cell's title. */
function grid(kind, values, inside, words) {
  const digits = values[0].length > WIDE ? 2 : 3;
  const cellText = (value) => (value === null ? "" : number(value, digits));
  return h(`table.grid.${kind}`, { ariaLabel: words }, h("tbody", {}, values.map((row, u) => h("tr", {}, row.map((value, v) =>
    h(inside && !inside[u][v] ? "td.pad" : "td", { title: value === null ? "" : String(value) }, cellText(value)))))));
}

function forwardPart(told, part) {
  const window = grid("x", part.values, part.inside, t("values"));
  if (told.kind === "pool") return [window, h("span.total", {}, `${spoken(told.pool)} = `, h("strong", {}, number(told.output)))];
  return [window, h("div.factor", {}, h("span", {}, "×"), grid("w", part.weights, null, t("weights"))),
    h("div.factor", {}, h("span", {}, "="), grid("p", part.products, null, t("products")), h("span.total", {}, "Σ ", h("strong", {}, number(part.sum))))];
}

function backwardPart(part) {
  const headed = (kind, values, inside, words) => h("div", {}, h("h3", {}, words), grid(kind, values, inside, words));
  return [part.dw && [headed("w", part.dw, null, t("dwHere")), headed("w", part.dw_total, null, t("dwTotal"))],
    headed("x", part.dx, part.inside, t("dxHere")), headed("x", part.dx_total, part.inside, t("dxTotal"))];
}

/** The value, or its gradient, as a line of arithmetic. */
export function sumOf(told, backward, scene) {
  return backward ? gradientLines(told, scene) : h("p.sum", {}, formulaOf(told), h("b", {}, number(told.output, 6)));
}

function gradientLines(told, { loss, classes, label }) {
  const of = classes.length && label !== null ? t("forClass", classes[label]) : t("sumOfOutputs");
  const { bias, bias_total, inputs } = told.back ?? {};
  return [h("p.sum", {}, "dL/dy = ", h("b", {}, number(told.gradient, 6)), `   L = ${number(loss, 6)} (${of})`),
    told.kind === "sum" && h("p.soft", {}, t("flowHow")),
    bias !== undefined && h("p.sum", {}, t("biasFlow", number(bias, 5), number(bias_total, 5))),
    inputs && told.kind !== "softmax" && h("p.sum", {}, `dL/dx = ${inputs.map((v) => number(v, 5)).join(", ")}`)];
}

const FORMULAS = {
  sum(told) {
    const shown = told.parts.slice(0, MOST_TERMS).map((part) => part.sum), bias = `${told.bias < 0 ? "−" : "+"} ${number(Math.abs(told.bias), 4)}`;
    return `${terms(shown, 4)}${told.channels > shown.length ? ` + … (${told.channels})` : ""} ${bias} (${t("bias")}) = `;
  },
  each: (told) => `${told.formula},  x = ${number(told.inputs[0], 6)}  →  `,
  pool: (told) => `${spoken(told.pool)}( … ) = `,
  softmax: (told) => `exp(${number(told.logits[told.channel] - told.shift, 5)}) / ${number(told.sum, 5)} = `,
  flatten: (told) => `x[${[...told.source.slice(1), told.source[0]].join(", ")}] → y[${told.channel}] = `,
  join: (told) => `${told.names.map((name, k) => `${name}: ${number(told.inputs[k], 5)}`).join("   ")}   →   `,
  input: () => "x = ",
  other: (told) => `${told.inputs.length ? `x = ${number(told.inputs[0], 6)}  →  ` : ""}y = `,
};
const formulaOf = (told) => FORMULAS[told.kind](told);

function softmaxTable(told, backward) {
  const head = [t("class"), t("logit"), "exp(x − max)", backward ? "dL/dx" : t("share")];
  const last = (k) => (backward ? told.back.inputs[k] : told.powers[k] / told.sum);
  return h("div.wide", {}, h("table", {}, h("thead", {}, h("tr", {}, head.map((word, k) => h(k ? "th.n" : "th", { scope: "col" }, word)))),
    h("tbody", {}, told.logits.slice(0, MOST_LOGITS).map((logit, k) => h(k === told.channel ? "tr.chosen" : "tr", {}, h("td", {}, k), h("td.n", {}, number(logit, 5)),
      h("td.n", {}, number(told.powers[k], 5)), h("td.n", {}, number(last(k), 5)))))));
}

// Building the page: elements from plain values. Text is only ever set as text, so that no name can become markup.

import { spoken, t } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = new Set(["svg", "path", "line", "circle", "rect", "text", "g", "polyline", "title"]);

/** An element: `h("button.quiet", {onclick, ariaLabel}, "Pause")`. */
export function h(kind, properties = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const shape = SHAPES.has(tag) && tag !== "title";
  const made = shape || properties.svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  if (classes.length) made.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(properties)) {
    if (name === "svg" || value === undefined || value === null) continue;
    if (name === "role") made.setAttribute("role", value);
    else if (/^aria[A-Z]/.test(name)) made.setAttribute(`aria-${name.slice(4).toLowerCase()}`, value);
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (!shape && name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  add(made, children);
  return made;
}

function add(parent, children) {
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Replace what an element holds. What has the focus, and comes again under the same id, keeps it. */
export function fill(parent, ...children) {
  const held = parent.contains(document.activeElement) ? document.activeElement.id : "";
  parent.replaceChildren();
  add(parent, children);
  if (held) document.getElementById(held)?.focus({ preventScroll: true });
  return parent;
}

/** Keys that move a place, by how many rows and columns. */
export const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** A card with a heading. */
export function card(title, ...children) {
  return h("section.card", {}, h("h2", {}, title), ...children);
}

/** The same element, as wide as its class says: "half", "third", "two" thirds, "five" or "seven" of twelve parts. */
export function sized(size, made) {
  made.classList.add(size);
  return made;
}

/** A button that asks for a file: the browser's own speaks the browser's language, not the reader's. */
export function filePicker(words, input) {
  const name = h("span.soft");
  input.classList.add("hidden");
  input.setAttribute("aria-label", `${words}: ${input.getAttribute("aria-label")}`);
  input.addEventListener("change", () => { name.textContent = input.files[0]?.name ?? ""; });
  return h("div.row", {}, h("label.button.file", {}, input, words), name);
}

let numbered = 0;

/** A field with its label above it, what stands beside it, and a hint below. */
export function field(label, input, { beside, hint } = {}) {
  input.id = input.id || `field-${++numbered}`;
  return h("div.field", {}, h("label", { htmlFor: input.id }, label), beside ? h("div.row", {}, input, beside) : input, hint);
}

export function select(options, value, onchange) {
  const made = h("select", { onchange: () => onchange(made.value) });
  for (const [key, words] of options) made.append(h("option", { value: key, selected: key === value }, words));
  return made;
}

/** A number for people: few digits, thin where it is small. */
export function number(value, digits = 4) {
  if (typeof value !== "number" || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return minus(value.toLocaleString("en-US"));
  if (size >= 1e5 || size < 1e-4) return minus(value.toExponential(Math.max(0, digits - 2)));
  return minus(value.toPrecision(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, ""));
}

/** A number's sign as it is printed; an exponent's stays as programs read it. */
const minus = (text) => text.replace(/^-/, "−");

/** Numbers as terms of a sum: `2 − 3 + 1`. */
export function terms(values, digits) {
  return values.map((value, k) => (k === 0 ? number(value, digits) : `${value < 0 ? " − " : " + "}${number(Math.abs(value), digits)}`)).join("");
}

export function percent(value, digits = 1) {
  return value === null || value === undefined ? "–" : `${(100 * value).toFixed(digits)} %`;
}

/** Say something to everybody, screen readers included; mistakes stay until the next word. */
export function say(words, bad = false) {
  const place = document.getElementById("said");
  place.className = bad ? "bad" : "";
  place.textContent = words;
  clearTimeout(say.timer);
  if (!bad) say.timer = setTimeout(() => (place.textContent = ""), 4000);
}

/** Call the last of several calls, when none has come for a while. */
export function settled(action, milliseconds) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), milliseconds);
  };
}

/** What went wrong, in one line. */
export function sentence(error) {
  const { received, hint } = error.error ?? {};
  return [headline(error.error ?? { rule: error.message }), received && `${t("received")}: ${spoken(received)}`, hint && `${t("try")}: ${spoken(hint)}`]
    .filter(Boolean).join(" · ");
}

export const complain = (error) => say(sentence(error), true);

const headline = ({ where, rule }) => (where ? `${spoken(where)}: ${spoken(rule)}` : spoken(rule));

/** A mistake as the server explains it. */
export function mistake(error) {
  return h("div.mistake", {},
    h("strong", {}, headline(error)),
    error.excerpt && h("pre", {}, error.excerpt),
    error.received && h("p", {}, `${t("received")}: ${spoken(error.received)}`),
    error.hint && h("p", {}, `${t("try")}: ${spoken(error.hint)}`));
}

export const dark = () => getComputedStyle(document.documentElement).getPropertyValue("--is-dark").trim() === "1";

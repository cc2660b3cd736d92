// The reader's language: the page's own words by key, and what the server says by its English.

import { PHRASES } from "./phrases.js";
import { TEXTS } from "./texts.js";

export const language = localStorage.getItem("language") || (navigator.language.startsWith("zh") ? "zh" : "en");
const SETTINGS = new Set(["lr", "momentum", "batch_size", "weight_decay", "augment", "seed", "optimizer"]);

/** The words for a key in the reader's language; `{0}`, `{1}` are filled in. */
export function t(key, ...values) {
  return filled(TEXTS[key]?.[language === "zh" ? 1 : 0] ?? key, values);
}

const filled = (words, values) => words.replace(/\{(\d)\}/g, (_, k) => String(values[Number(k)]));

const plain = (text) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
/** Phrases with gaps, the one that says most first, so that it is not taken for a shorter one. */
const patterns = Object.entries(PHRASES).filter(([english]) => english.includes("{}"))
  .sort(([a], [b]) => b.length - a.length).map(([english, chinese]) => [new RegExp(`^${english.split("{}").map(plain).join("(.+?)")}$`, "s"), chinese]);

/**
 * What the server says, in the reader's language where the phrase is known; the engine's own words stay as they are.
 * What is known only in parts, such as several repairs, is said part by part.
 */
export function spoken(words) {
  if (language !== "zh" || !words) return words;
  if (Object.hasOwn(PHRASES, words)) return PHRASES[words];
  if (SETTINGS.has(words)) return t(words);
  for (const [pattern, chinese] of patterns) {
    const found = pattern.exec(words);
    if (found) return filled(chinese, found.slice(1).map(spoken));
  }
  const parts = words.split(", ");
  return parts.length > 1 ? parts.map(spoken).join(", ") : words;
}

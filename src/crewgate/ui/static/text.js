/** Texts for people: amounts, times, counts, and names whose hidden characters show. */

const MICRO = 1_000_000;
// As `crewgate.core.terminal_text`: what drives a display, or makes one name look like another.
const ACTIVE = /[\\\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
const HARMLESS = /^[ -[\]-~]*$/;
const SHORT_ESCAPES = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };
const CUT_CHARS = 120; // of a name in a list; the panel has all of it
/** @type {[number, string][]} */
const SPANS = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
];
const few = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 4 });
const exact = new Intl.NumberFormat("en-US", {
  minimumFractionDigits: 2,
  maximumFractionDigits: 6,
});
const two = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/**
 * Escapes characters that hide or reorder text, as the commands do.
 * @param {unknown} value
 */
export function printable(value) {
  const text = String(value ?? "");
  return HARMLESS.test(text) ? text : text.replace(ACTIVE, escaped);
}

/**
 * The same, cut for a list.
 * @param {unknown} value
 */
export function shortName(value) {
  const text = String(value ?? "");
  const shown = printable(text.slice(0, CUT_CHARS));
  return text.length > CUT_CHARS ? `${shown}…` : shown;
}

/**
 * An id in a list: its first eight characters.
 * @param {string} id
 */
export function shortId(id) {
  return printable(id.slice(0, 8));
}

/**
 * An amount of micro-credits, with as many decimals as a person can use.
 * @param {number} micro
 */
export function creditsText(micro) {
  const amount = micro / MICRO;
  const size = Math.abs(amount);
  if (size > 0 && size < 0.0001) return amount < 0 ? "> −0.0001" : "< 0.0001";
  const format = size < 0.1 ? few : size < 1_000_000 ? two : whole;
  return format.format(amount).replace("-", "−");
}

/**
 * The exact amount, as the commands write it.
 * @param {number} micro
 */
export function exactCredits(micro) {
  return exact.format(micro / MICRO).replace("-", "−");
}

/**
 * A share as a percentage; only what is whole is 100 %.
 * @param {number} share 1 is all of it
 */
export function percentText(share) {
  if (share > 0 && share < 0.01) return "< 1\u00a0%";
  return `${share < 1 ? Math.min(99, Math.round(share * 100)) : Math.round(share * 100)}\u00a0%`;
}

/**
 * A number and its noun.
 * @param {number} number
 * @param {string} one
 * @param {string} [more]
 */
export function plural(number, one, more) {
  const many = more ?? (/(?:ch|sh|s|x)$/.test(one) ? `${one}es` : `${one}s`);
  return `${whole.format(number)} ${number === 1 ? one : many}`;
}

/**
 * A length of time, as `crewgate status` writes it.
 * @param {number} seconds
 */
export function spanText(seconds) {
  for (const [size, unit] of SPANS) {
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)}\u00a0${unit}`;
  }
  return `${Math.max(0, Math.round(seconds))}\u00a0s`;
}

/**
 * The time of day in UTC, which logs and commands have too.
 * @param {number} ms since 1970
 */
export function clockText(ms) {
  return Number.isFinite(ms) ? `${new Date(ms).toISOString().slice(11, 19)}Z` : "";
}

/**
 * Day and time in UTC.
 * @param {number} ms since 1970
 */
export function momentText(ms) {
  if (!Number.isFinite(ms) || Math.abs(ms) > 8.64e15) return "";
  return `${new Date(ms).toISOString().slice(0, 19).replace("T", " ")}Z`;
}

/**
 * Names in a sentence: "a, b and c", and a count of those beyond `most`.
 * @param {string[]} names
 * @param {number} [most]
 */
export function listText(names, most = 8) {
  const shown = names.slice(0, most).map(shortName);
  if (names.length > most) shown.push(`${names.length - most} more`);
  if (shown.length < 2) return shown.join("");
  return `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}

/**
 * Returns the text for a word, or another one. The word may be a stranger's, and an object has
 * members of its own.
 * @template T
 * @param {Record<string, T>} texts
 * @param {string} word
 * @param {T} other
 * @returns {T}
 */
export function textFor(texts, word, other) {
  return Object.hasOwn(texts, word) ? texts[word] : other;
}

function escaped(character) {
  const short = textFor(SHORT_ESCAPES, character, "");
  if (short) return short;
  const code = character.codePointAt(0) ?? 0;
  const digits = code.toString(16);
  if (code < 0x100) return `\\x${digits.padStart(2, "0")}`;
  if (code < 0x10000) return `\\u${digits.padStart(4, "0")}`;
  return `\\U${digits.padStart(8, "0")}`;
}

/** Elements that several views have: buttons, lists of facts, and tables of a few rows. */

import { h } from "./dom.js";

/** @typedef {import("./dom.js").Children} Children */

/**
 * @param {string} text
 * @param {() => void} click
 * @param {string} [kind] a class: `main`, `danger` or `quiet`
 * @returns {HTMLButtonElement}
 */
export function button(text, click, kind = "") {
  return h("button", { type: "button", class: kind, on: { click } }, text);
}

/**
 * A text with the commands between backticks as code.
 * @param {string} text
 * @returns {Children}
 */
export function withCode(text) {
  return text.split("`").map((part, at) => (at % 2 ? h("code", null, part) : part));
}

/**
 * A list of names with their values; one without a value is left out.
 * @param {[string, Children][]} pairs
 */
export function factList(pairs) {
  const shown = pairs.filter(([, value]) => value);
  return h(
    "dl",
    { class: "facts" },
    shown.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))),
  );
}

/**
 * A table; the first cell of each row is its name.
 * @param {string[]} headings
 * @param {Children[][]} rows
 */
export function tableOf(headings, rows) {
  const heads = headings.map((each) => h("th", { scope: "col" }, each));
  const body = rows.map(([name, ...cells]) =>
    h(
      "tr",
      null,
      h("th", { scope: "row" }, name),
      cells.map((cell, at) => h("td", { "data-label": headings[at + 1] }, cell)),
    ),
  );
  return h(
    "div",
    { class: "list-frame" },
    h("table", { class: "list" }, h("thead", null, h("tr", null, heads)), h("tbody", null, body)),
  );
}

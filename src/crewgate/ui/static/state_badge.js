/** The state of a branch as a mark and a word: a colour alone says nothing to some people. */

import { stateText } from "./branch_facts.js";
import { h, setText } from "./dom.js";
import { textFor } from "./text.js";

const MARKS = {
  live: "●",
  exhausted: "◐",
  expired: "○",
  "token-revoked": "◌",
  revoked: "✕",
  closed: "■",
};

/** Makes an empty badge for `drawState`. */
export function newStateBadge() {
  return h("span", { class: "state" }, h("i", { "aria-hidden": "true" }), h("span", null));
}

/**
 * @param {HTMLElement} badge
 * @param {any} row
 */
export function drawState(badge, row) {
  const mark = textFor(MARKS, row.state, "");
  const state = mark ? row.state : "unknown";
  if (badge.dataset.state !== state) badge.dataset.state = state;
  setText(badge.children[0], mark || "?");
  setText(badge.children[1], stateText(row));
}

/**
 * @param {any} row
 */
export function stateBadge(row) {
  const badge = newStateBadge();
  drawState(badge, row);
  return badge;
}

/** The bar of a budget: spent, burned, reserved and overdrawn credits beside the quota. */

import { budgetOf, budgetText } from "./branch_facts.js";
import { h, setAttribute } from "./dom.js";

const KINDS = ["spent", "burned", "reserved", "overdrawn"];
const HIGH_SHARE = 0.9;

/** Makes an empty bar for `drawBar`. */
export function newBar() {
  const parts = KINDS.map((kind) => h("i", { class: `part ${kind}` }));
  return h("span", { class: "bar", role: "img" }, parts);
}

/**
 * Shows the budget of a row. If a branch has overdrawn, the bar is the whole use.
 * @param {HTMLElement} bar
 * @param {any} row
 */
export function drawBar(bar, row) {
  const budget = budgetOf(row);
  const excess = budget.total ? Math.max(0, budget.used - budget.total) : 0;
  const amounts = [budget.spent - excess, budget.burned, budget.reserved, budget.over];
  const sum = amounts.reduce((all, each) => all + Math.max(0, each), 0);
  const all = Math.max(budget.total, sum, 1);
  setAttribute(bar, "aria-label", budgetText(row));
  bar.hidden = !budget.total;
  bar.classList.toggle("is-over", budget.over > 0);
  bar.classList.toggle("is-high", !budget.over && budget.share >= HIGH_SHARE);
  amounts.forEach((amount, at) => {
    const share = amount > 0 ? amount / all : 0;
    // A part that is there can be seen, however small it is.
    const width = share ? `max(2px, ${(100 * share).toFixed(2)}%)` : "0px";
    const part = /** @type {HTMLElement} */ (bar.children[at]);
    if (part.dataset.width === width) return;
    part.dataset.width = width;
    part.style.width = width;
  });
}

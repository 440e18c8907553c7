/** One row of the tree on the screen. Rows are used again for other branches as a person scrolls. */

import { drawBar, newBar } from "./bars.js";
import {
  attentionOf,
  budgetOf,
  endText,
  levelText,
  personText,
  roleText,
  stepText,
} from "./branch_facts.js";
import { h, setAttribute, setText } from "./dom.js";
import { drawState, newStateBadge } from "./state_badge.js";
import { creditsText, listText, shortId } from "./text.js";

const INDENT_LEVELS_MAX = 12; // deeper branches stand no further to the right

/** @typedef {import("./tree_lines.js").TreeLine} TreeLine */

export class TreeRow {
  constructor() {
    this.key = "";
    this.version = -1;
    this.state = newStateBadge();
    this.step = h("span", { class: "step" });
    this.caret = h("span", { class: "caret", "aria-hidden": "true" });
    this.name = h("bdi", { class: "role" });
    this.id = h("bdi", { class: "id" });
    this.hidden = h("span", { class: "folded" });
    this.flag = h("span", { class: "flag" });
    this.person = h("bdi", { class: "text" });
    this.bar = newBar();
    this.spent = h("span", { class: "amount" });
    this.left = h("span", { class: "number" });
    this.rate = h("span", { class: "number" });
    this.machines = h("bdi", { class: "text" });
    const cell = (name, ...parts) => h("div", { role: "gridcell", class: `cell ${name}` }, parts);
    this.element = h(
      "div",
      { role: "row", class: "row", tabindex: "-1" },
      cell("name", this.caret, this.flag, this.name, this.id, this.hidden),
      cell("status", this.state, this.step),
      cell("person", this.person),
      cell("budget", this.bar, this.spent),
      cell("left", this.left),
      cell("rate", this.rate),
      cell("machines", this.machines),
    );
    this.element.treeRow = this;
  }

  /**
   * Shows a line; nothing is touched that is as it was.
   * @param {TreeLine} line
   * @param {number} at its place among all lines
   * @param {number} top in pixels
   */
  show(line, at, top) {
    const { element } = this;
    const place = `translateY(${top}px)`;
    if (element.style.transform !== place) element.style.transform = place;
    setAttribute(element, "aria-rowindex", String(at + 2));
    setAttribute(element, "aria-level", String(line.level));
    setAttribute(element, "aria-posinset", String(line.place));
    setAttribute(element, "aria-setsize", String(line.size));
    setAttribute(element, "aria-expanded", line.isOpen === null ? null : String(line.isOpen));
    setText(this.hidden, line.folded ? `+${line.folded}` : "");
    const { node } = line;
    if (this.key === node.key && this.version === node.version) return false;
    if (this.key !== node.key) this.showName(line);
    this.key = node.key;
    this.version = node.version;
    this.showAmounts(node);
    return true;
  }

  showName({ node, level }) {
    const { row } = node;
    const depth = Math.min(level - 1, INDENT_LEVELS_MAX);
    this.element.style.setProperty("--depth", String(depth));
    this.element.dataset.kind = node.isCrew ? "crew" : "branch";
    setText(this.id, node.isCrew ? "" : shortId(row.branch));
  }

  showAmounts(node) {
    const { row } = node;
    const reasons = attentionOf(node);
    setText(this.name, roleText(row));
    const person = personText(row);
    setText(this.person, person.text);
    setAttribute(this.person, "title", person.why || null);
    this.element.classList.toggle("ended", !node.isLive);
    this.element.classList.toggle("attention", reasons.length > 0);
    setText(this.flag, reasons.length ? "!" : "");
    setAttribute(this.flag, "title", reasons.join("; ") || null);
    setAttribute(this.flag, "aria-label", reasons.length ? "needs attention:" : null);
    setAttribute(this.flag, "role", reasons.length ? "img" : null);
    this.state.hidden = node.isCrew && row.state === "live";
    drawState(this.state, row);
    setText(this.step, stepText(node) || levelOf(node));
    setAttribute(this.step, "title", reasons.join("; ") || null);
    drawBar(this.bar, row);
    const { total } = budgetOf(row);
    const spent = creditsText(row.spent);
    setText(this.spent, total ? `${spent} / ${creditsText(total)}` : spent);
    const end = endText(row);
    setText(this.left, end ? "ended" : leftText(row));
    setAttribute(this.left, "title", end ? `0.00${end}` : null);
    setText(this.rate, row.spent_rate ? creditsText(row.spent_rate) : "–");
    this.element.classList.toggle("spends", row.spent_rate > 0);
    setText(this.machines, listText(node.machines, 3));
  }
}

function levelOf({ row, isLive, isCrew }) {
  return isLive || isCrew ? levelText(row).replace("orchestrator ", "") : "";
}

function leftText(row) {
  if (row.branch) return row.left >= 0 ? creditsText(row.left) : "";
  if (row.left_hour < 0 && row.left_day < 0) return "";
  const isHour = row.left_day < 0 || (row.left_hour >= 0 && row.left_hour <= row.left_day);
  return isHour ? `${creditsText(row.left_hour)} / h` : `${creditsText(row.left_day)} / d`;
}

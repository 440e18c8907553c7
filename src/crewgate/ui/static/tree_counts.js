/** The line above the tree: what all crews spend, and how many branches there are. */

import { attentionOf } from "./branch_facts.js";
import { h, setAttribute, setText } from "./dom.js";
import { button } from "./elements.js";
import { creditsText, plural } from "./text.js";

export class TreeCounts {
  /** @param {{attention: () => void, fold: (isFolded: boolean) => void}} handlers */
  constructor(handlers) {
    this.rate = h("b", { class: "rate" });
    this.number = h("span", null);
    this.attention = button("", handlers.attention, "quiet warn");
    this.leftOut = h("span", { class: "warn" });
    const folding = h(
      "span",
      { class: "folding" },
      button("Collapse all", () => handlers.fold(true), "quiet"),
      button("Expand all", () => handlers.fold(false), "quiet"),
    );
    this.element = h(
      "div",
      { class: "counts" },
      this.rate,
      this.number,
      this.attention,
      this.leftOut,
      folding,
    );
  }

  /**
   * @param {import("./tree_store.js").TreeStore} store
   * @param {number} matches how many branches the filters show
   * @param {boolean} onlyAttention
   */
  show(store, matches, onlyAttention) {
    let rate = 0;
    let all = 0;
    let live = 0;
    let attention = 0;
    for (const node of store.nodes) {
      if (node.isCrew) {
        rate += node.row.spent_rate;
        continue;
      }
      all += 1;
      live += node.isLive ? 1 : 0;
      attention += attentionOf(node).length ? 1 : 0;
    }
    setText(this.rate, `${creditsText(rate)} credits/min`);
    const shown = matches === all ? "" : `, ${matches} shown`;
    setText(this.number, `${live} live of ${plural(all, "branch")}${shown}`);
    this.attention.hidden = !attention && !onlyAttention;
    setText(this.attention, `${attention} ${attention === 1 ? "needs" : "need"} attention`);
    setAttribute(this.attention, "aria-pressed", String(onlyAttention));
    const left = `${plural(store.leftOut, "branch")} left out: there are too many`;
    setText(this.leftOut, store.leftOut ? left : "");
  }
}

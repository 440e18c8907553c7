/** The machines: whether each is ready, what is not well, why, and how to mend it. */

import { fill, h } from "./dom.js";
import { momentText, printable, spanText, textFor } from "./text.js";

const STATES = {
  ok: ["✓", "ready"],
  degraded: ["!", "ready, but degraded"],
  waiting: ["✕", "not ready"],
};

export class MachinesView {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    this.shown = "";
    this.list = h("div", { class: "cards" });
    this.element = h("section", { class: "page" }, h("h1", null, "Machines"), this.list);
  }

  update() {
    const { health } = this.app;
    const key = JSON.stringify(health);
    if (key === this.shown) return;
    this.shown = key;
    const cards = [
      ...health.not_asked.map(away),
      ...[...health.machines].sort(worstFirst).map((each) => this.card(each)),
    ];
    fill(this.list, cards.length ? cards : h("p", { class: "empty" }, "Asking the machines …"));
  }

  card(machine) {
    const [mark, text] = textFor(STATES, machine.status, ["?", machine.status]);
    const troubles = machine.troubles ?? [];
    return h(
      "article",
      { class: `card machine ${machine.status}` },
      h(
        "h2",
        null,
        h("bdi", null, printable(machine.machine)),
        machine.machine === this.app.health.asked &&
          h("span", { class: "tag" }, "serves this page"),
      ),
      h("p", { class: "status" }, h("b", { "aria-hidden": "true" }, mark), ` ${printable(text)}`),
      troubles.length > 0 && h("ul", { class: "troubles" }, troubles.map(trouble)),
      !troubles.length &&
        machine.waiting_for?.length > 0 &&
        h(
          "ul",
          { class: "troubles" },
          machine.waiting_for.map((each) => h("li", null, printable(each))),
        ),
    );
  }
}

function trouble(each) {
  const since = each.since
    ? `since ${momentText(each.since * 1000)} (${spanText(Date.now() / 1000 - each.since)})`
    : "";
  return h(
    "li",
    null,
    h(
      "p",
      null,
      h("b", null, printable(each.component)),
      ` ${each.passing ? "starting" : printable(each.state)} `,
      h("span", { class: "quiet-text" }, since),
      each.refuses && h("span", { class: "tag bad" }, "refuses calls"),
    ),
    each.why && h("p", null, printable(each.why)),
    each.mend && h("p", { class: "next" }, h("b", null, "To mend it: "), printable(each.mend)),
  );
}

function away({ machine, why }) {
  return h(
    "article",
    { class: "card machine away" },
    h("h2", null, h("bdi", null, printable(machine))),
    h("p", { class: "status" }, h("b", { "aria-hidden": "true" }, "?"), " no answer"),
    why && h("p", null, printable(why)),
    h(
      "p",
      { class: "next" },
      h("b", null, "Next: "),
      "see whether ",
      h("code", null, "crewgate serve"),
      " runs there, and whether the machines reach each other.",
    ),
  );
}

function worstFirst(one, other) {
  const rank = (each) => ["waiting", "degraded", "ok"].indexOf(each.status);
  return rank(one) - rank(other) || (one.machine < other.machine ? -1 : 1);
}

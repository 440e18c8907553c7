/** The panel of one branch, or of a crew: what it is, what it spends, and what a person may do. */

import { actionsFor, actionsForUnknown } from "./actions.js";
import { alertCard } from "./alert_card.js";
import { drawBar, newBar } from "./bars.js";
import { BranchDetails } from "./branch_details.js";
import {
  attentionOf,
  budgetOf,
  budgetText,
  endText,
  personOf,
  roleText,
  secondsToEmpty,
} from "./branch_facts.js";
import { fill, h, setText } from "./dom.js";
import { addressOf } from "./router.js";
import { drawState, newStateBadge } from "./state_badge.js";
import { countBelow, pathOf } from "./tree_store.js";
import {
  creditsText,
  exactCredits,
  listText,
  plural,
  printable,
  shortId,
  shortName,
  spanText,
} from "./text.js";

export class BranchPanel {
  /**
   * @param {import("./app.js").App} app
   * @param {string} crew
   * @param {string} branch "" for the crew itself
   * @param {string} [alert] the id of the alert that led here
   */
  constructor(app, crew, branch, alert) {
    this.app = app;
    this.crew = crew;
    this.branch = branch;
    this.version = ""; // of the branch and of those above it
    this.alertShown = "";
    this.actionsKey = "";
    this.heading = h("h2", { tabindex: "-1", id: "panel-title" });
    this.state = newStateBadge();
    this.whose = h("p", { class: "whose" });
    this.reasons = h("p", { class: "reasons", hidden: true });
    this.alert = h("div", { class: "led-by", hidden: true });
    this.path = h("ol", { class: "path" });
    this.actions = h("div", { class: "actions", role: "group", "aria-label": "What you can do" });
    this.bar = newBar();
    this.budget = h("dl", { class: "amounts" });
    this.pace = h("p", { class: "pace" });
    this.facts = h("dl", { class: "facts" });
    this.details = new BranchDetails(app, crew, branch);
    this.missing = h(
      "p",
      { class: "notice", hidden: true },
      "No machine that answered knows this branch now. What it did before is below.",
    );
    this.element = h(
      "article",
      {
        class: "panel",
        "aria-labelledby": "panel-title",
        on: { keydown: (event) => this.press(event) },
      },
      h(
        "header",
        null,
        h(
          "button",
          { type: "button", class: "close", on: { click: () => this.leave() } },
          h("span", { "aria-hidden": "true" }, "✕"),
          h("span", { class: "unseen" }, "Close"),
        ),
        h("div", { class: "title" }, this.heading, this.state),
        this.whose,
        h("p", { class: "whole-id" }, h("bdi", null, printable(branch || crew)), this.copyButton()),
      ),
      this.alert,
      this.missing,
      this.reasons,
      this.actions,
      h(
        "section",
        { class: "block" },
        h("h3", null, "Credits"),
        this.bar,
        this.budget,
        this.pace,
        this.path,
      ),
      this.details.element,
      h("section", { class: "block" }, h("h3", null, "Facts"), this.facts),
    );
    this.showAlert(alert);
    this.update();
  }

  isOf(crew, branch) {
    return this.crew === crew && this.branch === branch;
  }

  get node() {
    return this.app.store.find(this.crew, this.branch);
  }

  /** What the person may do now. */
  get offered() {
    const may = (right, crew) => this.app.may(right, crew);
    return this.node ? actionsFor(this.node, may) : actionsForUnknown(this.crew, this.branch, may);
  }

  focus() {
    this.heading.focus();
  }

  leave() {
    this.app.go("#/");
  }

  close() {
    this.details.close();
  }

  press(event) {
    if (event.key === "Escape") this.leave();
  }

  /** @param {string} [id] */
  showAlert(id) {
    this.alertId = id;
    const found = id ? this.app.alerts.find((each) => each.id === id) : undefined;
    this.alert.hidden = !found;
    const end = found ? this.app.endedBranches.endOf(found) : "";
    const shown = found ? `${found.id} ${end}` : "";
    if (shown === this.alertShown) return;
    this.alertShown = shown;
    if (found) fill(this.alert, alertCard(found, { isLink: false, end }));
  }

  update() {
    this.showAlert(this.alertId);
    const { node } = this;
    this.missing.hidden = !this.app.store.isWhole || node !== undefined;
    if (!node) {
      setText(this.heading, this.branch ? `Branch ${shortId(this.branch)}` : printable(this.crew));
      this.state.hidden = true;
      if (this.app.store.isWhole) this.showActions();
      return;
    }
    this.showActions();
    const version = [node, ...pathOf(node)].map((each) => each.version).join();
    if (version === this.version) return;
    this.version = version;
    const { row } = node;
    setText(this.heading, roleText(row));
    this.state.hidden = node.isCrew && row.state === "live";
    drawState(this.state, row);
    const places = [
      row.branch ? `crew ${shortName(row.crew)}` : "crew",
      shortName(personOf(row)),
      listText(node.machines, 4),
    ];
    setText(this.whose, places.filter(Boolean).join(" · "));
    const reasons = attentionOf(node);
    this.reasons.hidden = !reasons.length;
    setText(this.reasons, reasons.length ? `Needs attention: ${reasons.join("; ")}.` : "");
    this.showBudget(row);
    this.showPath(node);
    this.showFacts(node);
  }

  /** The buttons that the person has the rights for; made anew only if others are there. */
  showActions() {
    const actions = this.offered;
    const key = actions.map((action) => `${action.name} ${action.label}`).join();
    if (key === this.actionsKey) return;
    this.actionsKey = key;
    const button = (action) =>
      h(
        "button",
        {
          type: "button",
          class: action.isGrave ? "danger" : "",
          "data-action": action.name,
          on: { click: () => this.openAction(action.name) },
        },
        action.label,
      );
    const rare = actions.filter((action) => action.isRare);
    fill(
      this.actions,
      actions.filter((action) => !action.isRare).map(button),
      rare.length > 0 &&
        h(
          "details",
          { class: "rare" },
          h("summary", null, "More …"),
          h("div", null, rare.map(button)),
        ),
    );
  }

  async openAction(name) {
    const action = this.offered.find((each) => each.name === name);
    if (!action) return;
    await this.app.openAction(action);
    this.details.load();
    // A button whose action is done may be gone.
    if (!this.element.contains(document.activeElement)) this.focus();
  }

  showBudget(row) {
    const budget = budgetOf(row);
    drawBar(this.bar, row);
    const all = [
      ["spent", "Spent", row.spent, true],
      ["burned", "Burned", row.burned, row.burned > 0],
      ["reserved", "Reserved", row.reserved, row.reserved > 0],
      ["overdrawn", "Overdrawn", budget.over, budget.over > 0],
      ["left", "Left", row.left, row.left >= 0 && row.branch, endText(row)],
      ["", "Left this hour", row.left_hour, row.left_hour >= 0],
      ["", "Left today", row.left_day, row.left_day >= 0],
      ["", "Leased by machines", row.leased, row.leased > 0],
      ["", row.quotas > 1 ? "Quota of each machine" : "Quota", row.quota, row.quota > 0],
    ];
    fill(
      this.budget,
      all
        .filter(([, , , isShown]) => isShown)
        .map(([kind, name, amount, , more = ""]) =>
          h(
            "div",
            kind && { class: kind },
            h("dt", null, name),
            h("dd", null, exactCredits(amount) + more),
          ),
        ),
    );
    const seconds = secondsToEmpty(row);
    let pace = row.spent_rate
      ? `${creditsText(row.spent_rate)} credits/min now`
      : "Spends nothing now";
    if (seconds >= 0) pace += `; at this rate the credits end in ${spanText(seconds)}`;
    setText(this.pace, `${pace}.`);
  }

  /** Each level above, with its quota: one of them can be used up first. */
  showPath(node) {
    const path = pathOf(node);
    if (this.path.children.length !== path.length) {
      fill(
        this.path,
        path.map((each) =>
          h(
            "li",
            null,
            h("a", { href: addressOf("branch", [each.row.crew, each.row.branch]) }),
            newBar(),
            h("span", { class: "number" }),
          ),
        ),
      );
    }
    this.path.hidden = !path.length;
    path.forEach((each, at) => {
      const [link, bar, amount] = this.path.children[at].children;
      setText(
        link,
        each.isCrew
          ? `crew ${roleText(each.row)}`
          : `${roleText(each.row)} ${shortId(each.row.branch)}`,
      );
      drawBar(bar, each.row);
      const { total } = budgetOf(each.row);
      const spent = creditsText(each.row.spent);
      setText(amount, total ? `${spent} / ${creditsText(total)}` : `${spent} spent`);
      amount.title = budgetText(each.row);
    });
  }

  showFacts(node) {
    const { row } = node;
    const below = countBelow(node);
    const machines = listText(node.machines);
    const run =
      node.isCrew || !row.parent ? "" : pathOf(node).find((each) => !each.isCrew)?.row.branch;
    const facts = [
      ["Crew", row.crew],
      ["Person", row.subject && (personOf(row) || "nobody; its orchestrator began the run")],
      ["Orchestrator", row.orchestrator],
      ["Below it", below.all ? `${below.live} live of ${plural(below.all, "branch")}` : "nothing"],
      ["Machines", machines],
      ["Run", run],
      ["Process", row.process],
      ["Grant", row.grant],
      ["Calls this minute", row.calls >= 0 ? String(row.calls) : ""],
    ];
    const isReplay = row.branch !== "";
    fill(
      this.facts,
      facts
        .filter(([, value]) => value)
        .map(([name, value]) =>
          h("div", null, h("dt", null, name), h("dd", null, h("bdi", null, printable(value)))),
        ),
      isReplay &&
        h(
          "div",
          null,
          h("dt", null, "Replay"),
          h(
            "dd",
            null,
            h(
              "a",
              { href: addressOf("replay", [row.crew, run || row.branch]) },
              "Watch the run again",
            ),
          ),
        ),
    );
  }

  copyButton() {
    const button = h(
      "button",
      {
        type: "button",
        class: "quiet copy",
        on: {
          click: async () => {
            await navigator.clipboard.writeText(this.branch || this.crew);
            this.app.announce("Copied");
            setText(button, "Copied");
          },
        },
      },
      "Copy",
    );
    return button;
  }
}

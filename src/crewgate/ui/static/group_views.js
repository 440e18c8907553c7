/** Branches in groups: the runs, the people on whose behalf they act, and the crews. */

import { drawBar, newBar } from "./bars.js";
import { actionsFor, endPerson } from "./actions.js";
import { budgetOf, NO_PERSON, personOf, personText, roleText, stepText } from "./branch_facts.js";
import { fill, h, setText } from "./dom.js";
import { List } from "./lists.js";
import { addressOf } from "./router.js";
import { drawState, newStateBadge } from "./state_badge.js";
import { creditsText, listText, plural, shortId, shortName } from "./text.js";
import { countBelow } from "./tree_store.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./tree_store.js").TreeNode} TreeNode */

/** A page with a text filter, "only live" and a list. */
class GroupView {
  /**
   * @param {App} app
   * @param {string} title
   * @param {[string, string]} noun for one item, and for several
   * @param {string} empty what to say if the list is empty
   * @param {import("./lists.js").ListColumn<any>[]} columns
   * @param {(item: any) => string} keyOf
   */
  constructor(app, title, noun, empty, columns, keyOf) {
    this.app = app;
    this.noun = noun;
    this.empty = empty;
    this.list = new List(title, columns, keyOf);
    this.text = h("input", {
      type: "search",
      "aria-label": `Filter ${title.toLowerCase()}`,
      placeholder: "filter",
      maxlength: "200",
      on: { input: () => this.update() },
    });
    this.onlyLive = h("input", {
      type: "checkbox",
      checked: true,
      on: { change: () => this.update() },
    });
    this.counts = h("p", { class: "quiet-text" });
    this.element = h(
      "section",
      { class: "page wide" },
      h("h1", null, title),
      h(
        "div",
        { class: "bar-of-controls" },
        this.text,
        h("label", { class: "check" }, this.onlyLive, "Only live"),
        this.counts,
      ),
      this.list.element,
    );
  }

  /**
   * The items to show; each has `name`, `searched`, `rate` and `spent`. `isRest`: it stands for what
   * belongs to no item, and does not count as one.
   * @param {boolean} onlyLive
   * @returns {any[]}
   */
  items(onlyLive) {
    throw new TypeError(`a group view lists its items, only live: ${onlyLive}`);
  }

  update() {
    const text = this.text.value.trim().toLowerCase();
    const found = this.items(this.onlyLive.checked).filter(
      (each) => !text || each.searched.toLowerCase().includes(text),
    );
    found.sort(
      (one, other) =>
        Number(one.isRest ?? false) - Number(other.isRest ?? false) ||
        other.rate - one.rate ||
        other.spent - one.spent ||
        (one.name < other.name ? -1 : 1),
    );
    setText(this.counts, plural(found.filter((each) => !each.isRest).length, ...this.noun));
    this.list.show(found, this.app.store.isWhole ? this.empty : "Asking the machines …");
  }
}

export class RunsView extends GroupView {
  /** @param {App} app */
  constructor(app) {
    super(
      app,
      "Runs",
      ["run", "runs"],
      "No run matches the filters. Clear them, or also show runs that have ended.",
      [
        {
          label: "Run",
          draw: (cell, { node }) =>
            link(
              cell,
              `${roleText(node.row)} ${shortId(node.row.branch)}`,
              addressOf("branch", [node.row.crew, node.row.branch]),
            ),
        },
        { label: "State", draw: (cell, { node }) => drawStateIn(cell, node) },
        { label: "Crew", text: ({ node }) => shortName(node.row.crew) },
        { label: "Person", draw: (cell, { node }) => drawPersonIn(cell, node.row) },
        {
          label: "Branches below",
          class: "number",
          text: ({ node }) => liveText(countBelow(node)),
        },
        {
          label: "Spent / quota",
          class: "budget",
          draw: (cell, { node }) => drawBudgetIn(cell, node.row),
        },
        { label: "Credits/min", class: "number", text: ({ rate }) => rateText(rate) },
        { label: "Machines", text: ({ node }) => listText(node.machines, 3) },
        {
          label: "Replay",
          draw: (cell, { node }) =>
            link(cell, "Watch", addressOf("replay", [node.row.crew, node.row.branch])),
        },
      ],
      ({ node }) => node.key,
    );
    this.counts.after(h("a", { href: addressOf("replay") }, "Recorded runs"));
  }

  items(onlyLive) {
    const found = [];
    for (const node of this.app.store.nodes) {
      if (node.isCrew || node.row.parent || (onlyLive && !node.isLive)) continue;
      const { crew, branch, role, subject, orchestrator, state } = node.row;
      found.push({
        node,
        name: node.key,
        rate: node.row.spent_rate,
        spent: node.row.spent,
        searched: [crew, branch, role, subject, orchestrator, state].join("\n"),
      });
    }
    return found;
  }
}

export class PeopleView extends GroupView {
  /** @param {App} app */
  constructor(app) {
    super(
      app,
      "People",
      ["person", "people"],
      "No person matches the filters. Clear them, or also show people whose runs have ended.",
      [
        {
          label: "Person",
          draw: (cell, { subject, isRest }) => {
            link(
              cell,
              isRest ? "No person" : shortName(subject),
              addressOf("", [], { person: subject }),
            );
            cell.title = isRest ? NO_PERSON.why : "";
          },
        },
        { label: "Crews", text: ({ crews }) => listText([...crews], 4) },
        { label: "Live runs", class: "number", text: ({ live, runs }) => `${live} of ${runs}` },
        { label: "Live branches", class: "number", text: ({ branches }) => String(branches) },
        { label: "Spent", class: "number", text: ({ spent }) => creditsText(spent) },
        { label: "Credits/min", class: "number", text: ({ rate }) => rateText(rate) },
        { label: "Action", draw: (cell, item) => this.drawActions(cell, item) },
      ],
      ({ subject }) => subject,
    );
  }

  items(onlyLive) {
    /** @type {Map<string, any>} */
    const people = new Map();
    for (const node of this.app.store.nodes) {
      const { crew, parent } = node.row;
      if (!node.row.subject) continue; // no machine knows it
      const subject = personOf(node.row) || NO_PERSON.text;
      let one = people.get(subject);
      if (!one) {
        one = {
          subject,
          isRest: subject === NO_PERSON.text,
          name: subject,
          searched: subject === NO_PERSON.text ? "no person" : subject,
          crews: new Set(),
          runs: 0,
          live: 0,
          branches: 0,
          spent: 0,
          rate: 0,
        };
        people.set(subject, one);
      }
      one.crews.add(crew);
      one.branches += node.isLive ? 1 : 0;
      if (parent) continue; // the amounts of a run have those of its branches
      one.runs += 1;
      one.live += node.isLive ? 1 : 0;
      one.spent += node.row.spent;
      one.rate += node.row.spent_rate;
    }
    return [...people.values()].filter((one) => !onlyLive || one.branches > 0);
  }

  drawActions(cell, { subject, crews, isRest }) {
    if (isRest) return;
    const may = (right, crew) => this.app.may(right, crew);
    const [crew] = [...crews].filter((each) => may("operate", each));
    const isOffered = crew !== undefined;
    if (cell.childElementCount > 0 === isOffered) return;
    fill(
      cell,
      isOffered &&
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            on: {
              click: () => this.app.openAction(endPerson(subject, crew, may)),
            },
          },
          "End all runs …",
        ),
    );
  }
}

export class CrewsView extends GroupView {
  /** @param {App} app */
  constructor(app) {
    super(
      app,
      "Crews",
      ["crew", "crews"],
      "No crew matches the filters. Clear them, or also show crews without a live branch.",
      [
        {
          label: "Crew",
          draw: (cell, { node }) =>
            link(cell, shortName(node.row.crew), addressOf("branch", [node.row.crew, ""])),
        },
        { label: "Live branches", class: "number", text: ({ below }) => liveText(below) },
        { label: "Spent", class: "number", text: ({ spent }) => creditsText(spent) },
        { label: "Credits/min", class: "number", text: ({ rate }) => rateText(rate) },
        {
          label: "Left this hour",
          class: "number",
          text: ({ node }) => amountText(node.row.left_hour),
        },
        { label: "Left today", class: "number", text: ({ node }) => amountText(node.row.left_day) },
        {
          label: "Show",
          draw: (cell, { node }) =>
            link(cell, "Its branches", addressOf("", [], { crew: node.row.crew })),
        },
        { label: "Action", draw: (cell, item) => this.drawActions(cell, item) },
      ],
      ({ node }) => node.key,
    );
  }

  items(onlyLive) {
    const found = [];
    for (const node of this.app.store.tops) {
      const below = countBelow(node);
      if (onlyLive && below.all && !below.live) continue;
      found.push({
        node,
        below,
        name: node.row.crew,
        searched: node.row.crew,
        rate: node.row.spent_rate,
        spent: node.row.spent,
      });
    }
    return found;
  }

  drawActions(cell, { node }) {
    const action = actionsFor(node, (right, crew) => this.app.may(right, crew)).find(
      (each) => each.name === "end-crew",
    );
    if (cell.childElementCount > 0 === (action !== undefined)) return;
    fill(
      cell,
      action &&
        h(
          "button",
          { type: "button", class: "quiet", on: { click: () => this.app.openAction(action) } },
          "Revoke all tokens …",
        ),
    );
  }
}

function link(cell, text, address) {
  let found = cell.firstElementChild;
  if (!found) found = cell.appendChild(h("a", null, ""));
  setText(found, text);
  if (found.getAttribute("href") !== address) found.setAttribute("href", address);
}

function drawPersonIn(cell, row) {
  const { text, why } = personText(row);
  setText(cell, text);
  if (cell.title !== why) cell.title = why;
}

function drawStateIn(cell, node) {
  if (!cell.childElementCount) cell.append(newStateBadge(), h("span", { class: "step" }));
  drawState(cell.firstElementChild, node.row);
  setText(cell.lastElementChild, stepText(node));
}

function drawBudgetIn(cell, row) {
  if (!cell.childElementCount) cell.append(newBar(), h("span", { class: "amount" }));
  drawBar(cell.firstElementChild, row);
  const { total } = budgetOf(row);
  setText(
    cell.lastElementChild,
    total ? `${creditsText(row.spent)} / ${creditsText(total)}` : `${creditsText(row.spent)} spent`,
  );
}

function liveText({ live, all }) {
  return all ? `${live} of ${all}` : "–";
}

function rateText(rate) {
  return rate ? creditsText(rate) : "–";
}

function amountText(micro) {
  return micro >= 0 ? creditsText(micro) : "";
}

/** Who may do what: people on this page, and the tools and credits of each crew's roles. */

import { api } from "./api.js";
import { fill, h } from "./dom.js";
import { factList, tableOf, withCode } from "./elements.js";
import { creditsText, listText, plural, printable, shortName, spanText, textFor } from "./text.js";

const RIGHTS = {
  view: "see",
  operate: "end and quarantine",
  budget: "give back credits",
  ca: "revoke certificates",
};

const WATCH =
  "The minting watch looks for an orchestrator that starts more branches than is usual, or has more of them.";
const WATCH_MODES = {
  observe: "It only says so: it stops nothing.",
  throttle: "It slows such an orchestrator down.",
  quarantine: "It slows such an orchestrator down, and then lets it start no branches for a while.",
};

const NOBODY =
  "The configuration gives nobody rights here: it has no [ui.access.NAME]. " +
  "The user of the gateway opens the page with `crewgate ui`, and has all rights.";

export class AccessView {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    this.content = h("div", null, h("p", { class: "empty" }, "Asking the server …"));
    this.element = h("section", { class: "page" }, h("h1", null, "Who may do what"), this.content);
    this.load();
  }

  async load() {
    try {
      const found = await api.get("/api/access");
      fill(
        this.content,
        this.people(found),
        h("h2", null, "Crews"),
        h("div", { class: "cards" }, found.crews.map(crewCard)),
      );
    } catch (error) {
      fill(
        this.content,
        h("p", { class: "notice bad" }, printable(error.message) || "No answer."),
        h("button", { type: "button", on: { click: () => this.load() } }, "Try again"),
      );
    }
  }

  people({ people, operators }) {
    const rows = people.map((each) => [
      h("bdi", null, shortName(each.access)),
      listText(each.groups),
      listText(each.people),
      each.rights.map((right) => textFor(RIGHTS, right, printable(right))).join(", "),
      each.crews.includes("*") ? "all" : listText(each.crews),
    ]);
    if (operators) {
      rows.push(["operators", "", "who has the certificate of an operator", "everything", "all"]);
    }
    const title = h("h2", null, "On this page");
    if (!rows.length) return [title, h("p", { class: "quiet-text" }, withCode(NOBODY))];
    const headings = ["Entry", "Groups", "People", "Rights", "Crews"];
    return [title, tableOf(headings, rows)];
  }
}

function crewCard(crew) {
  const name = h("h3", null, h("bdi", null, printable(crew.crew)));
  const rows = [
    ...crew.roles.map((each) => ceilingRow(each.role, "role", each)),
    ...crew.orchestrators.map((each) => ceilingRow(each.orchestrator, "orchestrator", each)),
  ];
  const headings = ["Role or orchestrator", "Tools", "Credits of a branch", "Tokens"];
  const facts = factList([
    ["Sponsor", printable(crew.sponsor)],
    ["Tools", codes(crew.tools)],
    ["Credits", creditsOf(crew)],
    ["Tokens", tokensOf(crew)],
    ["Minting watch", watchOf(crew.watch)],
  ]);
  return h("article", { class: "card" }, name, facts, rows.length > 0 && tableOf(headings, rows));
}

function watchOf(mode) {
  return h("span", { title: `${WATCH} ${textFor(WATCH_MODES, mode, "")}` }, printable(mode));
}

function ceilingRow(name, kind, ceiling) {
  const micro = ceiling.credits_micro;
  return [
    [h("bdi", null, shortName(name)), h("span", { class: "quiet-text" }, ` ${kind}`)],
    codes(ceiling.tools),
    micro === null ? "no limit" : `at most ${creditsText(micro)}`,
    tokensOf(ceiling),
  ];
}

function creditsOf(crew) {
  const limits = [
    [crew.credits_micro, "a branch"],
    [crew.credits_per_hour_micro, "an hour"],
    [crew.credits_per_day_micro, "a day"],
  ].filter(([micro]) => micro !== null);
  return limits.map(([micro, time]) => `${creditsText(micro)} ${time}`).join(", ") || "no limit";
}

function tokensOf({ lifetime_seconds: seconds, depth, binding }) {
  return [
    `valid for ${spanText(seconds)} at most`,
    `at most ${plural(depth, "level")} of branches below a run`,
    binding === "required" ? "bound to a key" : "need not be bound to a key",
  ].join(", ");
}

function codes(tools) {
  return h(
    "span",
    { class: "tools" },
    tools.map((tool) => h("code", null, shortName(tool))),
  );
}

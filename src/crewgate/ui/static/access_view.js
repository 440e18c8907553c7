/** Who may do what: people on this page, and the tools and credits of each crew's roles. */

import { api } from "./api.js";
import { fill, h } from "./dom.js";
import { creditsText, listText, plural, printable, shortName, spanText, textFor } from "./text.js";

const RIGHTS = {
  view: "see", operate: "end and quarantine", budget: "give back credits", ca: "revoke certificates",
};

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
      fill(this.content, this.people(found), h("h2", null, "Crews"),
        h("div", { class: "cards" }, found.crews.map(crewCard)));
    } catch (error) {
      fill(this.content, h("p", { class: "notice bad" }, printable(error.message) || "No answer."),
        h("button", { type: "button", on: { click: () => this.load() } }, "Try again"));
    }
  }

  people({ people, operators }) {
    return [h("h2", null, "On this page"),
      h("div", { class: "list-frame" }, h("table", { class: "list" },
        h("thead", null, h("tr", null, ["Entry", "Groups", "People", "Rights", "Crews"].map((each) => h("th", { scope: "col" }, each)))),
        h("tbody", null, people.map((each) => h("tr", null,
          h("th", { scope: "row" }, h("bdi", null, shortName(each.access))),
          h("td", { "data-label": "Groups" }, listText(each.groups)), h("td", { "data-label": "People" }, listText(each.people)),
          h("td", { "data-label": "Rights" }, each.rights.map((right) => textFor(RIGHTS, right, printable(right))).join(", ")),
          h("td", { "data-label": "Crews" }, each.crews.includes("*") ? "all" : listText(each.crews)))),
        operators && h("tr", null, h("th", { scope: "row" }, "operators"), h("td", { "data-label": "Groups" }), h("td", { "data-label": "People" }, "who has the certificate of an operator"),
          h("td", { "data-label": "Rights" }, "everything"), h("td", { "data-label": "Crews" }, "all")))))];
  }
}

function crewCard(crew) {
  const ceilings = [
    ...crew.roles.map((each) => ({ name: each.role, kind: "role", ...each })),
    ...crew.orchestrators.map((each) => ({ name: each.orchestrator, kind: "orchestrator", ...each })),
  ];
  const credits = [[crew.credits_micro, "a branch"], [crew.credits_per_hour_micro, "an hour"],
    [crew.credits_per_day_micro, "a day"]].filter(([micro]) => micro !== null)
    .map(([micro, time]) => `${creditsText(micro)} ${time}`).join(", ");
  const facts = [
    ["Sponsor", printable(crew.sponsor)], ["Tools", codes(crew.tools)], ["Credits", credits || "no limit"],
    ["Tokens", tokensOf(crew)], ["Minting watch", printable(crew.watch)],
  ];
  return h("article", { class: "card" },
    h("h3", null, h("bdi", null, printable(crew.crew))),
    h("dl", { class: "facts" }, facts.filter(([, value]) => value).map(([name, value]) =>
      h("div", null, h("dt", null, name), h("dd", null, value)))),
    ceilings.length > 0 && h("div", { class: "list-frame" }, h("table", { class: "list" },
      h("thead", null, h("tr", null, ["Role or orchestrator", "Tools", "Credits of a branch", "Tokens"].map((each) =>
        h("th", { scope: "col" }, each)))),
      h("tbody", null, ceilings.map((each) => h("tr", null,
        h("th", { scope: "row" }, h("bdi", null, shortName(each.name)), h("span", { class: "quiet-text" }, ` ${each.kind}`)),
        h("td", { "data-label": "Tools" }, codes(each.tools)),
        h("td", { "data-label": "Credits" }, each.credits_micro === null ? "no limit" : `at most ${creditsText(each.credits_micro)}`),
        h("td", { "data-label": "Tokens" }, tokensOf(each))))))));
}

function tokensOf({ lifetime_seconds: seconds, depth, binding }) {
  return [`valid for ${spanText(seconds)} at most`, `${plural(depth, "level")} below`,
    `binding ${printable(binding)}`].join(", ");
}

function codes(tools) {
  return h("span", { class: "tools" }, tools.map((tool) => h("code", null, shortName(tool))));
}

/** Who may do what: people on this page, and the tools and credits of each crew's roles. */

import { api } from "./api.js";
import { fill, h } from "./dom.js";
import { creditsText, listText, printable, shortName, textFor } from "./text.js";

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
          h("td", { "data-label": "Groups" }, listText(each.groups ?? [])), h("td", { "data-label": "People" }, listText(each.people ?? [])),
          h("td", { "data-label": "Rights" }, (each.rights ?? []).map((right) => textFor(RIGHTS, right, printable(right))).join(", ")),
          h("td", { "data-label": "Crews" }, each.crews?.length && !each.crews.includes("*") ? listText(each.crews) : "all"))),
        operators && h("tr", null, h("th", { scope: "row" }, "operators"), h("td", { "data-label": "Groups" }), h("td", { "data-label": "People" }, "who has the certificate of an operator"),
          h("td", { "data-label": "Rights" }, "everything"), h("td", { "data-label": "Crews" }, "all")))))];
  }
}

function crewCard(crew) {
  const roles = crew.roles ?? [];
  return h("article", { class: "card" },
    h("h3", null, h("bdi", null, printable(crew.crew))),
    crew.sponsor && h("p", { class: "quiet-text" }, `Sponsor: ${printable(crew.sponsor)}`),
    h("dl", { class: "facts" },
      h("div", null, h("dt", null, "Tools"), h("dd", null, codes(crew.tools ?? []))),
      (crew.orchestrators ?? []).length > 0 && h("div", null, h("dt", null, "Orchestrators"), h("dd", null, listText(crew.orchestrators, 20)))),
    roles.length > 0 && h("table", { class: "list" },
      h("thead", null, h("tr", null, ["Role", "Tools", "Credits"].map((each) => h("th", { scope: "col" }, each)))),
      h("tbody", null, roles.map((role) => h("tr", null, h("th", { scope: "row" }, h("bdi", null, shortName(role.role))),
        h("td", { "data-label": "Tools" }, codes(role.tools ?? [])), h("td", { "data-label": "Credits" }, creditsOf(role)))))));
}

function creditsOf({ credits_micro: micro }) {
  return typeof micro === "number" && micro > 0 ? `at most ${creditsText(micro)}` : "";
}

function codes(tools) {
  return h("span", { class: "tools" }, tools.map((tool) => h("code", null, shortName(tool))));
}

/** What is around each view: names of the views, the state of the connection, and the person. */

import { fill, h, setAttribute, setText } from "./dom.js";
import { clockText, listText, plural, printable, shortName, spanText, textFor } from "./text.js";

/** @typedef {import("./app.js").App} App */

const VIEWS = [
  ["", "Branches"],
  ["runs", "Runs"],
  ["people", "People"],
  ["crews", "Crews"],
  ["alerts", "Alerts"],
  ["machines", "Machines"],
  ["access", "Access"],
];
const HOW = {
  login: "signed in",
  certificate: "certificate of an operator",
  local: "one-time link of a machine",
};
const RIGHTS = {
  view: "see",
  operate: "end and quarantine",
  budget: "give back credits",
  ca: "revoke certificates",
};

export class Frame {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.links = new Map(
      VIEWS.map(([name, text]) => [
        name,
        h(
          "a",
          { href: `#/${name}` },
          h("span", null, text),
          h("span", { class: "count", hidden: true }),
        ),
      ]),
    );
    this.state = h(
      "button",
      { type: "button", class: "connection", on: { click: () => app.live.retry() } },
      h("i", { "aria-hidden": "true" }),
      h("span", null),
      h("span", { class: "more" }),
    );
    this.lost = h(
      "div",
      { class: "banner lost", hidden: true },
      h("p", null),
      h("button", { type: "button", on: { click: () => app.live.retry() } }, "Try now"),
    );
    this.missing = h("div", { class: "banner missing", hidden: true }, h("p", null));
    this.header = h(
      "header",
      { class: "top" },
      h(
        "a",
        { class: "brand", href: "#/" },
        h("img", { src: "/static/mark.svg", alt: "", width: "22", height: "22" }),
        "Crewgate",
      ),
      h(
        "nav",
        { "aria-label": "Views" },
        h(
          "ul",
          null,
          [...this.links.values()].map((link) => h("li", null, link)),
        ),
      ),
      this.state,
      this.person(),
    );
    this.element = h(
      "div",
      { class: "around" },
      this.header,
      h("section", { "aria-label": "What is missing" }, this.lost, this.missing),
    );
  }

  person() {
    const { session } = this.app;
    const name = shortName(session.name ?? session.person);
    const menu = h(
      "details",
      { class: "person" },
      h("summary", null, h("i", { "aria-hidden": "true" }, initialOf(name)), h("bdi", null, name)),
      h(
        "div",
        { class: "menu" },
        h(
          "p",
          null,
          h("b", null, printable(session.person)),
          h("br", null),
          textFor(HOW, session.how, printable(session.how)),
        ),
        h(
          "p",
          null,
          `This page is served by ${shortName(session.machine)}. The session ends at ` +
            `${clockText(session.ends * 1000)}.`,
        ),
        h(
          "dl",
          { class: "facts" },
          Object.entries(RIGHTS).map(([right, text]) => {
            const crews = session.rights[right] ?? [];
            const where = crews.includes("*") ? "all crews" : listText(crews);
            return h("div", null, h("dt", null, `May ${text}`), h("dd", null, where || "no"));
          }),
        ),
        h("button", { type: "button", on: { click: () => this.app.signOut() } }, "Sign out"),
      ),
    );
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      menu.open = false;
      menu.firstElementChild.focus();
    });
    menu.addEventListener("focusout", (event) => {
      if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
    });
    return menu;
  }

  /** @param {string} name of the view that is shown */
  setView(name) {
    const shown = name === "branch" ? "" : name === "replay" ? "runs" : name;
    for (const [each, link] of this.links)
      setAttribute(link, "aria-current", each === shown ? "page" : null);
    this.links.get(shown)?.scrollIntoView?.({ block: "nearest", inline: "nearest" });
  }

  update() {
    const { live, store } = this.app;
    const isLost = live.state === "lost" || live.state === "ended";
    const machines = store.machines.length;
    const away = store.notAsked.length;
    const seconds = spanText((Date.now() - live.lostAt) / 1000);
    const text = isLost
      ? `lost since ${seconds}`
      : live.state === "live"
        ? `live · ${away ? `${machines} of ` : ""}${plural(machines + away, "machine")}`
        : "connecting …";
    const [, main, more] = this.state.children;
    setText(main, text);
    setText(more, isLost ? ", trying again" : "");
    setAttribute(
      this.state,
      "data-state",
      isLost ? "lost" : live.state === "live" && away ? "partial" : live.state,
    );
    setAttribute(
      this.state,
      "title",
      isLost ? "Try now" : `The newest data is from ${clockText(store.freshAt)}`,
    );
    // Without its own agent, the server knows nothing new either.
    const isOld = isLost || store.hasNoAnswer;
    document.body.classList.toggle("stale", isOld && store.at > 0);
    this.lost.hidden = !isLost;
    const why = live.why ? ` (${printable(live.why)})` : "";
    if (isLost) {
      setText(
        this.lost.firstElementChild,
        store.at
          ? `The connection is lost${why}. What you see is from ${clockText(store.freshAt)}, and does not change.`
          : `The server does not answer${why}.`,
      );
    }
    this.showMissing();
    this.count("alerts", this.app.openAlerts().length);
    this.count("machines", this.app.unwellMachines());
  }

  /** Names the machines that did not answer: what they know is not on the page. */
  showMissing() {
    const { live, store } = this.app;
    const { notAsked } = store;
    // While the connection is lost, nobody knows which machines answer.
    this.missing.hidden = !notAsked.length || live.state !== "live";
    if (this.missing.hidden) return;
    const named = notAsked
      .slice(0, 3)
      .map(({ machine, why }) => shortName(machine) + (why ? ` (${printable(why)})` : ""));
    const more = notAsked.length > 3 ? ` and ${notAsked.length - 3} more` : "";
    setText(
      this.missing.firstElementChild,
      `No answer from ${named.join(", ")}${more}. ${
        store.hasNoAnswer
          ? `What you see is from ${clockText(store.freshAt)}.`
          : `What only ${notAsked.length === 1 ? "it knows" : "they know"} is missing or old here.`
      }`,
    );
  }

  count(name, number) {
    const badge = this.links.get(name)?.lastElementChild;
    if (!badge) return;
    badge.hidden = !number;
    fillOnce(badge, number ? String(number) : "");
    setAttribute(badge, "aria-label", number ? `${number} to look at` : null);
    setAttribute(badge, "role", number ? "img" : null);
  }
}

function initialOf(name) {
  return name.slice(0, 1).toUpperCase();
}

function fillOnce(element, text) {
  if (element.textContent !== text) fill(element, text);
}

/** What all views share: the session, the data, the views by name, and when to draw them. */

import { openAction } from "./action_dialog.js";
import { AccessView } from "./access_view.js";
import { actionsFor } from "./actions.js";
import { AlertsView } from "./alerts_view.js";
import { api } from "./api.js";
import { BranchesView } from "./branches_view.js";
import { fill, h } from "./dom.js";
import { Frame } from "./frame.js";
import { CrewsView, PeopleView, RunsView } from "./group_views.js";
import { Live } from "./live.js";
import { MachinesView } from "./machines_view.js";
import { EndedBranches, openAlerts } from "./open_alerts.js";
import { replayView } from "./replay.js";
import { placeOf } from "./router.js";
import { forgetKey } from "./session_key.js";
import { printable } from "./text.js";
import { TreeStore } from "./tree_store.js";

// Maps: a name of an address is a stranger's, and an object has members of its own.
/** @type {Map<string, new (app: App, place: import("./router.js").Place) => View>} */
const VIEWS = new Map(
  Object.entries({
    "": BranchesView,
    branch: BranchesView,
    runs: RunsView,
    people: PeopleView,
    crews: CrewsView,
    alerts: AlertsView,
    machines: MachinesView,
    access: AccessView,
  }),
);
const TITLES = new Map(
  Object.entries({
    runs: "Runs",
    people: "People",
    crews: "Crews",
    alerts: "Alerts",
    machines: "Machines",
    access: "Access",
    replay: "Replay",
  }),
);
const ANNOUNCE_MS = 4_000; // a screen reader must be able to finish

/**
 * @typedef {object} View
 * @property {HTMLElement} element
 * @property {() => void} [update] shows what has changed
 * @property {(place: import("./router.js").Place) => void} [follow] shows another place of the view
 * @property {() => void} [close]
 */

export class App {
  /**
   * @param {any} session as `/api/session` answers
   * @param {(why: string) => void} ended is called after the session has ended
   */
  constructor(session, ended) {
    this.session = session;
    this.ended = ended;
    this.store = new TreeStore();
    /** @type {any[]} */
    this.alerts = [];
    /** @type {{machine: string}[]} machines whose alerts are missing */
    this.alertsNotAsked = [];
    /** @type {any} */
    this.health = { machines: [], not_asked: [], asked: "" };
    this.known = new Set(); // ids of alerts
    this.endedBranches = new EndedBranches();
    this.announcedAt = -Infinity;
    /** @type {View | null} */
    this.view = null;
    this.viewClass = null;
    this.isDue = false;
    this.live = new Live(
      (name, data) => this.take(name, data),
      () => this.connectionChanged(),
    );
    this.frame = new Frame(this);
    this.main = h("main", { id: "main", tabindex: "-1" });
    this.onHash = () => this.follow();
  }

  start() {
    fill(/** @type {Element} */ (document.getElementById("page")), this.frame.element, this.main);
    addEventListener("hashchange", this.onHash);
    this.clock = setInterval(() => this.frame.update(), 1_000);
    this.follow();
    this.live.run();
  }

  close() {
    this.live.close();
    this.view?.close?.();
    clearInterval(this.clock);
    removeEventListener("hashchange", this.onHash);
    document.body.classList.remove("stale");
  }

  /** Shows the view that the address names. */
  follow() {
    const place = placeOf(location.hash);
    this.frame.setView(place.name);
    const known = VIEWS.get(place.name) ?? BranchesView;
    if (place.name !== "replay" && known === this.viewClass && this.view?.follow) {
      this.view.follow(place);
    } else {
      const hadView = this.view !== null;
      this.view?.close?.();
      this.viewClass = place.name === "replay" ? replayView : known;
      const [crew = "", run = ""] = place.parts;
      /** @type {View} */
      const view =
        place.name === "replay"
          ? replayView(this, { crew, run, query: place.query })
          : new known(this, place);
      this.view = view;
      fill(this.main, view.element);
      // A page that scrolls can be reached by Tab; the tree has rows for that.
      this.main.tabIndex = view instanceof BranchesView ? -1 : 0;
      if (hadView) this.main.focus();
    }
    this.showTitle(place);
    this.draw();
  }

  showTitle(place) {
    const open = this.openAlerts().length;
    const name = TITLES.get(place.name) ?? "Branches";
    const title = `${open ? `(${open}) ` : ""}${name} – Crewgate`;
    if (document.title !== title) document.title = title;
  }

  /** Takes an event of the stream. */
  take(name, data) {
    if (name === "tree") this.store.take(data);
    else if (name === "machines") this.health = data;
    else if (name === "alerts") this.takeAlerts(data.alerts, data.not_asked ?? []);
    this.endedBranches.update(this.alerts, this.store);
    this.showTitle(placeOf(location.hash));
    this.draw();
  }

  takeAlerts(alerts, notAsked) {
    const isFirst = !this.known.size;
    const fresh = alerts.filter((each) => !this.known.has(each.id));
    this.alerts = alerts;
    this.alertsNotAsked = notAsked;
    this.known = new Set(alerts.map((each) => each.id));
    const [first] = fresh.filter((each) => each.severity === "critical" && each.state !== "over");
    if (first && !isFirst) this.announce(`Alert: ${printable(first.text)}`, true);
  }

  connectionChanged() {
    const { state, why } = this.live;
    if (state === "ended") {
      this.close();
      this.ended(why);
      return;
    }
    if (state === "lost") this.announce("The connection is lost.", true);
    if (state === "live" && this.wasLost) this.announce("The connection is back.");
    this.wasLost = state === "lost";
    this.draw();
  }

  /** Draws what has changed, at most once a frame. */
  draw() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.frame.update();
      this.view?.update?.();
    });
  }

  /**
   * Whether the person has a right; "" is what is of no crew. An account of calls between crews
   * belongs to the crew that calls.
   * @param {string} right
   * @param {string} crew
   */
  may(right, crew) {
    const held = this.session.rights[right] ?? [];
    return held.includes("*") || (crew !== "" && held.includes(crew.split(":")[0]));
  }

  /** @param {import("./tree_store.js").TreeNode} node */
  actionsFor(node) {
    return actionsFor(node, (right, crew) => this.may(right, crew));
  }

  /**
   * Asks about an action, orders it and shows the receipt; then the focus goes back.
   * @param {import("./actions.js").Action} action
   */
  async openAction(action) {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    await openAction(this, action);
    if (before?.isConnected) before.focus();
  }

  /** @param {string} hash */
  go(hash) {
    location.hash = hash;
  }

  /** Alerts that a person should look at, the newest first. */
  openAlerts() {
    return openAlerts(this.alerts, this.endedBranches);
  }

  /** How many machines are not well, or did not answer. */
  unwellMachines() {
    return (
      this.health.machines.filter((each) => each.status !== "ok").length +
      this.health.not_asked.length
    );
  }

  /**
   * Says a text to people who use a screen reader; only what is urgent interrupts.
   * @param {string} text
   * @param {boolean} [isUrgent]
   */
  announce(text, isUrgent = false) {
    const region = /** @type {Element} */ (document.getElementById(isUrgent ? "urgent" : "polite"));
    clearTimeout(this.announcing);
    const wait = Math.max(0, this.announcedAt + ANNOUNCE_MS - performance.now());
    this.announcing = setTimeout(
      () => {
        this.announcedAt = performance.now();
        region.textContent = text;
      },
      isUrgent ? 0 : Math.min(wait, 500),
    );
  }

  async signOut() {
    await api.delete("/api/session").catch(() => null);
    await forgetKey();
    this.close();
    this.ended("signed-out");
  }
}

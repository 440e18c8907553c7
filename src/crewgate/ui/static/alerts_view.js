/** The alerts, newest first: what has happened, how urgent it is, and what to do. */

import { alertCard } from "./alert_card.js";
import { fill, h, setText } from "./dom.js";
import { listText, plural } from "./text.js";

export class AlertsView {
  /**
   * @param {import("./app.js").App} app
   * @param {import("./router.js").Place} place
   */
  constructor(app, place) {
    this.app = app;
    this.marked = place.query.alert;
    this.shown = "";
    this.onlyOpen = h("input", { type: "checkbox", on: { change: () => this.update() } });
    this.counts = h("p", { class: "quiet-text" });
    this.list = h("div", { class: "cards alerts" });
    this.element = h(
      "section",
      { class: "page" },
      h("h1", null, "Alerts"),
      h(
        "div",
        { class: "bar-of-controls" },
        h("label", { class: "check" }, this.onlyOpen, "Only open ones"),
        this.counts,
      ),
      this.list,
    );
  }

  /** @param {import("./router.js").Place} place */
  follow(place) {
    this.marked = place.query.alert;
    this.shown = "";
  }

  update() {
    const { alerts } = this.app;
    const endOf = (alert) => this.app.endedBranches.endOf(alert);
    const open = new Set(this.app.openAlerts().map((each) => each.id));
    const wanted = this.onlyOpen.checked ? alerts.filter((each) => open.has(each.id)) : alerts;
    const away = listText(this.app.alertsNotAsked.map(({ machine }) => machine));
    const key = [
      away,
      ...wanted.map((each) => [each.id, open.has(each.id), endOf(each)].join()),
    ].join();
    if (key === this.shown && this.list.childElementCount) return;
    this.shown = key;
    const without = away ? `, without those of ${away}, which did not answer` : "";
    setText(this.counts, `${open.size} open, ${plural(alerts.length, "alert")} in all${without}`);
    fill(
      this.list,
      wanted.length
        ? wanted.map((each) => {
            const card = alertCard(each, { end: endOf(each) });
            card.classList.toggle("open", open.has(each.id));
            card.classList.toggle("marked", each.id === this.marked);
            return card;
          })
        : h("p", { class: "empty" }, "No alert."),
    );
    this.list.querySelector(".marked")?.scrollIntoView({ block: "center" });
  }
}

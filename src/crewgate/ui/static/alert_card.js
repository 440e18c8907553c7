/** One alert: how urgent it is, what has happened, what to do, and the branch that it is about. */

import { h } from "./dom.js";
import { withCode } from "./elements.js";
import { addressOf } from "./router.js";
import { momentText, printable, shortName, textFor } from "./text.js";

const MARKS = { critical: "▲", warning: "◆", info: "●" };
const STATES = { begins: "goes on", over: "over", once: "" };

/**
 * The branch that an alert is about, or "".
 * @param {any} alert
 */
export function branchOf(alert) {
  const branch = alert.data?.branch;
  return alert.crew && typeof branch === "string" ? branch : "";
}

/**
 * @param {any} alert
 * @param {{isLink?: boolean, end?: string}} [options] `isLink`: with a link to its branch. `end`: what
 *   has become of its branch; then there is nothing to do next.
 */
export function alertCard(alert, { isLink = true, end = "" } = {}) {
  const branch = branchOf(alert);
  const severity = textFor(MARKS, alert.severity, "") ? alert.severity : "info";
  const lasts = end ? "" : textFor(STATES, alert.state, "");
  const at = Date.parse(alert.timestamp);
  return h(
    "article",
    { class: `alert ${severity}${end ? " settled" : ""}`, "data-id": alert.id },
    h(
      "p",
      { class: "kind" },
      h(
        "span",
        { class: "severity" },
        h("i", { "aria-hidden": "true" }, MARKS[severity]),
        ` ${severity}`,
      ),
      h("span", null, printable(alert.type)),
      lasts && h("span", { class: "lasts" }, lasts),
      h(
        "time",
        { datetime: Number.isFinite(at) ? new Date(at).toISOString() : null },
        momentText(at),
      ),
      h("bdi", null, shortName(alert.machine)),
    ),
    h("p", { class: "text" }, printable(alert.text)),
    end && h("p", { class: "branch-end" }, `The branch has ended: ${end}.`),
    alert.next &&
      !end &&
      h("p", { class: "next" }, h("b", null, "Next: "), withCode(printable(alert.next))),
    isLink &&
      branch &&
      h(
        "p",
        null,
        h(
          "a",
          {
            class: "to-branch",
            href: addressOf("branch", [alert.crew, branch], { alert: alert.id }),
          },
          "Show the branch",
        ),
      ),
  );
}

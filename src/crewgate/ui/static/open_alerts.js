/** Which alerts a person should look at: those that go on, and news, unless their branch has ended. */

import { branchOf } from "./alert_card.js";
import { stateText } from "./branch_facts.js";
import { keyOf } from "./tree_store.js";

const RECENT_MS = 3_600_000; // so long, an alert about one event is news

/** The branches of alerts that have ended, also if the tree has them no more. */
export class EndedBranches {
  constructor() {
    /** @type {Map<string, string>} what has become of them, by the id of the alert */
    this.ends = new Map();
  }

  /**
   * Looks up what has become of the branches of alerts.
   * @param {any[]} alerts
   * @param {import("./tree_store.js").TreeStore} store
   */
  update(alerts, store) {
    const before = this.ends;
    this.ends = new Map();
    for (const alert of alerts) {
      if (!isAboutBranch(alert)) continue;
      const node = store.find(alert.crew, branchOf(alert));
      const end = node
        ? !node.isLive && stateText(node.row)
        : before.get(alert.id) || (store.isComplete && "no machine knows it any more");
      if (end) this.ends.set(alert.id, end);
    }
  }

  /**
   * What has become of the branch of an alert, in words; "" if it may still be live.
   * @param {any} alert
   */
  endOf(alert) {
    return this.ends.get(alert.id) ?? "";
  }
}

/**
 * Alerts that go on, and those of the last hour about one event, in their order: newest first. Of a
 * branch that has ended, only the news that it has ended.
 * @param {any[]} alerts the newest first
 * @param {EndedBranches} ended
 */
export function openAlerts(alerts, ended) {
  const seen = new Set();
  const since = Date.now() - RECENT_MS;
  return alerts.filter((each) => {
    if (each.state === "once") {
      if (each.severity === "info" || Date.parse(each.timestamp) <= since) return false;
    } else {
      const subject = keyOf(each.type, each.subject);
      if (seen.has(subject)) return false;
      seen.add(subject);
      if (each.state !== "begins" || each.severity === "info") return false;
    }
    return !ended.endOf(each) || isEnd(each);
  });
}

/** A quarantine names a branch too, and outlasts it. */
function isAboutBranch(alert) {
  const branch = branchOf(alert);
  return branch !== "" && alert.subject === `branch/${branch}`;
}

/** Whether an alert says that its branch has ended, by whatever has ended it. */
function isEnd({ type, data }) {
  return (
    type === "branch-ended" || (type === "rule" && data.step === "end" && data.mode === "enforce")
  );
}

/** What the amounts and the state of a branch mean, in numbers and words. Amounts: micro-credits. */

import { creditsText, percentText, printable, shortName, textFor } from "./text.js";

const STATE_TEXTS = {
  live: "live",
  exhausted: "used up",
  expired: "expired",
  "token-revoked": "token revoked",
  revoked: "revoked",
  closed: "closed",
};
// A branch in one of these states can spend nothing any more.
const ENDED = new Set(["revoked", "closed"]);
const HIGH_SHARE = 0.9; // of a quota: a person should look

/** @typedef {import("./tree_store.js").TreeNode} TreeNode */

/** @param {any} row */
export function stateText(row) {
  return textFor(STATE_TEXTS, row.state, printable(row.state));
}

/**
 * What is spent of a quota. `total` is 0 if no machine knows a quota; `share` is 1 for all of it.
 * @param {any} row
 */
export function budgetOf(row) {
  const total = row.quota * row.quotas;
  const used = row.spent + row.burned;
  const over = Math.max(row.overrun, total ? used - total : 0, 0);
  return {
    total,
    used,
    over,
    spent: row.spent,
    burned: row.burned,
    reserved: row.reserved,
    left: row.left,
    share: total ? (used + row.reserved) / total : 0,
  };
}

/**
 * What is spent and left in a sentence, for people who do not see the bar.
 * @param {any} row
 */
export function budgetText(row) {
  const { total, reserved, burned, left, over } = budgetOf(row);
  const parts = [
    total
      ? `${creditsText(row.spent)} of ${creditsText(total)} credits spent`
      : `${creditsText(row.spent)} credits spent`,
  ];
  if (row.quotas > 1) parts.push(`${creditsText(row.quota)} on each machine`);
  if (reserved) parts.push(`${creditsText(reserved)} reserved`);
  if (burned) parts.push(`${creditsText(burned)} burned`);
  if (row.leased) parts.push(`${creditsText(row.leased)} leased`);
  if (left >= 0 && row.branch) parts.push(`${creditsText(left)} left${endText(row)}`);
  if (row.left_hour >= 0) parts.push(`${creditsText(row.left_hour)} left this hour`);
  if (row.left_day >= 0) parts.push(`${creditsText(row.left_day)} left today`);
  if (over) parts.push(`overdrawn by ${creditsText(over)}`);
  return parts.join(", ");
}

/**
 * Why nothing is left of a branch that has not spent all, such as ", revoked"; else "".
 * @param {any} row
 */
export function endText(row) {
  return row.left === 0 && ENDED.has(row.state) ? `, ${stateText(row)}` : "";
}

/**
 * What a rule has done, or would have; as `crewgate tree` says it. "" if none has.
 * @param {any} row
 */
export function ruleText(row) {
  if (!row.rule_step) return "";
  const step = printable(row.rule_step);
  return `rule ${shortName(row.rule)} ${isStepDone(row) ? `${step}s` : `would ${step}`}`;
}

/**
 * The same for a list, without the name of the rule; nothing of a branch that has ended.
 * @param {TreeNode} node
 */
export function stepText({ row, isLive }) {
  if (!row.rule_step || !isLive) return "";
  const step = printable(row.rule_step);
  return isStepDone(row) ? `rule ${step}s` : `rule would ${step}`;
}

/**
 * A rule that observes only warns, and of several branches above each other it ends the lowest.
 * @param {any} row
 */
export function isStepDone(row) {
  if (row.rule_step === "warn") return true;
  const hasEnded = row.rule_step !== "end" || row.state === "revoked" || row.state === "closed";
  return row.rule_mode === "enforce" && hasEnded;
}

/** @param {any} row */
export function roleText(row) {
  if (!row.branch) return shortName(row.crew);
  return row.role ? shortName(row.role) : row.parent ? "ancestor" : "run";
}

export const NO_PERSON = Object.freeze({
  text: "–",
  why: "No person stands behind it: its orchestrator began the run by itself.",
});

/**
 * On whose behalf a run or a branch acts; "" for nobody, or if no machine knows. Then the subject is
 * the orchestrator.
 * @param {any} row
 */
export function personOf(row) {
  return row.subject === row.orchestrator ? "" : row.subject;
}

/**
 * The same for a list. `why` is a tip.
 * @param {any} row
 */
export function personText(row) {
  const person = personOf(row);
  if (person || !row.subject) return { text: shortName(person), why: "" };
  return NO_PERSON;
}

/**
 * Why a person should look at a live branch; the first reason is the most urgent.
 * @param {TreeNode} node
 */
export function attentionOf(node) {
  const { row } = node;
  const reasons = [];
  if (!node.isLive && !node.isCrew) return reasons;
  const { over, share, total } = budgetOf(row);
  if (over) reasons.push(`overdrawn by ${creditsText(over)} credits`);
  if (row.rule_step) reasons.push(ruleText(row));
  if (row.level) reasons.push(levelText(row));
  if (row.state === "exhausted") reasons.push("no credits are left");
  else if (total && share >= HIGH_SHARE) reasons.push(`${percentText(share)} of the quota is used`);
  if (row.state === "token-revoked") reasons.push("its newest token is revoked");
  return reasons;
}

/**
 * What the minting watch has done to the orchestrator.
 * @param {any} row
 */
export function levelText(row) {
  if (!row.level) return "";
  return row.level === "throttle" ? "orchestrator throttled" : "orchestrator quarantined";
}

/**
 * When the credits end at the present rate, in seconds; -1 if they do not.
 * @param {any} row
 */
export function secondsToEmpty(row) {
  if (row.left < 0 || row.spent_rate <= 0) return -1;
  return (row.left / row.spent_rate) * 60;
}

/** Makes the lines of the tree: which rows a filter shows, in which order, and how deep each is. */

import { attentionOf, budgetOf, personText } from "./branch_facts.js";

const JUST_ENDED_MS = 5 * 60_000; // the title of "Only live" says it

/** @typedef {import("./tree_store.js").TreeNode} TreeNode */
/** @typedef {{node: TreeNode, level: number, place: number, size: number, isOpen: boolean | null, folded: number}} TreeLine */
/** @typedef {"tree" | "rate" | "share"} Order */

/**
 * What a person has chosen to see. An empty text filters nothing.
 * @typedef {{order: Order, text: string, crew: string, role: string, subject: string, state: string,
 *   onlyLive: boolean, onlyAttention: boolean}} Choices
 */

/** @type {Readonly<Choices>} */
export const FIRST_CHOICES = Object.freeze({
  order: "tree",
  text: "",
  crew: "",
  role: "",
  subject: "",
  state: "",
  onlyLive: true,
  onlyAttention: false,
});

/** @type {Record<Order, (one: TreeNode, other: TreeNode) => number>} */
const COMPARES = {
  tree: byName,
  rate: (one, other) => other.row.spent_rate - one.row.spent_rate || byName(one, other),
  share: (one, other) => shareOf(other) - shareOf(one) || byName(one, other),
};

/**
 * Returns the lines. Rows that the filter shows keep those above them, so that each has its path.
 * @param {{nodes: Iterable<TreeNode>, tops: Iterable<TreeNode>}} store
 * @param {Choices} choices
 * @param {Set<string>} folded keys of the rows whose branches are hidden
 * @param {number} now ms of `performance.now`
 * @returns {{lines: TreeLine[], matches: number}} `matches` counts branches, without those above
 */
export function linesOf(store, choices, folded, now) {
  const { shown, matches } = shownOf(store.nodes, choices, now);
  const compare = COMPARES[choices.order];
  /** @type {TreeLine[]} */
  const lines = [];
  /** @type {TreeLine[]} */
  const waiting = [];
  const push = (nodes, level) => {
    const found = [];
    for (const node of nodes) if (shown.has(node)) found.push(node);
    if (found.length > 1) found.sort(compare);
    for (let at = found.length - 1; at >= 0; at -= 1) {
      const [node, place, size] = [found[at], at + 1, found.length];
      waiting.push({ node, level, place, size, isOpen: null, folded: 0 });
    }
    return found.length > 0;
  };
  push(store.tops, 1);
  for (let next; (next = waiting.pop());) {
    if (next.node.below.size) {
      if (folded.has(next.node.key)) next.folded = countShown(next.node, shown);
      else next.isOpen = push(next.node.below, next.level + 1) || null;
      if (next.folded) next.isOpen = false;
    }
    lines.push(next);
  }
  return { lines, matches };
}

function shownOf(nodes, choices, now) {
  const matcher = matcherOf(choices, now);
  const shown = new Set();
  let matches = 0;
  for (const node of nodes) {
    if (node.isCrew || !matcher(node)) continue;
    matches += 1;
    for (let each = node; each && !shown.has(each); each = each.above) shown.add(each);
  }
  return { shown, matches };
}

/**
 * Returns whether a branch is one that a person has asked for.
 * @param {Choices} choices
 * @param {number} now
 * @returns {(node: TreeNode) => boolean}
 */
function matcherOf(choices, now) {
  const text = choices.text.trim().toLowerCase();
  const subject = choices.subject.trim().toLowerCase();
  return (node) => {
    const { row } = node;
    if (choices.crew && row.crew !== choices.crew) return false;
    if (choices.role && row.role !== choices.role) return false;
    if (choices.state && row.state !== choices.state) return false;
    if (subject && !personText(row).text.toLowerCase().includes(subject)) return false;
    if (choices.onlyLive && !choices.state && !node.isLive) {
      if (!node.endedAt || now - node.endedAt > JUST_ENDED_MS) return false;
    }
    if (choices.onlyAttention && !attentionOf(node).length) return false;
    return !text || searched(node).includes(text);
  };
}

function searched(node) {
  const { crew, branch, role, subject, orchestrator, process, grant, state, rule } = node.row;
  const texts = [crew, branch, role, subject, orchestrator, process, grant, state, rule];
  return [...texts, ...node.machines].join("\n").toLowerCase();
}

function countShown(node, shown) {
  let count = 0;
  const waiting = [...node.below];
  for (let each; (each = waiting.pop());) {
    if (!shown.has(each)) continue;
    count += 1;
    waiting.push(...each.below);
  }
  return count;
}

function byName(one, other) {
  return (
    compareTexts(one.row.crew, other.row.crew) ||
    compareTexts(one.row.role, other.row.role) ||
    compareTexts(one.row.branch, other.row.branch)
  );
}

function compareTexts(one, other) {
  return one < other ? -1 : one > other ? 1 : 0;
}

function shareOf(node) {
  if (!node.isCrew) return budgetOf(node.row).share;
  let most = 0; // a crew has no quota: it stands where its fullest run does
  for (const run of node.below) most = Math.max(most, budgetOf(run.row).share);
  return most;
}

/**
 * The tree of branches as the stream reports it: rows by number and by name, each below its parent.
 * A reset comes in pieces; until the last of them, a tree that was shown before stays.
 */

/** The members of a row that the stream leaves out when they have these values. */
const DEFAULTS = Object.freeze({
  crew: "",
  branch: "",
  parent: "",
  state: "live",
  orchestrator: "",
  role: "",
  subject: "",
  process: "",
  grant: "",
  quota: 0,
  quotas: 1,
  spent: 0,
  reserved: 0,
  burned: 0,
  left: -1,
  left_hour: -1,
  left_day: -1,
  leased: 0,
  overrun: 0,
  calls: -1,
  spent_rate: 0,
  rule: "",
  rule_step: "",
  rule_mode: "",
  level: "",
  machines: Object.freeze([]),
});
const ENDED = new Set(["revoked", "closed", "expired"]);
// Members that decide where a row stands, and whether a filter shows it.
const PLACING = ["parent", "state", "role", "subject", "orchestrator", "rule_step", "level"];

/**
 * A branch, or a crew if `row.branch` is empty. `version` grows with each change, and `endedAt` is
 * when the page saw it end (ms of `performance.now`; 0 if it had ended before, or lives).
 */
export class TreeNode {
  /** @param {any} row */
  constructor(row) {
    this.row = Object.assign({ ...DEFAULTS }, row);
    this.key = keyOf(this.row.crew, this.row.branch);
    /** @type {TreeNode | null} */
    this.above = null;
    /** @type {Set<TreeNode>} */
    this.below = new Set();
    this.waitsFor = ""; // the name of a parent that has not come yet
    this.version = 1;
    this.endedAt = 0;
  }

  get isCrew() {
    return this.row.branch === "";
  }

  get isLive() {
    return !ENDED.has(this.row.state);
  }

  /** @returns {string[]} the machines that know it */
  get machines() {
    return this.row.machines.map((each) => (typeof each === "string" ? each : each.machine));
  }
}

/**
 * @param {string} crew
 * @param {string} branch
 */
export function keyOf(crew, branch) {
  return `${crew}\n${branch}`;
}

class Tree {
  constructor() {
    /** @type {Map<number, TreeNode>} */
    this.byNumber = new Map();
    /** @type {Map<string, TreeNode>} */
    this.byKey = new Map();
    /** @type {Set<TreeNode>} */
    this.tops = new Set();
    /** @type {Map<string, Set<TreeNode>>} rows whose parent has not come yet, by its name */
    this.waiting = new Map();
  }

  /** Takes a row; returns whether rows have moved, come or gone. */
  take(row, now) {
    const known = this.byNumber.get(row.n);
    if (!known) {
      const node = new TreeNode(row);
      this.byNumber.set(row.n, node);
      this.byKey.set(node.key, node);
      this.place(node);
      for (const child of [...(this.waiting.get(node.key) ?? [])]) this.place(child);
      return true;
    }
    const wasLive = known.isLive;
    const isMoved = PLACING.some((name) => name in row && row[name] !== known.row[name]);
    Object.assign(known.row, row);
    known.version += 1;
    if (known.isLive) known.endedAt = 0;
    else if (wasLive) known.endedAt = now;
    if ("parent" in row) this.place(known);
    return isMoved;
  }

  /** Puts a row below its parent, or below its crew until the parent comes. */
  place(node) {
    (node.above?.below ?? this.tops).delete(node);
    this.stopWaiting(node);
    const { crew, branch, parent } = node.row;
    const wanted = branch ? keyOf(crew, parent) : "";
    let above = branch ? (this.byKey.get(wanted) ?? null) : null;
    if (branch && !above) {
      this.waiting.set(wanted, (this.waiting.get(wanted) ?? new Set()).add(node));
      node.waitsFor = wanted;
      above = this.byKey.get(keyOf(crew, "")) ?? null;
    }
    for (let each = above; each; each = each.above) {
      if (each === node) above = this.byKey.get(keyOf(crew, "")) ?? null; // a loop is no tree
    }
    node.above = above === node ? null : above;
    (node.above?.below ?? this.tops).add(node);
  }

  /** Has a row wait for no parent any more. */
  stopWaiting(node) {
    const others = this.waiting.get(node.waitsFor);
    others?.delete(node);
    if (!others?.size) this.waiting.delete(node.waitsFor);
    node.waitsFor = "";
  }

  drop(number) {
    const node = this.byNumber.get(number);
    if (!node) return false;
    this.byNumber.delete(number);
    this.stopWaiting(node);
    if (this.byKey.get(node.key) === node) this.byKey.delete(node.key);
    (node.above?.below ?? this.tops).delete(node);
    for (const child of [...node.below]) this.place(child);
    return true;
  }
}

export class TreeStore {
  constructor() {
    this.tree = new Tree();
    /** @type {Tree | null} the one that a reset is filling */
    this.next = null;
    this.isWhole = false;
    this.at = 0; // ms since 1970, by the clock of the server
    this.freshAt = 0; // the same, when a machine last answered
    this.machines = [];
    this.notAsked = [];
    this.leftOut = 0;
    this.structure = 1; // grows when rows come, go or move
    this.version = 1; // grows with each event
  }

  /**
   * Takes an event `tree`.
   * @param {any} event
   */
  take(event) {
    if (event.reset) this.next = new Tree();
    const tree = this.next ?? this.tree;
    let isMoved = false;
    const now = performance.now();
    for (const row of event.rows) isMoved = tree.take(row, now) || isMoved;
    for (const number of event.gone) isMoved = tree.drop(number) || isMoved;
    Object.assign(this, { at: event.at, machines: event.machines });
    Object.assign(this, { notAsked: event.not_asked, leftOut: event.left_out });
    if (!this.hasNoAnswer) this.freshAt = event.at;
    const isFirst = !this.isWhole;
    if (this.next && (isFirst || !event.more)) {
      this.keepEnds(this.tree, this.next, now);
      this.tree = this.next;
      isMoved = true;
    }
    if (!event.more) {
      this.next = null;
      this.isWhole = true;
    }
    if (tree === this.tree && isMoved) this.structure += 1;
    this.version += 1;
  }

  /** Whether no machine has answered: the rows are old ones. */
  get hasNoAnswer() {
    return !this.machines.length && this.notAsked.length > 0;
  }

  /** Whether a branch that is not here is known to no machine. */
  get isComplete() {
    const isAnswered = this.machines.length > 0 && !this.notAsked.length;
    return this.isWhole && !this.next && isAnswered && !this.leftOut;
  }

  /** After a reset, what ended while the page looked still counts as just ended. */
  keepEnds(before, after, now) {
    if (before === after) return;
    for (const [key, node] of after.byKey) {
      const old = before.byKey.get(key);
      if (!old) continue;
      node.version += old.version;
      if (!node.isLive) node.endedAt = old.isLive ? now : old.endedAt;
    }
  }

  /**
   * @param {string} crew
   * @param {string} branch
   */
  find(crew, branch) {
    return this.tree.byKey.get(keyOf(crew, branch));
  }

  /** @returns {Iterable<TreeNode>} */
  get nodes() {
    return this.tree.byNumber.values();
  }

  /** @returns {Iterable<TreeNode>} */
  get tops() {
    return this.tree.tops;
  }
}

/**
 * Counts what is below a branch.
 * @param {TreeNode} node
 */
export function countBelow(node) {
  let all = 0;
  let live = 0;
  const waiting = [...node.below];
  for (let each; (each = waiting.pop());) {
    all += 1;
    live += each.isLive ? 1 : 0;
    waiting.push(...each.below);
  }
  return { all, live };
}

/**
 * The branches above, the crew first.
 * @param {TreeNode} node
 */
export function pathOf(node) {
  const path = [];
  for (let each = node.above; each; each = each.above) path.unshift(each);
  return path;
}

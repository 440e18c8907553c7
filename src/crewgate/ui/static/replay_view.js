/**
 * Shows the steps of a run, one at a time: the branches as they were, and the record of the step.
 * It makes elements and texts only, so no name can become code. The live page imports this module,
 * and an exported replay has it inline, so it imports nothing.
 */

const SPEED_MS = 600; // between two steps while it plays
const MARKS_MAX = 2000; // places of the strip; more steps than that share one
// Controls, formats (bidirectional overrides, zero width), and separators of lines.
const ACTIVE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
const ORDINARY = ["call", "grant", "open"]; // marks of steps that are no incident
const HEADINGS = ["Branch", "Role", "State", "Calls", "Refused", "Open", "Spent", "Quota"];
const FIRST_NUMBER = 3; // of the headings: numbers stand at the right
const BEGINNINGS = [8, 13, 18, 23]; // of an id of 36 characters, each up to a hyphen

/** @typedef {{file: string, offset: number, cover: string, text: string}} Line */
/** @typedef {Record<string, any>} Snapshot what a branch is; members with their defaults are missing */
/** @typedef {{branch: string, parent: string, role: string}} Branch */
/**
 * @typedef {{moment_us: number, machine: number, place: number, mark: string, branch: number,
 *   words: string, changes: [number, Snapshot][]}} Step
 */
/** @typedef {{branches: Branch[], steps: Step[], machines: {machine: string, lines: Line[]}[]}} Replay */

/**
 * Returns an element with a class, attributes and children.
 * @param {string} tag
 * @param {string} className
 * @param {Record<string, string>} attributes
 * @param {...(Node | string)} children
 * @returns {any} callers know its kind by the tag
 */
export function element(tag, className, attributes, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/**
 * Returns a text of a record with the characters escaped that would change how it looks.
 * @param {string} text
 */
export function plain(text) {
  return text.replace(ACTIVE, (each) => `\\u{${each.codePointAt(0)?.toString(16)}}`);
}

/**
 * Returns micro-credits as credits, exactly, with at least two decimals.
 * @param {number} micro
 */
export function credits(micro) {
  const rest = String(micro % 1e6).padStart(6, "0").replace(/0{1,4}$/, "");
  return `${Math.floor(micro / 1e6)}.${rest}`;
}

/**
 * Returns a moment in microseconds since 1970 as a time in UTC to the millisecond.
 * @param {number} us
 */
export function timeText(us) {
  return new Date(Math.floor(us / 1000)).toISOString().replace("T", " ").replace("Z", "");
}

/**
 * Says which checkpoint covers a line.
 * @param {string} cover
 */
export function coverText(cover) {
  if (cover === "unsigned") return "no checkpoint yet: it is newer";
  if (cover === "changed") return "NOT as it was signed: the file has changed";
  return `checkpoint ${cover}`;
}

/**
 * Returns how much of an id is shown, so that no two branches look the same.
 * @param {Branch[]} branches
 */
export function idLength(branches) {
  /** @param {number} length */
  const isEnough = (length) =>
    new Set(branches.map((each) => each.branch.slice(0, length))).size === branches.length;
  return BEGINNINGS.find(isEnough) ?? 36;
}

/** What all branches are after each step, found by bisection. */
export class Snapshots {
  /**
   * @param {Step[]} steps
   * @param {number} count of branches
   */
  constructor(steps, count) {
    /** @type {[number, Snapshot][][]} */
    this.changes = Array.from({ length: count }, () => []);
    steps.forEach((step, at) => {
      for (const [branch, snapshot] of step.changes) this.changes[branch].push([at, snapshot]);
    });
  }

  /**
   * Returns what a branch is after step `at`; null if no step has named it yet.
   * @param {number} branch
   * @param {number} at
   */
  of(branch, at) {
    const found = this.changes[branch];
    let low = 0;
    let high = found.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (found[middle][0] <= at) low = middle + 1;
      else high = middle;
    }
    return low ? found[low - 1][1] : null;
  }
}

/**
 * Returns the numbers of the branches, parents before children, each with its depth.
 * @param {Branch[]} branches
 * @returns {[number, number][]}
 */
export function inOrder(branches) {
  const numbers = new Map(branches.map((each, number) => [each.branch, number]));
  /** @type {number[][]} */
  const below = branches.map(() => []);
  /** @type {number[]} */
  const tops = [];
  branches.forEach((each, number) => {
    const parent = numbers.get(each.parent);
    if (parent === undefined || parent === number) tops.push(number);
    else below[parent].push(number);
  });
  /** @type {[number, number][]} */
  const found = [];
  /** @type {[number, number][]} */
  const waiting = tops.reverse().map((number) => [number, 0]);
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const [number, depth] = next;
    found.push([number, depth]);
    for (const child of below[number].slice().reverse()) waiting.push([child, depth + 1]);
  }
  return found;
}

/** The controls, the tree of branches and the record of one step. */
export class ReplayPlayer {
  /**
   * @param {Replay} replay
   * @param {(step: number) => void} onStep gets the number of each step that is shown
   */
  constructor(replay, onStep) {
    this.replay = replay;
    this.onStep = onStep;
    this.snapshots = new Snapshots(replay.steps, replay.branches.length);
    this.order = inOrder(replay.branches);
    this.idLength = idLength(replay.branches);
    this.last = replay.steps.length - 1;
    this.now = -1;
    this.timer = 0;
    this.slider = element("input", "replay-slider", {
      type: "range", min: "0", max: String(Math.max(this.last, 0)), "aria-label": "Step",
    });
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    this.play = this.button("Play", "Space", () => this.toggle());
    this.cursor = element("span", "replay-cursor", {});
    this.strip = this.marks();
    this.caption = element("p", "replay-caption", {});
    this.tree = element("div", "replay-tree replay-card", { tabindex: "0", role: "region", "aria-label": "Branches" });
    this.record = element("div", "replay-details replay-card", {});
    this.element = element("div", "replay-player", {}, this.bar(), this.slider, this.strip, this.caption,
      element("div", "replay-columns", {}, this.tree, this.record));
    /** @param {KeyboardEvent} event */
    this.onKey = (event) => this.press(event);
    document.addEventListener("keydown", this.onKey);
    if (this.last < 0) this.caption.textContent = "The audit has no line of this run in this time.";
  }

  bar() {
    return element("div", "replay-bar", {},
      this.button("First", "Home", () => this.go(0)),
      this.button("Back", "Left arrow", () => this.go(this.now - 1)),
      this.play,
      this.button("Forward", "Right arrow", () => this.go(this.now + 1)),
      this.button("Last", "End", () => this.go(this.last)),
      this.button("Next mark", "n", () => this.go(this.nextMark())));
  }

  /**
   * @param {string} text
   * @param {string} key that does the same
   * @param {() => void} act
   */
  button(text, key, act) {
    const made = element("button", "", { type: "button", title: `Key: ${key}` }, text);
    made.addEventListener("click", act);
    return made;
  }

  /** Makes the strip of the steps that a person looks for. */
  marks() {
    const root = element("div", "replay-strip", { "aria-hidden": "true" }, this.cursor);
    const seen = new Set();
    this.replay.steps.forEach((step, at) => {
      const slot = `${Math.floor(this.share(at) * MARKS_MAX)} ${step.mark}`;
      if (ORDINARY.includes(step.mark) || seen.has(slot)) return;
      seen.add(slot);
      const mark = element("span", `replay-mark replay-mark-${step.mark}`, { title: step.words });
      mark.style.left = `${this.share(at) * 100}%`;
      mark.addEventListener("click", () => this.go(at));
      root.append(mark);
    });
    return root;
  }

  /**
   * Returns the place of a step between the first (0) and the last (1).
   * @param {number} at
   */
  share(at) {
    return this.last > 0 ? at / this.last : 0;
  }

  /** Returns the next step that a person looks for, or the last one. */
  nextMark() {
    for (let at = this.now + 1; at <= this.last; at += 1) {
      if (!ORDINARY.includes(this.replay.steps[at].mark)) return at;
    }
    return this.last;
  }

  /**
   * Returns the last step at or before a moment; the first one if all are later.
   * @param {number} us since 1970
   */
  stepAt(us) {
    let found = 0;
    this.replay.steps.forEach((step, at) => {
      if (step.moment_us <= us) found = at;
    });
    return found;
  }

  /**
   * Shows a step.
   * @param {number} wanted
   */
  go(wanted) {
    const at = Math.max(0, Math.min(this.last, wanted));
    if (at === this.now || this.last < 0) return;
    this.now = at;
    const step = this.replay.steps[at];
    const { machine } = this.replay.machines[step.machine];
    const where = machine ? ` · ${plain(machine)}` : "";
    this.slider.value = String(at);
    this.cursor.style.left = `${this.share(at) * 100}%`;
    this.caption.textContent =
      `Step ${at + 1} of ${this.last + 1} · ${timeText(step.moment_us)} UTC${where} · ${step.words}`;
    this.slider.setAttribute("aria-valuetext", this.caption.textContent);
    this.tree.replaceChildren(this.branchTable(at));
    this.record.replaceChildren(this.recordList(step));
    if (at === this.last) this.pause();
    this.onStep(at);
  }

  toggle() {
    if (this.timer) {
      this.pause();
      return;
    }
    if (this.now === this.last) this.go(0);
    this.play.textContent = "Pause";
    this.timer = setInterval(() => this.go(this.now + 1), SPEED_MS);
  }

  pause() {
    clearInterval(this.timer);
    this.timer = 0;
    this.play.textContent = "Play";
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    /** @type {Map<string, () => void>} */
    const acts = new Map(Object.entries({
      ArrowLeft: () => this.go(this.now - 1), ArrowRight: () => this.go(this.now + 1),
      Home: () => this.go(0), End: () => this.go(this.last), n: () => this.go(this.nextMark()),
      " ": () => this.toggle(),
    }));
    const act = acts.get(event.key);
    const isTyping = event.target instanceof Element
      && event.target.closest("input:not(.replay-slider), textarea, select, button, a, summary, dialog");
    if (!act || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }

  close() {
    this.pause();
    document.removeEventListener("keydown", this.onKey);
  }

  /**
   * Returns the branches as they were after a step.
   * @param {number} at
   */
  branchTable(at) {
    const head = element("tr", "", {},
      ...HEADINGS.map((text, at) =>
        element("th", at < FIRST_NUMBER ? "" : "replay-number", { scope: "col" }, text)));
    const body = element("tbody", "", {});
    for (const [number, depth] of this.order) {
      const snapshot = this.snapshots.of(number, at);
      if (snapshot) body.append(this.branchRow(number, depth, snapshot, this.replay.steps[at].branch));
    }
    return element("table", "replay-branches", {}, element("thead", "", {}, head), body);
  }

  /**
   * @param {number} number
   * @param {number} depth
   * @param {Snapshot} snapshot
   * @param {number} here the branch of the step
   */
  branchRow(number, depth, snapshot, here) {
    const { branch, role } = this.replay.branches[number];
    const state = snapshot.state ?? "live";
    const would = snapshot.rule_mode === "observe" && snapshot.rule_step !== "warn" ? "would " : "";
    const rule = snapshot.rule ? `, rule ${snapshot.rule}: ${would}${snapshot.rule_step}` : "";
    const burned = snapshot.burned ? ` (${credits(snapshot.burned)} burned)` : "";
    const more = this.idLength < branch.length ? "…" : "";
    /** @param {string} text */
    const figure = (text) => element("td", "replay-number", {}, text);
    return element("tr", number === here ? "replay-here" : "", {},
      element("th", `replay-branch replay-depth-${Math.min(depth, 8)}`, { scope: "row", title: plain(branch) },
        plain(branch.slice(0, this.idLength)) + more),
      element("td", "", {}, plain(role)),
      element("td", `replay-state-${state}`, {}, plain(state + rule)),
      ...["calls", "refused", "open"].map((name) => figure(String(snapshot[name] ?? 0))),
      figure(credits(snapshot.spent ?? 0) + burned),
      figure(snapshot.quota ? credits(snapshot.quota) : ""));
  }

  /**
   * Returns the members of the record of a step, and where its line stands.
   * @param {Step} step
   */
  recordList(step) {
    const { file, offset, cover, text } = this.replay.machines[step.machine].lines[step.place];
    const list = element("dl", "replay-record", {});
    /**
     * @param {string} name
     * @param {string} value
     */
    const add = (name, value) => {
      list.append(element("dt", "", {}, plain(name)), element("dd", "", {}, plain(value)));
    };
    for (const [name, value] of Object.entries(JSON.parse(text))) {
      add(name, typeof value === "string" ? value : JSON.stringify(value));
    }
    add("stands in", `${file}, byte ${offset}`);
    if (cover) add("signed by", coverText(cover));
    return list;
  }
}

// Shows the steps of a run, one at a time: the branches as they were, and the record of the step.
// It makes elements and texts only, so no name of a branch or tool can become code. The live page
// uses this module, and an exported replay has it inline.

const SPEED_MS = 600; // between two steps while it plays
const MARKS_MAX = 2000; // elements of the strip; more steps than that share one

/** Returns an element with a class, attributes and children (elements or texts). */
export function element(tag, className, attributes, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Controls, formats (bidirectional overrides, zero width), and separators of lines.
const ACTIVE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

/** Returns a text of a record with the characters escaped that would change how it looks. */
export function plain(text) {
  return text.replace(ACTIVE, (each) => `\\u{${each.codePointAt(0).toString(16)}}`);
}

/** Returns micro-credits as credits with at least two decimals. */
export function credits(micro) {
  const whole = Math.floor(micro / 1e6);
  const rest = String(micro % 1e6).padStart(6, "0").replace(/0{1,4}$/, "");
  return `${whole}.${rest}`;
}

/** Returns a moment in microseconds since 1970 as a time in UTC to the millisecond. */
export function time(us) {
  return new Date(Math.floor(us / 1000)).toISOString().replace("T", " ").replace("Z", "");
}

/** The states of all branches at each step, found by bisection. */
export class Moments {
  constructor(steps, count) {
    this.changes = Array.from({ length: count }, () => []);
    steps.forEach((step, at) => {
      for (const [branch, moment] of step.changes) this.changes[branch].push([at, moment]);
    });
  }

  /** Returns what a branch is after step `at`; null if no step has named it yet. */
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

/** Returns the numbers of the branches, parents before children, each with its depth. */
export function inOrder(branches) {
  const numbers = new Map(branches.map((each, number) => [each.branch, number]));
  const below = branches.map(() => []);
  const tops = [];
  branches.forEach((each, number) => {
    const parent = numbers.get(each.parent);
    if (parent === undefined || parent === number) tops.push(number);
    else below[parent].push(number);
  });
  const found = [];
  const waiting = tops.reverse().map((number) => [number, 0]);
  while (waiting.length) {
    const [number, depth] = waiting.pop();
    found.push([number, depth]);
    for (const child of below[number].slice().reverse()) waiting.push([child, depth + 1]);
  }
  return found;
}

function stateWords(moment) {
  const words = [moment.state || "live"];
  if (moment.rule) {
    const would = moment.rule_mode === "observe" && moment.rule_step !== "warn" ? "would " : "";
    words.push(`rule ${moment.rule}: ${would}${moment.rule_step}`);
  }
  return words.join(", ");
}

const HEADINGS = ["branch", "role", "state", "calls", "refused", "open", "spent", "may spend"];

/** Returns how much of an id is shown, so that no two branches look the same. */
export function idLength(branches) {
  const isEnough = (length) =>
    new Set(branches.map((each) => each.branch.slice(0, length))).size === branches.length;
  return [8, 13, 18, 23].find(isEnough) || 36;
}

function branchTable(replay, moments, order, at) {
  const length = idLength(replay.branches);
  const head = element("tr", "", {}, ...HEADINGS.map((text) => element("th", "", {}, text)));
  const body = element("tbody", "");
  for (const [number, depth] of order) {
    const moment = moments.of(number, at);
    if (!moment) continue;
    const branch = replay.branches[number];
    const isHere = replay.steps[at].branch === number;
    const name = element("td", `replay-branch replay-depth-${Math.min(depth, 8)}`, {
      title: branch.branch,
    }, `${branch.branch.slice(0, length)}${length < 36 ? "…" : ""}`);
    const spent = moment.burned
      ? `${credits(moment.spent)} (${credits(moment.burned)} burned)`
      : credits(moment.spent || 0);
    const numbersOf = [moment.calls || 0, moment.refused || 0, moment.open || 0];
    body.append(element("tr", isHere ? "replay-here" : "", {},
      name,
      element("td", "", {}, branch.role),
      element("td", `replay-state-${moment.state || "live"}`, {}, stateWords(moment)),
      ...numbersOf.map((count) => element("td", "replay-number", {}, String(count))),
      element("td", "replay-number", {}, spent),
      element("td", "replay-number", {}, moment.quota ? credits(moment.quota) : ""),
    ));
  }
  return element("table", "replay-branches", {}, element("thead", "", {}, head), body);
}

function recordList(replay, step) {
  const line = replay.machines[step.machine].lines[step.place];
  const list = element("dl", "replay-record");
  const add = (name, value) => list.append(element("dt", "", {}, plain(name)), element("dd", "", {}, plain(value)));
  let record = {};
  try {
    record = JSON.parse(line.text);
  } catch {
    add("line", line.text);
  }
  for (const [name, value] of Object.entries(record)) {
    add(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  add("stands in", `${line.file}, byte ${line.offset}`);
  if (line.cover) add("signed by", coverWords(line.cover));
  return list;
}

/** Says which checkpoint covers a line. */
export function coverWords(cover) {
  if (cover === "unsigned") return "no checkpoint yet: it is newer";
  if (cover === "changed") return "NOT as it was signed: the file has changed";
  return `checkpoint ${cover}`;
}

/**
 * Shows a replay in `root`, at step number `at`. `replay` has `branches`, `steps` and `machines`
 * (each with `machine` and `lines`). `onStep` gets the number of each step that is shown.
 * Returns an object with `go(step)` and `close()`.
 */
export function showReplay(root, replay, at, onStep) {
  const moments = new Moments(replay.steps, replay.branches.length);
  const order = inOrder(replay.branches);
  const last = replay.steps.length - 1;
  let now = -1;
  let timer = 0;

  const slider = element("input", "replay-slider", {
    type: "range", min: "0", max: String(Math.max(last, 0)), "aria-label": "step",
  });
  const caption = element("p", "replay-caption", { role: "status" });
  const play = element("button", "", { type: "button" }, "Play");
  const button = (text, label, act) => {
    const made = element("button", "", { type: "button", title: label }, text);
    made.addEventListener("click", act);
    return made;
  };
  const bar = element("div", "replay-bar", {},
    button("First", "Home", () => go(0)),
    button("Back", "left arrow", () => go(now - 1)),
    play,
    button("Forward", "right arrow", () => go(now + 1)),
    button("Last", "End", () => go(last)),
    button("Next mark", "n", () => go(nextMark())),
  );
  const strip = markStrip(replay, last, (step) => go(step));
  const tree = element("div", "replay-tree");
  const details = element("div", "replay-details");
  root.replaceChildren(bar, slider, strip.root, caption,
    element("div", "replay-columns", {}, tree, details));

  function nextMark() {
    for (let step = now + 1; step <= last; step += 1) {
      if (!["call", "grant", "open"].includes(replay.steps[step].mark)) return step;
    }
    return last;
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  }

  function go(wanted) {
    const step = Math.max(0, Math.min(last, wanted));
    if (step === now || last < 0) return;
    now = step;
    const shown = replay.steps[step];
    slider.value = String(step);
    const where = replay.machines[shown.machine].machine;
    caption.textContent =
      `Step ${step + 1} of ${last + 1} · ${time(shown.moment_us)} UTC` +
      `${where ? ` · ${where}` : ""} · ${shown.words}`;
    strip.show(step);
    tree.replaceChildren(branchTable(replay, moments, order, step));
    details.replaceChildren(recordList(replay, shown));
    if (step === last) stop();
    if (onStep) onStep(step);
  }

  play.addEventListener("click", () => {
    if (timer) {
      stop();
      return;
    }
    if (now === last) go(0);
    play.textContent = "Pause";
    timer = setInterval(() => go(now + 1), SPEED_MS);
  });
  slider.addEventListener("input", () => go(Number(slider.value)));

  const keys = {
    ArrowLeft: () => go(now - 1), ArrowRight: () => go(now + 1), Home: () => go(0),
    End: () => go(last), n: () => go(nextMark()), " ": () => play.click(),
  };
  function onKey(event) {
    const isTyping = event.target instanceof Element
      && event.target.closest("input:not(.replay-slider), textarea, select, button, a");
    const act = keys[event.key];
    if (!act || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }
  document.addEventListener("keydown", onKey);

  if (last < 0) caption.textContent = "The audit has no line of this run in this time.";
  else go(at);
  return {
    go,
    close() {
      stop();
      document.removeEventListener("keydown", onKey);
    },
  };
}

function markStrip(replay, last, go) {
  const cursor = element("span", "replay-cursor");
  const root = element("div", "replay-strip", { "aria-hidden": "true" }, cursor);
  const place = (step) => `${last > 0 ? (step / last) * 100 : 0}%`;
  const shown = new Set();
  replay.steps.forEach((step, at) => {
    if (["call", "grant", "open"].includes(step.mark)) return;
    const slot = Math.floor((at / Math.max(last, 1)) * MARKS_MAX);
    if (shown.has(`${slot} ${step.mark}`)) return;
    shown.add(`${slot} ${step.mark}`);
    const mark = element("span", `replay-mark replay-mark-${step.mark}`, { title: step.words });
    mark.style.left = place(at);
    mark.addEventListener("click", () => go(at));
    root.append(mark);
  });
  return {
    root,
    show(step) {
      cursor.style.left = place(step);
    },
  };
}

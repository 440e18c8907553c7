/** What the machines recorded about a branch: calls, grants, steps of rules, revocations. */

import { api } from "./api.js";
import { fill, h, setText } from "./dom.js";
import { spendChart } from "./spend_chart.js";
import {
  clockText,
  creditsText,
  listText,
  momentText,
  plural,
  printable,
  shortId,
  shortName,
} from "./text.js";

const LOOK_MS = 5_000; // between two looks whether it is time to ask the machines again
const AGAIN_MS = 10_000; // between two questions while the branch changes: each reads the audit
const AGAIN_TIMES = 20; // as long as the last answer took, at least
const QUIET_MS = 60_000; // between two questions while nothing of the branch changes
const TOOLS_MAX = 50; // of a grant, in the panel
const GRANTS_MAX = 5; // the newest say what holds; older ones are refreshed tokens
const CALL_LINES_MAX = 60;

export class BranchDetails {
  /**
   * @param {import("./app.js").App} app
   * @param {string} crew
   * @param {string} branch
   */
  constructor(app, crew, branch) {
    this.app = app;
    this.crew = crew;
    this.branch = branch;
    this.isOpen = true;
    this.asked = 0;
    this.askedAt = 0;
    this.tookMs = 0;
    this.version = NaN; // of the branch, when the machines were asked
    this.body = h("div", null, h("p", { class: "quiet-text" }, "Asking the machines …"));
    this.note = h("p", { class: "quiet-text", hidden: true });
    this.element = h("div", { class: "details" }, this.note, this.body);
    this.timer = setInterval(() => {
      const isSeen = !document.hidden && app.live.state === "live" && !this.isSelected;
      if (isSeen && this.isDue) this.load();
    }, LOOK_MS);
    this.load();
  }

  get branchVersion() {
    return this.app.store.find(this.crew, this.branch)?.version ?? 0;
  }

  /** Whether the machines may have more records, and their last answer was long enough ago. */
  get isDue() {
    const again = Math.max(AGAIN_MS, AGAIN_TIMES * this.tookMs);
    const wait = this.version === this.branchVersion ? Math.max(QUIET_MS, again) : again;
    return performance.now() - this.askedAt >= wait;
  }

  /** Whether a person has selected a text of it, perhaps to copy it. */
  get isSelected() {
    const selection = getSelection();
    return (
      selection !== null && !selection.isCollapsed && this.element.contains(selection.anchorNode)
    );
  }

  close() {
    this.isOpen = false;
    clearInterval(this.timer);
  }

  /** Asks for the records, and shows them. An answer that a later one has overtaken is dropped. */
  async load() {
    const asked = ++this.asked;
    this.askedAt = performance.now();
    this.version = this.branchVersion;
    const isLate = () => !this.isOpen || asked !== this.asked;
    try {
      const found = await api.get("/api/branch", { crew: this.crew, branch: this.branch });
      if (isLate()) return;
      this.tookMs = performance.now() - this.askedAt;
      this.note.hidden = !found.not_asked.length;
      setText(
        this.note,
        `Without the records of ${listText(found.not_asked.map((each) => each.machine))}, ` +
          "which did not answer.",
      );
      const { scrollTop } = this.element.parentElement ?? this.element;
      fill(this.body, sections(found));
      if (this.element.parentElement) this.element.parentElement.scrollTop = scrollTop;
    } catch (error) {
      if (isLate()) return;
      this.note.hidden = false;
      setText(
        this.note,
        `The records cannot be shown: ${printable(error.message) || "no answer"}.`,
      );
    }
  }
}

function sections(found) {
  return [
    section("Credits a minute", spendChart(found.spend)),
    section("Last calls", calls(found.calls.toReversed())),
    section("Rules", rules(found.rules.toReversed())),
    section("What it may use", grants(found.grants.toReversed())),
    section("Revocations", revocations(found.revocations.toReversed())),
  ];
}

function section(title, content) {
  return h("section", { class: "block" }, h("h3", null, title), content);
}

function nothing(text) {
  return h("p", { class: "quiet-text" }, text);
}

/** Calls, newest first; calls one after the other that are the same stand in one line. */
function calls(rows) {
  if (!rows.length) return nothing("No call is recorded.");
  const groups = [];
  for (const row of rows) {
    const last = groups.at(-1);
    const same =
      last &&
      row.call_digest &&
      row.call_digest === last.row.call_digest &&
      row.tool === last.row.tool &&
      row.verdict === last.row.verdict &&
      row.outcome === last.row.outcome;
    if (same) {
      last.count += 1;
      last.cost += row.cost_micro;
    } else groups.push({ row, count: 1, cost: row.cost_micro });
  }
  return h(
    "table",
    null,
    h(
      "thead",
      null,
      h(
        "tr",
        null,
        ["Time", "Tool", "Result", "Cost"].map((each) => h("th", { scope: "col" }, each)),
      ),
    ),
    h(
      "tbody",
      null,
      groups
        .slice(0, CALL_LINES_MAX)
        .map(({ row, count, cost }) =>
          h(
            "tr",
            { class: row.verdict === "deny" ? "denied" : "" },
            h("td", null, clockText(Date.parse(row.time))),
            h(
              "td",
              null,
              h("bdi", null, shortName(row.tool || "(unknown)")),
              count > 1 && h("strong", { class: "repeats" }, `the same call ${count} times`),
            ),
            h("td", null, result(row)),
            h("td", { class: "number" }, creditsText(cost)),
          ),
        ),
    ),
  );
}

function result(row) {
  if (row.verdict === "deny") return `refused: ${printable(row.reason)}`;
  const would = row.would ? `, would refuse: ${printable(row.would)}` : "";
  return `${printable(row.outcome)}${row.reason ? `: ${printable(row.reason)}` : ""}${would}`;
}

function rules(rows) {
  if (!rows.length) return nothing("No rule has taken a step.");
  return h(
    "ul",
    { class: "events" },
    rows.map((row) => {
      const done = row.mode === "enforce" || row.step === "warn";
      const isCredits = row.rule_kind === "spend" || /credits|spend/.test(row.rule_kind ?? "");
      const amount = (value) => (isCredits ? creditsText(value) : String(value));
      return h(
        "li",
        null,
        h("time", null, momentText(Date.parse(row.time))),
        h(
          "span",
          null,
          `rule ${shortName(row.rule)} ${done ? `${row.step}s` : `would ${row.step}`}: ` +
            `${amount(row.count)}, the limit is ${amount(row.limit)}` +
            `${row.tool ? `, last at ${shortName(row.tool)}` : ""} (${shortName(row.machine)})`,
        ),
      );
    }),
  );
}

function grants(rows) {
  if (!rows.length) return nothing("No machine has seen a grant.");
  return h(
    "ul",
    { class: "events" },
    rows.slice(0, GRANTS_MAX).map((row) => {
      const tools = row.tools.slice(0, TOOLS_MAX).map((tool) => h("code", null, shortName(tool)));
      const more = row.tools.length - tools.length;
      return h(
        "li",
        null,
        h("time", null, momentText(Date.parse(row.issued))),
        h("span", { class: "tools" }, tools, more > 0 && `and ${more} more`),
        h(
          "span",
          null,
          `${creditsText(row.quota_micro)} credits, until ${clockText(Date.parse(row.expires))}, ` +
            `grant ${shortId(row.grant)}${row.jkt || row.x5t ? ", bound to a key" : ""}`,
        ),
      );
    }),
  );
}

function revocations(rows) {
  if (!rows.length) return nothing("Nothing of it is revoked.");
  return h(
    "ul",
    { class: "events" },
    rows.map((row) =>
      h(
        "li",
        null,
        h("time", null, momentText(Date.parse(row.time))),
        h(
          "span",
          null,
          `${shortName(row.target)} ${shortId(row.id ?? "")} by ${shortName(row.by)}` +
            `${row.reason ? `: ${printable(row.reason)}` : ""}; ${plural(row.cuts, "open call")} cut on ${shortName(row.machine)}`,
        ),
      ),
    ),
  );
}

/** The replay of a run: a list of recorded runs to pick from, and the steps of one. */

import { api } from "./api.js";
import { personText } from "./branch_facts.js";
import { fill, h, setText } from "./dom.js";
import { List } from "./lists.js";
import { ReplayPlayer } from "./replay_view.js";
import { addressOf } from "./router.js";
import {
  creditsText,
  listText,
  momentText,
  plural,
  printable,
  shortId,
  shortName,
} from "./text.js";

const RANGES = [
  ["1h", "the last hour"],
  ["1d", "the last day"],
  ["7d", "the last week"],
  ["", "any time"],
];
const ADDRESS_MS = 250; // without a further step, until the address has the moment
const KEEP_MS = 60_000; // a download that has begun by then needs its address no more

/** @typedef {import("./app.js").App} App */

/**
 * @param {App} app
 * @param {{crew: string, run: string, query: Record<string, string>}} place
 * @returns {import("./app.js").View}
 */
export function replayView(app, place) {
  return place.run ? new RunView(app, place) : new RecordedRunsView(app, place);
}

/** The runs that the audits of all machines have. */
class RecordedRunsView {
  /**
   * @param {App} app
   * @param {{crew: string, query: Record<string, string>}} place
   */
  constructor(app, { crew, query }) {
    const option = (pair) => h("option", { value: pair[0] }, pair[1]);
    this.range = h("select", { on: { change: () => this.load() } }, RANGES.map(option));
    this.range.value = query.since ?? "1d";
    const crews = [
      ["", "all crews"],
      ...(app.session.crews ?? []).map((name) => [name, shortName(name)]),
    ];
    this.crew = h("select", { on: { change: () => this.load() } }, crews.map(option));
    this.crew.value = crew;
    this.note = h("p", { class: "quiet-text", role: "status" });
    this.list = new List(
      "Recorded runs",
      [
        {
          label: "Run",
          class: "replay-whole",
          draw: (cell, { run }) =>
            drawLink(cell, shortId(run.run), addressOf("replay", [run.crew, run.run])),
        },
        { label: "Crew", class: "replay-whole", text: ({ run }) => shortName(run.crew) },
        {
          label: "Person",
          draw: (cell, { run }) => {
            const { text, why } = personText(run);
            setText(cell, text);
            cell.title = why;
          },
        },
        {
          label: "First record",
          class: "replay-whole",
          text: ({ run }) => momentText(Date.parse(run.first)),
        },
        {
          label: "Last record",
          class: "replay-whole",
          text: ({ run }) => momentText(Date.parse(run.last)),
        },
        { label: "Branches", class: "number", text: ({ run }) => String(run.branches) },
        { label: "Calls", class: "number", text: ({ run }) => String(run.calls) },
        { label: "Refused", class: "number", text: ({ run }) => String(run.refused) },
        { label: "Spent", class: "number", text: ({ run }) => creditsText(run.spent_micro) },
        { label: "State", text: ({ ended }) => shortName(ended) },
      ],
      ({ run }) => `${run.crew}\n${run.run}`,
    );
    this.element = h(
      "section",
      { class: "page wide" },
      h("h1", null, "Recorded runs"),
      h(
        "div",
        { class: "bar-of-controls" },
        h("label", { class: "check" }, "Records of", this.range),
        h("label", { class: "check" }, "Crew", this.crew),
        this.note,
      ),
      this.list.element,
    );
    this.asked = 0;
    this.load();
  }

  async load() {
    this.asked += 1;
    const { asked } = this;
    const query = chosen({ since: this.range.value, crew: this.crew.value });
    this.note.textContent = "Asking the machines …";
    try {
      const found = await api.get("/api/runs", query);
      if (asked !== this.asked) return;
      const leftOut = found.crews_left_out
        ? `without those of ${plural(found.crews_left_out, "crew")}: choose a crew`
        : "";
      const runs = plural(found.runs.length, "run");
      this.note.textContent = [runs, leftOut, missingText(found.not_asked)]
        .filter(Boolean)
        .join(" · ");
      this.list.show(found.runs, "The audit has no run in this time.");
    } catch (error) {
      if (asked === this.asked) this.note.textContent = printable(error.message) || "No answer.";
    }
  }
}

/** The steps of one run. */
class RunView {
  /**
   * @param {App} _app
   * @param {{crew: string, run: string, query: Record<string, string>}} place
   */
  constructor(_app, { crew, run, query }) {
    this.place = { crew, run };
    this.range = chosen({ since: query.since ?? "", until: query.until ?? "" });
    this.at = Number(query.at ?? NaN);
    /** @type {ReplayPlayer | null} */
    this.player = null;
    this.isClosed = false;
    this.keeping = 0;
    this.exportButton = h(
      "button",
      { type: "button", on: { click: () => this.export() } },
      "Export",
    );
    this.note = h("p", { class: "quiet-text", role: "status" }, "Asking the machines …");
    this.content = h("div", null);
    this.element = h(
      "section",
      { class: "page wide" },
      h(
        "h1",
        null,
        "Replay of run ",
        h("bdi", null, shortId(run)),
        " of crew ",
        h("bdi", null, shortName(crew)),
      ),
      h(
        "div",
        { class: "bar-of-controls" },
        h("a", { href: addressOf("replay", [], {}) }, "All recorded runs"),
        h("a", { href: addressOf("branch", [crew, run]) }, "The run now"),
        this.exportButton,
        this.note,
      ),
      this.content,
    );
    this.load();
  }

  get query() {
    return { ...this.place, ...this.range };
  }

  async load() {
    try {
      const found = await api.get("/api/replay", this.query);
      if (!this.isClosed) this.show(found);
    } catch (error) {
      this.note.textContent = "";
      fill(this.content, h("p", { class: "notice bad" }, printable(error.message) || "No answer."));
    }
  }

  show(found) {
    const machines = found.machines.map(({ machine, lines }) => ({
      machine,
      lines: lines.map(([file, offset, cover, text]) => ({ file, offset, cover, text })),
    }));
    this.note.textContent = plural(found.steps.length, "step");
    const player = new ReplayPlayer({ ...found, machines }, (step) =>
      this.keepPlace(found.steps[step]),
    );
    this.player = player;
    fill(this.content, this.notices(found), player.element);
    player.go(Number.isFinite(this.at) ? player.stepAt(this.at) : 0);
  }

  /** What is missing, and what the times mean. */
  notices({ machines, not_asked: notAsked }) {
    const missing = missingText(notAsked);
    const found = [missing && h("p", { class: "notice warn" }, missing)];
    for (const { machine, left_out: count, left_out_from: from } of machines) {
      if (!count) continue;
      const since = String(from);
      found.push(
        h(
          "p",
          { class: "notice warn" },
          `${shortName(machine)} has ${plural(count, "more line")}: `,
          h(
            "a",
            { href: addressOf("replay", [this.place.crew, this.place.run], { since }) },
            `from ${momentText(Date.parse(since))} on`,
          ),
        ),
      );
    }
    const several = machines.filter(({ lines }) => lines.length).length > 1;
    if (several)
      found.push(
        h(
          "p",
          { class: "quiet-text" },
          "Each machine has a clock of its own, so the order between machines is only about right.",
        ),
      );
    return found;
  }

  /**
   * Keeps the moment of the step in the address, so that it can be sent to another person: not of
   * each step while a key is held, because browsers allow few such changes. And not if the person
   * has left, which the page learns a moment later (`hashchange`).
   */
  keepPlace({ moment_us: us }) {
    const query = { ...this.range, at: String(us) };
    const address = addressOf("replay", [this.place.crew, this.place.run], query);
    const { hash } = location;
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => {
      if (location.hash === hash) history.replaceState(null, "", address);
    }, ADDRESS_MS);
  }

  /** Saves the run as a file that proves its lines. */
  async export() {
    this.exportButton.disabled = true;
    this.note.textContent = "The machines sign the lines …";
    try {
      const response = await api.open("/api/replay/export", this.query);
      const address = URL.createObjectURL(await response.blob());
      const link = document.createElement("a");
      link.href = address;
      link.download = `replay-${this.place.run}.html`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(address), KEEP_MS);
      this.note.textContent = "Saved. `crewgate audit verify-export` verifies the file.";
    } catch (error) {
      this.note.textContent = printable(error.message) || "No answer.";
    } finally {
      this.exportButton.disabled = false;
    }
  }

  close() {
    this.isClosed = true;
    clearTimeout(this.keeping);
    this.player?.close();
  }
}

/** @param {{machine: string, why: string}[]} notAsked */
function missingText(notAsked) {
  return notAsked.length
    ? `No answer from ${listText(notAsked.map(({ machine }) => machine))}`
    : "";
}

/** @param {Record<string, string>} query */
function chosen(query) {
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value));
}

function drawLink(cell, text, href) {
  if (!cell.firstElementChild) fill(cell, h("a", { href }, text));
}

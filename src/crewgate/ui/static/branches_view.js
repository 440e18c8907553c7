/** The view of all branches: counts, filters and the tree, and beside it the panel of one branch. */

import { BranchPanel } from "./branch_panel.js";
import { h, setText } from "./dom.js";
import { FilterBar } from "./filter_bar.js";
import { plural } from "./text.js";
import { TreeCounts } from "./tree_counts.js";
import { TreeGrid } from "./tree_grid.js";
import { FIRST_CHOICES, linesOf } from "./tree_lines.js";
import { keyOf } from "./tree_store.js";
import { addressOf } from "./router.js";

const CHOICES = "crewgate.choices"; // of this tab, so that a reload keeps them
const RENEW_MS = 10_000; // after so long, an ended branch may have to go

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./router.js").Place} Place */

export class BranchesView {
  /**
   * @param {App} app
   * @param {Place} place
   */
  constructor(app, place) {
    this.app = app;
    this.title = "Branches";
    /** @type {Set<string>} */
    this.folded = new Set();
    this.structure = -1; // of the store, when the lines were made
    this.linesAt = -Infinity;
    this.matches = 0;
    this.filters = new FilterBar(remembered(), () => this.choose());
    this.grid = new TreeGrid({
      open: (line) => this.open(line.node),
      fold: (line, is) => this.fold(line, is),
      sort: (order) => this.filters.set({ order: /** @type {any} */ (order) }),
      key: (key, line) => this.press(key, line),
    });
    this.counts = new TreeCounts({
      attention: () => this.filters.set({ onlyAttention: !this.filters.choices.onlyAttention }),
      fold: (isFolded) => this.foldAll(isFolded),
    });
    this.held = h("button", {
      type: "button",
      class: "held",
      hidden: true,
      on: { click: () => this.arrange() },
    });
    this.note = h("p", { class: "empty", hidden: true });
    this.side = h("div", { class: "side", hidden: true });
    /** @type {BranchPanel | null} */
    this.panel = null;
    this.element = h(
      "div",
      { class: "branches" },
      h("h1", { class: "unseen" }, "Branches"),
      h(
        "section",
        { class: "tree-side", "aria-label": "Branches of all machines" },
        this.counts.element,
        this.filters.element,
        h("div", { class: "frame" }, this.grid.element, this.note, this.held),
      ),
      this.side,
    );
    this.follow(place);
    this.arrange();
  }

  /**
   * Shows what an address names: filters, or a branch.
   * @param {Place} place
   */
  follow(place) {
    const { person, crew } = place.query;
    if (person !== undefined || crew !== undefined) {
      this.filters.set({ ...FIRST_CHOICES, subject: person ?? "", crew: crew ?? "" });
    }
    if (place.name !== "branch") return this.closePanel();
    const [of, branch] = place.parts;
    if (this.panel?.isOf(of, branch)) return this.panel.showAlert(place.query.alert);
    const hadPanel = this.panel !== null;
    this.panel?.close();
    this.panel = new BranchPanel(this.app, of, branch, place.query.alert);
    this.side.replaceChildren(this.panel.element);
    this.side.hidden = false;
    this.element.classList.add("with-panel");
    this.grid.mark(keyOf(of, branch));
    if (!hadPanel || this.side.contains(document.activeElement)) this.panel.focus();
  }

  closePanel() {
    if (!this.panel) return;
    this.panel.close();
    this.panel = null;
    const hadFocus =
      this.side.contains(document.activeElement) || document.activeElement === document.body;
    this.side.hidden = true;
    this.side.replaceChildren();
    this.element.classList.remove("with-panel");
    this.grid.mark("");
    if (hadFocus && !this.grid.takeFocus()) this.filters.text.focus();
  }

  /** Shows what has changed; the app calls it at most once a frame. */
  update() {
    const { store } = this.app;
    const isOld =
      store.structure !== this.structure ||
      this.filters.choices.order !== "tree" ||
      performance.now() - this.linesAt > RENEW_MS;
    if (isOld && !this.grid.isHeld) {
      this.arrange();
    } else {
      this.grid.draw();
      this.showHeld();
      this.showCounts();
    }
    this.panel?.update();
  }

  /** Makes the lines anew. */
  arrange() {
    const { store } = this.app;
    const now = performance.now();
    const { lines, matches } = linesOf(store, this.filters.choices, this.folded, now);
    this.matches = matches;
    if (this.structure !== store.structure) this.filters.offer(store.nodes);
    this.structure = store.structure;
    this.linesAt = now;
    this.grid.setOrder(this.filters.choices.order);
    this.grid.setLines(lines);
    this.showNote();
    this.showHeld();
    this.showCounts();
  }

  choose() {
    sessionStorage.setItem(CHOICES, JSON.stringify(this.filters.choices));
    this.arrange();
    this.app.announce(`${plural(this.matches, "branch")} shown`);
  }

  fold(line, isFolded) {
    if (isFolded) this.folded.add(line.node.key);
    else this.folded.delete(line.node.key);
    this.arrange();
  }

  foldAll(isFolded) {
    this.folded.clear();
    if (isFolded)
      for (const node of this.app.store.nodes) if (!node.isCrew) this.folded.add(node.key);
    this.arrange();
  }

  open(node) {
    this.app.go(addressOf("branch", [node.row.crew, node.row.branch]));
  }

  press(key, { node }) {
    if (key === "/") this.filters.text.focus();
    else if (key === "e" || key === "u") {
      const name = key === "e" ? "end" : "quarantine";
      const action = this.app.actionsFor(node).find((each) => each.name === name);
      if (action) this.app.openAction(action);
      else this.app.announce(`You cannot ${name} ${node.isCrew ? "a crew" : "this branch"}`);
    } else return false;
    return true;
  }

  showHeld() {
    const isWaiting = this.structure !== this.app.store.structure;
    this.held.hidden = !isWaiting;
    if (isWaiting) setText(this.held, "The list waits while you look: show changes");
  }

  showNote() {
    const { store } = this.app;
    this.note.hidden = this.grid.lines.length > 0;
    if (this.note.hidden) return;
    const hasRows = store.tree.byNumber.size > 0;
    setText(
      this.note,
      !store.isWhole
        ? "Asking the machines …"
        : !hasRows
          ? "No branch has made a call yet."
          : "No branch matches the filters. Clear them, or also show branches that have ended.",
    );
  }

  showCounts() {
    this.counts.show(this.app.store, this.matches, this.filters.choices.onlyAttention);
  }

  close() {
    this.panel?.close();
    this.grid.close();
  }
}

/** @returns {import("./tree_lines.js").Choices} */
function remembered() {
  try {
    const found = JSON.parse(sessionStorage.getItem(CHOICES) ?? "{}");
    const known = Object.entries(FIRST_CHOICES).map(([name, first]) => [
      name,
      typeof found[name] === typeof first ? found[name] : first,
    ]);
    return Object.fromEntries(known);
  } catch {
    return { ...FIRST_CHOICES };
  }
}

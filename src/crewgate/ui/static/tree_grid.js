/**
 * The tree as an ARIA treegrid that makes elements only for the rows on the screen.
 *
 * While a person points at it or moves in it, no row moves: order and new rows wait (`isHeld`), and
 * only the amounts change.
 */

import { h, setAttribute } from "./dom.js";
import { nodeKeyOfRow, treeKey } from "./tree_keys.js";
import { TreeRow } from "./tree_row.js";

const MARGIN_ROWS = 6; // above and below the screen, so that scrolling shows no gap
const IDLE_MS = 20_000; // who has not moved for so long does not look at one row

/** @typedef {import("./tree_lines.js").TreeLine} TreeLine */
/** @typedef {{label: string, name: string, order?: string}} Column */

/** @type {Column[]} */
const COLUMNS = [
  { label: "Crew and branch", name: "name", order: "tree" },
  { label: "State", name: "status" },
  { label: "Person", name: "person" },
  { label: "Spent / quota", name: "budget", order: "share" },
  { label: "Left", name: "left" },
  { label: "Credits/min", name: "rate", order: "rate" },
  { label: "Machines", name: "machines" },
];

export class TreeGrid {
  /**
   * @param {{open: (line: TreeLine) => void, fold: (line: TreeLine, isFolded: boolean) => void,
   *   sort: (order: string) => void, key: (key: string, line: TreeLine) => boolean}} handlers
   */
  constructor(handlers) {
    this.handlers = handlers;
    /** @type {TreeLine[]} */
    this.lines = [];
    this.focusedAt = -1; // its place among the lines
    /** @type {Map<string, TreeRow>} */
    this.rows = new Map();
    /** @type {TreeRow[]} */
    this.spare = [];
    this.focused = ""; // the key of the row that Tab reaches
    this.marked = ""; // the key of the row whose panel is open
    this.touchedAt = -Infinity;
    this.isPointed = false;
    this.rowHeight = 36;
    this.heads = COLUMNS.map((column) => this.head(column));
    this.space = h("div", { role: "rowgroup", class: "space" });
    this.element = h(
      "div",
      {
        class: "grid",
        role: "treegrid",
        "aria-label": "Crews and branches",
        "aria-colcount": String(COLUMNS.length),
      },
      h(
        "div",
        { role: "rowgroup", class: "heads" },
        h("div", { role: "row", class: "head", "aria-rowindex": "1" }, this.heads),
      ),
      this.space,
    );
    this.listen();
  }

  /** @param {Column} column */
  head({ label, name, order }) {
    const content = order
      ? h(
          "button",
          {
            type: "button",
            "data-order": order,
            on: {
              click: () => this.handlers.sort(order),
            },
          },
          label,
          h("i", { "aria-hidden": "true" }),
        )
      : label;
    return h("div", { role: "columnheader", class: `cell ${name}` }, content);
  }

  listen() {
    const { element } = this;
    const touched = () => (this.touchedAt = performance.now());
    const pointed = (is) => () => {
      this.isPointed = is;
      touched();
    };
    element.addEventListener("scroll", () => this.draw(), { passive: true });
    element.addEventListener("pointerenter", pointed(true));
    element.addEventListener("pointermove", pointed(true), { passive: true });
    element.addEventListener("pointerleave", pointed(false));
    element.addEventListener("focusin", (event) => this.followFocus(event));
    element.addEventListener("keydown", (event) => this.press(event));
    element.addEventListener("click", (event) => this.click(event));
    this.size = new ResizeObserver(() => this.measure());
    this.size.observe(element);
  }

  /** Whether order and new rows must wait, because a person looks at these rows. */
  get isHeld() {
    const isInside = this.isPointed || this.space.contains(document.activeElement);
    return isInside && performance.now() - this.touchedAt < IDLE_MS;
  }

  /**
   * Shows other lines. The row that has the focus, or else the first one on the screen, stays at
   * its place there.
   * @param {TreeLine[]} lines
   */
  setLines(lines) {
    const isTop = this.element.scrollTop === 0;
    const first = Math.floor(this.element.scrollTop / this.rowHeight);
    const hasFocus = this.space.contains(document.activeElement);
    const anchor = hasFocus ? this.focused : isTop ? "" : (this.lines[first]?.node.key ?? "");
    const before = hasFocus ? this.focusedAt : first;
    this.lines = lines;
    this.focusedAt = this.placeOf(this.focused);
    const isGone = this.focusedAt < 0;
    if (isGone) {
      this.focusedAt = lines.length
        ? Math.min(hasFocus ? Math.max(before, 0) : 0, lines.length - 1)
        : -1;
      this.focused = lines[this.focusedAt]?.node.key ?? "";
    }
    setAttribute(this.element, "aria-rowcount", String(lines.length + 1));
    this.space.style.height = `${lines.length * this.rowHeight}px`;
    const after = anchor ? this.placeOf(anchor) : -1;
    if (before >= 0 && after >= 0 && after !== before) {
      this.element.scrollTop += (after - before) * this.rowHeight;
    }
    this.draw();
    if (hasFocus && lines.length && isGone) this.takeFocus(); // its row is gone
  }

  /** @param {string} order the column by which the rows are sorted */
  setOrder(order) {
    this.heads.forEach((head, at) => {
      const own = COLUMNS[at].order;
      const direction = own === "tree" ? "ascending" : "descending";
      if (own) setAttribute(head, "aria-sort", own === order ? direction : "none");
    });
  }

  /** @param {string} key of the row whose panel is open */
  mark(key) {
    this.marked = key;
    const at = key ? this.placeOf(key) : -1;
    if (at >= 0) this.setFocused(at);
    this.draw();
  }

  /**
   * The place of a row among the lines, or -1. It is asked for rarely, so no map is kept.
   * @param {string | null} key
   */
  placeOf(key) {
    return this.lines.findIndex((line) => line.node.key === key);
  }

  /** @param {number} at */
  setFocused(at) {
    this.focusedAt = at;
    this.focused = this.lines[at].node.key;
  }

  measure() {
    const height = parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 36;
    if (height !== this.rowHeight) {
      this.rowHeight = height;
      this.space.style.height = `${this.lines.length * height}px`;
    }
    this.draw();
  }

  close() {
    this.size?.disconnect();
  }

  /** Draws the rows on the screen; returns how many of them have changed. */
  draw() {
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / this.rowHeight) - MARGIN_ROWS);
    const end = Math.min(
      this.lines.length,
      Math.ceil((scrollTop + clientHeight) / this.rowHeight) + MARGIN_ROWS,
    );
    const wanted = new Set();
    for (let at = first; at < end; at += 1) wanted.add(at);
    // Tab must find its row, wherever it is.
    if (this.focusedAt >= 0) wanted.add(this.focusedAt);
    const places = [...wanted].sort((one, other) => one - other);
    this.release(new Set(places.map((at) => this.lines[at].node.key)));
    let changed = 0;
    /** @type {Element | null} */
    let next = this.space.firstElementChild;
    for (const at of places) {
      const line = this.lines[at];
      const row = this.rowOf(line.node.key);
      changed += row.show(line, at, at * this.rowHeight) ? 1 : 0;
      this.showMarks(row);
      // In the order of the lines: a screen reader reads them so.
      if (next && row.element === next) next = next.nextElementSibling;
      else this.space.insertBefore(row.element, next);
    }
    return changed;
  }

  showMarks({ element, key }) {
    setAttribute(element, "tabindex", key === this.focused ? "0" : "-1");
    setAttribute(element, "aria-selected", key === this.marked ? "true" : null);
  }

  release(keys) {
    for (const [key, row] of this.rows) {
      if (keys.has(key)) continue;
      this.rows.delete(key);
      row.element.remove();
      this.spare.push(row);
    }
  }

  rowOf(key) {
    let row = this.rows.get(key);
    if (!row) {
      row = this.spare.pop() ?? new TreeRow();
      this.rows.set(key, row);
    }
    return row;
  }

  /** Moves the focus to a line, and scrolls it onto the screen. */
  focusAt(at) {
    if (!this.lines.length) return;
    const place = Math.max(0, Math.min(at, this.lines.length - 1));
    this.setFocused(place);
    const head = this.element.firstElementChild?.clientHeight ?? 0;
    const top = place * this.rowHeight;
    const room = this.element.clientHeight - head - this.rowHeight;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top > this.element.scrollTop + room) this.element.scrollTop = top - room;
    this.draw();
    this.rows.get(this.focused)?.element.focus({ preventScroll: true });
  }

  /** Gives the focus back, for example after a dialog; returns whether there is a row. */
  takeFocus() {
    if (!this.lines.length) return false;
    this.focusAt(this.focusedAt);
    return true;
  }

  followFocus(event) {
    this.touchedAt = performance.now();
    const key = nodeKeyOfRow(event.target);
    if (key === null || key === this.focused) return;
    this.setFocused(this.placeOf(key));
    for (const row of this.rows.values()) this.showMarks(row);
  }

  press(event) {
    this.touchedAt = performance.now();
    const at = this.placeOf(nodeKeyOfRow(event.target));
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.rowHeight) - 2);
    const target = treeKey(event.key, this.lines, at, page);
    if (target === null) {
      if (this.handlers.key(event.key, this.lines[at])) event.preventDefault();
      return;
    }
    event.preventDefault();
    if (target.action === "move") this.focusAt(target.to);
    else if (target.action === "open") this.handlers.open(this.lines[at]);
    else this.handlers.fold(this.lines[at], target.action === "fold");
  }

  click(event) {
    this.touchedAt = performance.now();
    const at = this.placeOf(nodeKeyOfRow(event.target));
    if (at < 0) return;
    const line = this.lines[at];
    this.focusAt(at);
    if (event.target.closest(".caret") && line.isOpen !== null)
      this.handlers.fold(line, line.isOpen);
    else this.handlers.open(line);
  }
}

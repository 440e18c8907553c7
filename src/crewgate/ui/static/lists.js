/** A table of many rows, which are kept by key: only cells whose text has changed are touched. */

import { h, setText } from "./dom.js";

const FIRST_ROWS = 200;

/**
 * @template T
 * @typedef {{label: string, class?: string, text?: (item: T) => string,
 *   draw?: (cell: HTMLElement, item: T) => void}} ListColumn
 */

/** @template T */
export class List {
  /**
   * @param {string} label
   * @param {ListColumn<T>[]} columns the first one is the name of the row
   * @param {(item: T) => string} keyOf
   */
  constructor(label, columns, keyOf) {
    this.columns = columns;
    this.keyOf = keyOf;
    this.most = FIRST_ROWS;
    /** @type {Map<string, HTMLElement>} */
    this.rows = new Map();
    /** @type {T[]} */
    this.items = [];
    this.body = h("tbody", null);
    this.more = h(
      "button",
      {
        type: "button",
        class: "quiet",
        hidden: true,
        on: {
          click: () => {
            this.most += FIRST_ROWS;
            this.show(this.items);
          },
        },
      },
      "Show more",
    );
    this.empty = h("p", { class: "empty" });
    this.table = h(
      "table",
      { class: "list" },
      h("caption", { class: "unseen" }, label),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          columns.map((column) =>
            h("th", { scope: "col", class: column.class ?? "" }, column.label),
          ),
        ),
      ),
      this.body,
    );
    this.element = h("div", { class: "list-frame" }, this.table, this.empty, this.more);
  }

  /**
   * @param {T[]} items in their order
   * @param {string} [empty] what to say if there are none
   */
  show(items, empty = "") {
    this.items = items;
    const shown = items.slice(0, this.most);
    const keys = new Set(shown.map(this.keyOf));
    for (const [key, row] of this.rows) {
      if (keys.has(key)) continue;
      row.remove();
      this.rows.delete(key);
    }
    let next = this.body.firstElementChild;
    for (const item of shown) {
      const row = this.rowOf(this.keyOf(item));
      this.columns.forEach(({ text, draw }, at) => {
        const cell = /** @type {HTMLElement} */ (row.children[at]);
        if (draw) draw(cell, item);
        else if (text) setText(cell, text(item));
      });
      if (row === next) next = next.nextElementSibling;
      else this.body.insertBefore(row, next);
    }
    this.table.hidden = !items.length;
    this.more.hidden = items.length <= this.most;
    this.empty.hidden = items.length > 0;
    setText(this.empty, items.length ? "" : empty);
  }

  rowOf(key) {
    let row = this.rows.get(key);
    if (!row) {
      row = /** @type {HTMLElement} */ (
        h(
          "tr",
          null,
          this.columns.map((column, at) =>
            at === 0
              ? h("th", { scope: "row", class: column.class ?? "" })
              : h("td", { class: column.class ?? "", "data-label": column.label }),
          ),
        )
      );
      this.rows.set(key, row);
    }
    return row;
  }
}

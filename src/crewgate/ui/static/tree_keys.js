/** What the keys do in the tree, as the ARIA practices for a treegrid say. */

/** @typedef {import("./tree_lines.js").TreeLine} TreeLine */

/**
 * Returns the key of the row that an element is in, or null.
 * @param {any} element
 * @returns {string | null}
 */
export function nodeKeyOfRow(element) {
  return element.closest?.(".row")?.treeRow?.key ?? null;
}

/**
 * Returns what a key does at a line, or null if it does nothing.
 * @param {string} key
 * @param {TreeLine[]} lines
 * @param {number} at
 * @param {number} page in lines
 * @returns {{action: "move" | "open" | "fold" | "unfold", to: number} | null}
 */
export function treeKey(key, lines, at, page) {
  const move = (to) => ({ action: /** @type {const} */ ("move"), to });
  const line = lines[at];
  switch (key) {
    case "ArrowDown":
    case "j":
      return move(at + 1);
    case "ArrowUp":
    case "k":
      return move(at - 1);
    case "PageDown":
      return move(at + page);
    case "PageUp":
      return move(at - page);
    case "Home":
      return move(0);
    case "End":
      return move(lines.length - 1);
    case "Enter":
      return { action: "open", to: at };
    case "ArrowRight":
      if (line.isOpen === false) return { action: "unfold", to: at };
      return line.isOpen ? move(at + 1) : null;
    case "ArrowLeft":
      if (line.isOpen) return { action: "fold", to: at };
      return line.level > 1 ? move(parentOf(lines, at)) : null;
    default:
      return null;
  }
}

function parentOf(lines, at) {
  let above = at;
  while (above > 0 && lines[above].level >= lines[at].level) above -= 1;
  return above;
}

/** Addresses of the page: `#/NAME/PART/PART?key=value`. */

/** @typedef {{name: string, parts: string[], query: Record<string, string>}} Place */

/**
 * Returns what an address names. One that cannot be read is the tree.
 * @param {string} hash
 * @returns {Place}
 */
export function placeOf(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  try {
    const [name, ...parts] = path.split("/").map(decodeURIComponent);
    return { name, parts, query: Object.fromEntries(new URLSearchParams(search)) };
  } catch {
    return { name: "", parts: [], query: {} };
  }
}

/**
 * Returns the address of a place; each part is encoded, whatever it has.
 * @param {string} name
 * @param {string[]} [parts]
 * @param {Record<string, string>} [query]
 */
export function addressOf(name, parts = [], query = {}) {
  const path = [name, ...parts].map(encodeURIComponent).join("/");
  const search = new URLSearchParams(query).toString();
  return `#/${path}${search ? `?${search}` : ""}`;
}

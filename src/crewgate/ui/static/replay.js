/** The replay of a run. */

import { h } from "./dom.js";

/**
 * @param {import("./app.js").App} _app
 * @param {{crew: string, run: string, query: Record<string, string>}} _place
 * @returns {import("./app.js").View}
 */
export function replayView(_app, _place) {
  return { element: h("section", { class: "page" }, h("h1", null, "Replay"),
    h("p", { class: "empty" }, "This server has no replay.")) };
}

/** A small chart of the credits of each minute, with a sentence that says the same. */

import { h, s } from "./dom.js";
import { clockText, creditsText, plural } from "./text.js";

const WIDTH = 400;
const HEIGHT = 72;
const MINUTES_MAX = 120;
const MINUTES_MIN = 15; // else a single bar fills the chart

/**
 * @param {[number, number][]} points minutes since 1970 and micro-credits
 */
export function spendChart(points) {
  const newest = points.at(-1);
  if (!newest) return h("p", { class: "quiet-text" }, "No spending is recorded.");
  const last = newest[0];
  const first = Math.min(last - MINUTES_MIN + 1, Math.max(points[0][0], last - MINUTES_MAX + 1));
  const shown = points.filter(([minute]) => minute >= first);
  const most = Math.max(...shown.map(([, micro]) => micro), 1);
  const [peak] = shown.reduce((best, each) => (each[1] > best[1] ? each : best));
  const sum = shown.reduce((all, [, micro]) => all + micro, 0);
  const step = WIDTH / (last - first + 1);
  const bars = shown.map(([minute, micro]) => {
    const height = micro > 0 ? Math.max(1, (micro / most) * HEIGHT) : 0;
    return s("rect", {
      x: ((minute - first) * step).toFixed(2),
      y: (HEIGHT - height).toFixed(2),
      width: Math.max(1, step - Math.min(1, step / 4)).toFixed(2),
      height: height.toFixed(2),
    });
  });
  const text =
    `${creditsText(sum)} credits in ${plural(last - first + 1, "minute")}, at most ` +
    `${creditsText(most)} in one, at ${clockText(peak * 60_000).slice(0, 5)}Z`;
  return h(
    "figure",
    { class: "chart" },
    s(
      "svg",
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        preserveAspectRatio: "none",
        role: "img",
        "aria-label": text,
      },
      s("line", { x1: "0", x2: String(WIDTH), y1: "0.5", y2: "0.5" }),
      bars,
    ),
    h(
      "div",
      { class: "axis", "aria-hidden": "true" },
      h("span", null, clockText(first * 60_000).slice(0, 5)),
      h("span", null, `most ${creditsText(most)}`),
      h("span", null, clockText(last * 60_000).slice(0, 5)),
    ),
    h("figcaption", null, `${text}.`),
  );
}

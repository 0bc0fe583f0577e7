/** Points of a timeline: runs, stretches, and the tooltip of one. No state. */

import { CATEGORIES, EMOTIONS, clock, percent, signed } from "./words.js";

/** @typedef {import("./words.js").Point} Point */

/** Nothing is drawn between points that are further apart. */
export const GAP_S = 1.2;

/** @param {?(?number)[]} shares of emotions and categories @returns {?string} the most probable emotion */
export function topOf(shares) {
  if (!shares) return null;
  let best = -1;
  EMOTIONS.forEach((_, index) => {
    const share = shares[index];
    if (share != null && (best < 0 || share > (shares[best] ?? 0))) best = index;
  });
  return best < 0 ? null : EMOTIONS[best];
}

/** @param {?Point} point @param {number} ago @returns {Node[]} */
export function tooltip(point, ago) {
  const title = document.createElement("b");
  title.textContent = point ? (point.label ? `${point.label} ${percent(point.confidence)}` : "unknown") : "nothing was seen or heard";
  const lines = [["ago", `${Math.round(ago)} s`]];
  if (point) {
    lines.push(["in the stream", clock(point.t)]);
    if (point.because) lines.push(["why", point.because]);
    for (const kind of /** @type {const} */ (["video", "speech", "fused"])) {
      const best = topOf(point[kind]);
      if (best) lines.push([kind, `${best} ${percent(point[kind]?.[EMOTIONS.indexOf(best)] ?? null)}`]);
    }
    CATEGORIES.forEach((name, index) => {
      const share = point.fused?.[EMOTIONS.length + index];
      if (share != null) lines.push([name, percent(share)]);
    });
    if (point.affect) lines.push(["valence, arousal", point.affect.map(signed).join(", ")]);
    if (point.agreement != null) lines.push(["alike", percent(point.agreement)]);
  }
  return [title, ...lines.map(([name, value]) => row(name, value))];
}

/** @param {string} name @param {string} value */
function row(name, value) {
  const line = document.createElement("div");
  const [left, right] = [document.createElement("span"), document.createElement("span")];
  left.className = ["video", "speech", "fused"].includes(name) ? name : "";
  [left.textContent, right.textContent] = [name, value];
  line.append(left, right);
  return line;
}

/** Unbroken runs of one value. @param {Point[]} points @param {(point: Point) => ?number | undefined} of */
export function* runs(points, of) {
  /** @type {{at: number, share: number}[]} */
  let run = [];
  for (const point of points) {
    const share = of(point);
    const broken = share == null || (run.length && point.at - run[run.length - 1].at > GAP_S);
    if (broken && run.length) {
      yield run;
      run = [];
    }
    if (share != null) run.push({ at: point.at, share });
  }
  if (run.length) yield run;
}

/** Stretches of equal value. @param {Point[]} points @param {(point: Point) => string} of */
export function* stretches(points, of) {
  let from = 0;
  for (let index = 1; index <= points.length; index++) {
    const [before, point] = [points[index - 1], points[index]];
    if (point && of(point) === of(before) && point.at - before.at <= GAP_S) continue;
    const to = point && point.at - before.at <= GAP_S ? point.at : before.at + 0.2;
    yield { from: points[from].at, to, value: of(points[from]) };
    from = index;
  }
}

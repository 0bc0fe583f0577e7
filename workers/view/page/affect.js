/** Valence and arousal of the verdict: a small plane with the trail of the last seconds. */

import { fit, setText, signed } from "./words.js";

/** @typedef {import("./words.js").Point} Point */

const TRAIL_S = 10;
/** The trail is not drawn across a pause. */
const GAP_S = 1.2;
/** The newest point is of now for so long: results may be late. */
const CURRENT_S = 3;

export class Affect {
  /** @param {HTMLElement} place with a canvas and a paragraph @param {import("./words.js").Colours} colours */
  constructor(place, colours) {
    this.canvas = /** @type {HTMLCanvasElement} */ (place.querySelector("canvas"));
    this.words = /** @type {HTMLElement} */ (place.querySelector("p"));
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    this.colours = colours;
  }

  /** @param {Point[]} points the timeline's @param {number} now on its clock */
  paint(points, now) {
    const { width, height } = fit(this.canvas);
    if (!width) return;
    const { context, colours } = this;
    const [x, y, radius] = [width / 2, height / 2, Math.min(width, height) / 2 - 7];
    context.clearRect(0, 0, width, height);
    context.strokeStyle = colours["line-strong"];
    context.lineWidth = 1;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.moveTo(x - radius, y);
    context.lineTo(x + radius, y);
    context.moveTo(x, y - radius);
    context.lineTo(x, y + radius);
    context.stroke();
    const shown = points.filter((point) => now - point.at <= TRAIL_S && point.affect);
    const spot = (/** @type {Point} */ { affect }) => [x + (affect?.[0] ?? 0) * radius, y - (affect?.[1] ?? 0) * radius];
    shown.forEach((point, index) => {
      const before = shown[index - 1];
      if (!before || point.at - before.at > GAP_S) return;
      context.globalAlpha = Math.max(0.08, 1 - (now - point.at) / TRAIL_S);
      context.strokeStyle = colours.fused;
      context.lineWidth = 2;
      context.beginPath();
      context.moveTo(...spot(before));
      context.lineTo(...spot(point));
      context.stroke();
    });
    context.globalAlpha = 1;
    const newest = shown.at(-1);
    const current = newest && now - newest.at <= CURRENT_S ? newest : null;
    if (current) {
      context.fillStyle = colours.fused;
      context.strokeStyle = colours.panel;
      context.beginPath();
      context.arc(...spot(current), 5, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
    const [valence, arousal] = current?.affect ?? [null, null];
    const words = current ? `valence ${signed(valence)}, arousal ${signed(arousal)}` : "valence and arousal unknown";
    setText(this.words, words);
  }
}

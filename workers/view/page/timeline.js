/** The last two minutes: labels, a lane for each emotion and further category, agreement of face and voice. */

import { GAP_S, runs, stretches, tooltip } from "./points.js";
import { CATEGORIES, EMOTIONS, fit } from "./words.js";

/** @typedef {import("./words.js").Point} Point */

const SPAN_S = 120;
const LABELS = 24;
const ACCORD = 15;
const AXIS = 18;
const PAD = 8;
const STEP_MS = 66;
const CALM_MS = 1000;
/** Height of a name in the gutter. */
const NAME = 12;
/** Dash and pause, in pixels, of the pattern of each emotion but the first: along the lower edge, then the upper, then both. */
const PATTERNS = [[40, 0], [2, 2], [8, 8], [2, 6], [8, 3], [3, 12]];

export class Timeline {
  /** @param {HTMLElement} place @param {import("./words.js").Colours} colours */
  constructor(place, colours) {
    this.place = place;
    this.canvas = /** @type {HTMLCanvasElement} */ (place.querySelector("canvas"));
    this.tip = /** @type {HTMLElement} */ (place.querySelector(".tip"));
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    this.colours = colours;
    /** @type {Point[]} */
    this.points = [];
    /** Server time at the newest message, and when that was here. */
    this.clock = { at: 0, here: 0 };
    this.held = false;
    /** @type {?number} seconds ago that are read */
    this.cursor = null;
    this.painted = 0;
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    place.addEventListener("pointermove", (event) => this.read(this.agoAt(event.offsetX)));
    place.addEventListener("pointerleave", () => this.read(null));
    place.addEventListener("blur", () => this.read(null));
    place.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.paint()).observe(this.canvas);
  }

  /** Make room for the lanes that there are. */
  build() {
    this.place.style.setProperty("--lanes", String(EMOTIONS.length + CATEGORIES.length));
    this.paint();
  }

  get gutter() {
    return this.canvas.clientWidth < 520 ? 58 : 78;
  }

  get now() {
    return this.clock.at + (this.held ? 0 : (performance.now() - this.clock.here) / 1000);
  }

  /** @param {number} at seconds of the server's clock */
  tick(at) {
    this.clock = { at: Math.max(at, this.clock.at), here: performance.now() };
  }

  /** Take the server's history; points from before a restart of the server stay. @param {Point[]} points @param {boolean} same stream as before */
  history(points, same) {
    const first = points.length ? points[0].at : Infinity;
    this.points = [...(same ? this.points.filter((point) => point.at < first) : []), ...points];
    const newest = this.points.at(-1);
    if (!same && newest) this.clock = { at: newest.at, here: performance.now() };
    this.paint();
  }

  /** @param {Point} point */
  add(point) {
    const newest = this.points.at(-1);
    if (newest && point.at - newest.at < 0.19) return;
    this.points.push(point);
    const oldest = point.at - SPAN_S - GAP_S;
    if (this.points[0].at < oldest - 5) this.points = this.points.filter((old) => old.at >= oldest);
  }

  /** Called with every picture the screen shows; most of them change nothing here. @param {number} time @returns {boolean} whether it was painted */
  frame(time) {
    if (time - this.painted < (this.calm.matches ? CALM_MS : STEP_MS)) return false;
    this.painted = time;
    this.paint();
    return true;
  }

  paint() {
    const { width, height } = fit(this.canvas);
    if (!width) return;
    const now = this.now;
    const names = [...EMOTIONS, ...CATEGORIES];
    const lane = (height - LABELS - ACCORD - AXIS - 2 * PAD) / names.length;
    const x = (/** @type {number} */ at) => width - 10 - ((now - at) / SPAN_S) * (width - 10 - this.gutter);
    const shown = this.points.filter((point) => now - point.at <= SPAN_S);
    this.context.clearRect(0, 0, width, height);
    this.lanes(names, lane, width);
    this.context.save();
    this.context.beginPath();
    this.context.rect(this.gutter, 0, width - 10 - this.gutter, height);
    this.context.clip();
    const room = lane - Math.min(5, lane / 4);
    names.forEach((_, index) => this.lane(shown, index, x, PAD + LABELS + (index + 1) * lane, room));
    this.labels(shown, x, PAD);
    this.accords(shown, x, height - AXIS - ACCORD + 1);
    this.context.restore();
    this.axis(width, height);
    if (this.cursor != null) this.reading(now - this.cursor, x, width, height);
  }

  /** @param {string[]} names of the lanes @param {number} lane height @param {number} width */
  lanes(names, lane, width) {
    const { context, colours } = this;
    context.font = `400 11.5px ${colours.font}`;
    context.textBaseline = "alphabetic";
    context.textAlign = "right";
    // Of very many lanes some stand without a name; the tooltip says more.
    const each = Math.ceil(NAME / lane);
    names.forEach((name, index) => {
      const bottom = PAD + LABELS + (index + 1) * lane;
      context.fillStyle = colours.quiet;
      if (index % each === 0) context.fillText(name, this.gutter - 8, bottom - lane / 2 + Math.min(6, lane / 4), this.gutter - 12);
      context.fillStyle = index === EMOTIONS.length - 1 && names.length > index + 1 ? colours.faint : colours.line;
      context.fillRect(this.gutter, bottom, width - 10 - this.gutter, 1);
    });
    context.textAlign = "left";
  }

  /** One emotion: fused as an area, video as a line, speech dashed. @param {Point[]} points @param {number} index @param {(at: number) => number} x @param {number} bottom @param {number} height */
  lane(points, index, x, bottom, height) {
    const { context, colours } = this;
    const y = (/** @type {number} */ share) => bottom - share * height;
    for (const run of runs(points, (point) => point.fused?.[index])) {
      context.beginPath();
      context.moveTo(x(run[0].at), bottom);
      for (const { at, share } of run) context.lineTo(x(at), y(share));
      context.lineTo(x(run[run.length - 1].at), bottom);
      context.fillStyle = colours.fusedSoft;
      context.fill();
      this.line(run, x, y, colours.fused, 1.5, []);
    }
    for (const run of runs(points, (point) => point.video?.[index])) this.line(run, x, y, colours.video, 1, []);
    for (const run of runs(points, (point) => point.speech?.[index])) this.line(run, x, y, colours.speech, 1.2, [3, 2]);
  }

  /** @param {{at: number, share: number}[]} run @param {(at: number) => number} x @param {(share: number) => number} y @param {string} style @param {number} width @param {number[]} dash */
  line(run, x, y, style, width, dash) {
    const { context } = this;
    context.beginPath();
    for (const { at, share } of run) context.lineTo(x(at), y(share));
    context.strokeStyle = style;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.lineJoin = "round";
    context.stroke();
    context.setLineDash([]);
  }

  /** Stretches of one label; hatched where it was unknown. @param {Point[]} points @param {(at: number) => number} x @param {number} y */
  labels(points, x, y) {
    const { context, colours } = this;
    context.textBaseline = "middle";
    for (const { from, to, value } of stretches(points, (point) => point.label ?? "")) {
      const [left, right] = [x(from), x(to)];
      const width = Math.max(1, right - left - 1);
      if (!value) this.hatch(left, y, width, LABELS - 8, colours.faint);
      else {
        context.fillStyle = colours.emotions[value] ?? colours.fused;
        context.beginPath();
        context.roundRect(left, y, width, LABELS - 8, Math.min(3, width / 2));
        context.fill();
        this.pattern(value, left, y, width, LABELS - 8);
        context.font = `600 11px ${colours.font}`;
        const [text, at] = [context.measureText(value).width, Math.max(left, this.gutter)];
        context.fillStyle = colours.panel;
        if (right - at > text + 6) context.fillText(value, at + 3, y + (LABELS - 8) / 2 + 0.5);
      }
    }
  }

  /** A pattern for each emotion along an edge, so that no one needs to tell colours apart; the first has none.
   * @param {string} emotion @param {number} left @param {number} y @param {number} width @param {number} height */
  pattern(emotion, left, y, width, height) {
    const index = EMOTIONS.indexOf(emotion);
    if (index < 1 || width < 4) return;
    const { context, colours } = this;
    // Dashes that are longer, and pauses that are shorter, from emotion to emotion; on the panel's own grid.
    const [dash, pause] = PATTERNS[(index - 1) % PATTERNS.length];
    const round = Math.floor((index - 1) / PATTERNS.length) % 3;
    const edges = [[y + height - 3], [y + 1], [y + 1, y + height - 3]][round];
    context.fillStyle = colours.panel;
    const [begin, end] = [left + 1, left + width - 1];
    for (let at = Math.floor(begin / (dash + pause)) * (dash + pause); at < end; at += dash + pause) {
      const from = Math.max(at, begin);
      for (const edge of edges) if (at + dash > from) context.fillRect(from, edge, Math.min(at + dash, end) - from, 2);
    }
  }

  /** Agreement of face and voice as bars; hatched in conflict, none where one is missing. @param {Point[]} points @param {(at: number) => number} x @param {number} y */
  accords(points, x, y) {
    const { context, colours } = this;
    points.forEach((point, index) => {
      const how = point.accord;
      if (how === "none" || point.agreement == null) return;
      const left = x(point.at);
      const next = points[index + 1];
      const width = Math.max(1, next && next.at - point.at < GAP_S ? x(next.at) - left : 2) + 0.5;
      const height = Math.max(1, point.agreement * (ACCORD - 4));
      if (how === "conflict") this.hatch(left, y, width, ACCORD - 4, colours.bad);
      else {
        context.fillStyle = colours.faint;
        context.globalAlpha = how === "agree" ? 0.75 : 0.4;
        context.fillRect(left, y + ACCORD - 4 - height, width, height);
        context.globalAlpha = 1;
      }
    });
  }

  /** @param {number} left @param {number} y @param {number} width @param {number} height @param {string} style */
  hatch(left, y, width, height, style) {
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(left, y, width, height);
    context.clip();
    context.strokeStyle = style;
    context.lineWidth = 1;
    context.beginPath();
    // Lines stand still on the panel's own grid, so that stretches side by side join.
    for (let at = Math.floor((left - height) / 5) * 5; at < left + width; at += 5) {
      context.moveTo(at, y + height);
      context.lineTo(at + height, y);
    }
    context.stroke();
    context.restore();
  }

  /** @param {number} width @param {number} height */
  axis(width, height) {
    const { context, colours } = this;
    context.font = `400 11px ${colours.font}`;
    context.textBaseline = "middle";
    context.textAlign = "right";
    context.fillStyle = colours.quiet;
    context.fillText("verdict", this.gutter - 8, PAD + (LABELS - 8) / 2);
    context.fillText("alike", this.gutter - 8, height - AXIS - ACCORD + 7);
    const span = width - 10 - this.gutter;
    for (let ago = 0; ago <= SPAN_S; ago += 30) {
      context.textAlign = ago ? (ago === SPAN_S ? "left" : "center") : "right";
      context.fillStyle = colours.faint;
      context.fillText(ago ? `−${ago} s` : "now", width - 10 - (ago / SPAN_S) * span, height - AXIS / 2);
    }
    context.textAlign = "left";
  }

  // ---------------------------------------------------------------- tooltip

  /** @param {number} offset CSS pixels from the left @returns {?number} seconds ago */
  agoAt(offset) {
    const width = this.canvas.clientWidth;
    if (offset < this.gutter) return null;
    return Math.max(0, Math.min(SPAN_S, ((width - 10 - offset) / (width - 10 - this.gutter)) * SPAN_S));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const step = { ArrowLeft: 1, ArrowRight: -1, PageUp: 10, PageDown: -10 }[event.key];
    if (step) this.read(Math.max(0, Math.min(SPAN_S, (this.cursor ?? 0) + step)));
    else if (event.key === "Home") this.read(SPAN_S);
    else if (event.key === "End") this.read(0);
    else if (event.key === "Escape") this.place.blur();
    else return;
    event.preventDefault();
  }

  /** @param {?number} ago */
  read(ago) {
    this.cursor = ago;
    if (ago == null) this.tip.hidden = true;
    this.paint();
    if (ago != null) {
      this.place.setAttribute("aria-valuenow", String(-Math.round(ago)));
      this.place.setAttribute("aria-valuetext", this.tip.innerText.replaceAll("\n", ", "));
    }
  }

  /** @param {number} at @param {(at: number) => number} x @param {number} width @param {number} height */
  reading(at, x, width, height) {
    const { context, colours } = this;
    context.fillStyle = colours.ink;
    context.fillRect(x(at), PAD, 1, height - PAD - AXIS);
    const near = this.points.reduce(
      (best, point) => (best && Math.abs(best.at - at) <= Math.abs(point.at - at) ? best : point),
      /** @type {?Point} */ (null),
    );
    const point = near && Math.abs(near.at - at) < GAP_S ? near : null;
    this.tip.replaceChildren(...tooltip(point, this.cursor ?? 0));
    this.tip.hidden = false;
    const left = x(at) > width / 2 ? x(at) - this.tip.offsetWidth - 12 : x(at) + 12;
    this.tip.style.left = `${Math.max(4, left)}px`;
  }
}

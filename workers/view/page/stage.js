/** The video, with boxes drawn on the very frame that they belong to. */

import { fit, percent, strong } from "./words.js";

/** @typedef {import("./connection.js").FrameHead} FrameHead */

export class Stage {
  /** @param {HTMLCanvasElement} canvas @param {import("./words.js").Colours} colours */
  constructor(canvas, colours) {
    this.canvas = canvas;
    this.colours = colours;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.boxes = true;
    /** @type {?FrameHead} */
    this.head = null;
    /** @type {?ImageBitmap} */
    this.bitmap = null;
    this.hasPicture = true;
    /** @type {?{x: number, y: number, width: number, height: number}} of the canvas, what shows the picture; CSS pixels */
    this.part = null;
    /** @type {{left: number, top: number, width: number}[]} */
    this.tags = [];
    new ResizeObserver(() => this.paint()).observe(canvas);
  }

  /** Show nothing, before the first frame of a stream. */
  clear() {
    this.show(null, null);
  }

  /** @param {?FrameHead} head @param {?ImageBitmap} bitmap this frame's picture; it is ours from now on */
  show(head, bitmap) {
    // A frame whose pixels were lost is skipped, since a box must not be drawn on another frame.
    if (head && !bitmap && head.picture === "none" && this.bitmap && this.hasPicture) return;
    if (this.bitmap && this.bitmap !== bitmap) this.bitmap.close();
    this.head = head;
    this.bitmap = bitmap;
    this.paint();
  }

  paint() {
    const { width, height } = fit(this.canvas);
    const { context, head } = this;
    context.fillStyle = this.colours.stage;
    context.fillRect(0, 0, width, height);
    this.part = head ? { x: 0, y: 0, width, height } : null;
    if (!head) return;
    if (head.size) this.canvas.style.setProperty("--aspect", `${head.size[0]} / ${head.size[1]}`);
    if (!this.hasPicture) return this.soundOnly(width, height);
    if (!head.size) return this.note("waiting for the picture", 12, 12);
    const scale = Math.min(width / head.size[0], height / head.size[1]);
    const place = { scale, x: (width - head.size[0] * scale) / 2, y: (height - head.size[1] * scale) / 2 };
    this.part = { x: place.x, y: place.y, width: head.size[0] * scale, height: head.size[1] * scale };
    if (this.bitmap) context.drawImage(this.bitmap, place.x, place.y, head.size[0] * scale, head.size[1] * scale);
    else this.hidden(place, head.size);
    if (this.boxes) this.faces(head, place);
    if (head.event.failed) this.note(`this frame could not be looked at: ${head.event.failed}`, place.x + 12, place.y + 12);
  }

  /** @param {FrameHead} head @param {{scale: number, x: number, y: number}} place */
  faces(head, place) {
    this.tags = []; // placed so far, the leading face's first
    const { faces } = head.event;
    const first = head.leading == null ? null : faces[head.leading];
    const others = faces.filter((face) => face !== first);
    const boxes = (first ? [...others, first] : others).map((face) => {
      const [x, y, w, h] = face.box.map((value) => value * place.scale);
      return { face, x: place.x + x, y: place.y + y, w, h };
    });
    for (const { face, x, y, w, h } of boxes) this.box(x, y, w, h, face === first);
    for (const { face, x, y, w, h } of boxes.reverse()) this.tag(face, x, y, w, h, face === first);
  }

  /** @param {number} x @param {number} y @param {number} w @param {number} h @param {boolean} first */
  box(x, y, w, h, first) {
    const { context } = this;
    // Dark under light, visible on any picture.
    for (const [style, line] of [["#000a", first ? 5 : 4], [first ? "#b59bff" : "#ffffffd0", first ? 2.5 : 1.5]]) {
      context.strokeStyle = /** @type {string} */ (style);
      context.lineWidth = /** @type {number} */ (line);
      context.setLineDash(first ? [] : [7, 4]);
      context.beginPath();
      context.roundRect(x, y, w, h, 6);
      context.stroke();
    }
    context.setLineDash([]);
  }

  /** @param {import("./words.js").Face} face @param {number} x @param {number} y @param {number} w @param {number} h @param {boolean} first */
  tag(face, x, y, w, h, first) {
    const { context } = this;
    const voice = face.weights.speech > 0;
    const parts = [`${face.track}`, face.label, [percent(face.confidence), ...strong(face.other).slice(0, 1)].join(" · ")];
    context.font = `600 13px ${this.colours.font}`;
    context.textBaseline = "middle";
    const widths = parts.map((part) => context.measureText(part).width);
    const width = widths.reduce((sum, part) => sum + part, 0) + 34 + (voice ? 16 : 0);
    const left = Math.max(2, Math.min(x + w / 2 - width / 2, this.canvas.clientWidth - width - 2));
    const topEdge = this.free(left, width, [y - 26, y + h + 4, y + 4, y + h - 26]);
    context.fillStyle = first ? "#5b34bdf0" : "#20242ce0";
    context.beginPath();
    context.roundRect(left, topEdge, width, 22, 5);
    context.fill();
    let at = left + 8;
    const middle = topEdge + 11.5;
    context.fillStyle = "#ffffffb0";
    context.fillText(parts[0], at, middle);
    at += widths[0] + 9;
    context.fillStyle = "#fff";
    context.fillText(parts[1], at, middle);
    at += widths[1] + 6;
    context.fillText(parts[2], at, middle);
    if (voice) this.triangle(at + widths[2] + 7, middle - 0.5);
  }

  /** The first of these places that lies on the picture and covers no other tag. @param {number} left @param {number} width @param {number[]} tops @returns {number} */
  free(left, width, tops) {
    const seen = tops.filter((top) => top >= 2 && top + 24 <= this.canvas.clientHeight);
    const clear = (/** @type {number} */ top) =>
      this.tags.every((tag) => Math.abs(tag.top - top) >= 24 || tag.left + tag.width + 2 <= left || left + width + 2 <= tag.left);
    const top = seen.find(clear) ?? seen[0] ?? tops[0];
    this.tags.push({ left, top, width });
    return top;
  }

  /** Mark the face that speaks. @param {number} x @param {number} y */
  triangle(x, y) {
    const { context } = this;
    context.fillStyle = "#ffb3b0";
    context.beginPath();
    context.moveTo(x + 5, y - 5);
    context.lineTo(x + 10, y + 4);
    context.lineTo(x, y + 4);
    context.fill();
  }

  /** @param {{scale: number, x: number, y: number}} place @param {[number, number]} size */
  hidden(place, size) {
    const { context } = this;
    context.strokeStyle = "#ffffff14";
    context.lineWidth = 1;
    const [width, height] = [size[0] * place.scale, size[1] * place.scale];
    context.strokeRect(place.x + 0.5, place.y + 0.5, width - 1, height - 1);
    for (let x = 1; x < 12; x++) context.strokeRect(place.x + (x * width) / 12, place.y, 0, height);
    for (let y = 1; y < 8; y++) context.strokeRect(place.x, place.y + (y * height) / 8, width, 0);
    const sentence = this.head?.picture === "hidden" ? "video is hidden" : "waiting for the picture";
    this.note(sentence, place.x + 12, place.y + 12);
  }

  /** @param {number} width @param {number} height */
  soundOnly(width, height) {
    const { context } = this;
    const voice = this.head?.event.speech?.voice ?? 0;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = "#ffffffd8";
    context.font = `600 17px ${this.colours.font}`;
    context.fillText("sound only", width / 2, height / 2 - 26);
    context.fillStyle = "#ffffff24";
    const span = Math.min(260, width * 0.6);
    context.fillRect(width / 2 - span / 2, height / 2, span, 8);
    context.fillStyle = "#f4706e";
    context.fillRect(width / 2 - span / 2, height / 2, span * voice, 8);
    context.fillStyle = "#ffffffa0";
    context.font = `400 13px ${this.colours.font}`;
    context.fillText(`voice ${percent(voice)}`, width / 2, height / 2 + 28);
    context.textAlign = "start";
  }

  /** @param {string} sentence @param {number} x @param {number} y */
  note(sentence, x, y) {
    const { context } = this;
    context.font = `400 12px ${this.colours.font}`;
    context.textBaseline = "middle";
    context.fillStyle = "#000a";
    context.beginPath();
    context.roundRect(x, y, context.measureText(sentence).width + 16, 22, 5);
    context.fill();
    context.fillStyle = "#ffffffd0";
    context.fillText(sentence, x + 8, y + 11.5);
  }
}

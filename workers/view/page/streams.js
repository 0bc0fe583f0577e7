/** The tabs of streams, and the figures of the chosen one. */

import { element, percent, setText } from "./words.js";

/**
 * @typedef {{stream: string, source: string, has_picture: ?boolean, ended: boolean,
 *   silent_s: ?number, fps: number, latency_ms: ?{queue: number, inference: number, total: number},
 *   counters: ?Object.<string, {offered: number, done: number, dropped: number, failed: number}>,
 *   dropping: number, glance: ?{label: ?string, confidence: ?number, because: ?string}}} StreamState
 */

const SILENT_S = 3;

export class Streams {
  /** @param {(name: string) => void} choose */
  constructor(choose) {
    this.choose = choose;
    this.list = element("streams");
    /** @type {StreamState[]} */
    this.all = [];
    /** @type {?string} */
    this.chosen = null;
    this.list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      this.step(step);
      /** @type {?HTMLElement} */ (this.list.querySelector('[aria-selected="true"]'))?.focus();
      event.preventDefault();
    });
  }

  get current() {
    return this.all.find((stream) => stream.stream === this.chosen) ?? null;
  }

  /** @param {number} step */
  step(step) {
    if (!this.all.length) return;
    const at = this.all.findIndex((stream) => stream.stream === this.chosen);
    this.choose(this.all[(at + step + this.all.length) % this.all.length].stream);
  }

  /** @param {number} number from 1 */
  nth(number) {
    const stream = this.all[number - 1];
    if (stream) this.choose(stream.stream);
  }

  /** @param {StreamState[]} streams */
  show(streams) {
    this.all = streams;
    if (streams.length && !this.current) this.choose((streams.find((stream) => !stream.ended) ?? streams[0]).stream);
    this.draw();
    this.figures();
  }

  draw() {
    while (this.list.children.length > this.all.length) this.list.lastElementChild?.remove();
    this.all.forEach((stream, index) => {
      const button = /** @type {HTMLElement} */ (this.list.children[index] ?? this.add());
      const selected = stream.stream === this.chosen;
      button.dataset.stream = stream.stream;
      button.title = stream.source;
      button.tabIndex = selected ? 0 : -1;
      button.setAttribute("aria-selected", String(selected));
      setText(button.children[0], stream.stream);
      setText(button.children[1], this.glance(stream));
      button.children[1].classList.toggle("quiet", stream.ended || stream.glance?.label == null);
    });
  }

  add() {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", "watch");
    button.append(document.createElement("span"), document.createElement("small"));
    button.onclick = () => this.choose(String(button.dataset.stream));
    this.list.append(button);
    return button;
  }

  /** @param {StreamState} stream */
  glance(stream) {
    if (stream.ended) return "ended";
    if (stream.silent_s == null) return "waiting";
    if (stream.silent_s > SILENT_S) return "no frames";
    return stream.glance?.label ? `${stream.glance.label} ${percent(stream.glance.confidence)}` : "unknown";
  }

  figures() {
    const stream = this.current;
    const latency = stream?.latency_ms;
    setText(element("fps"), stream ? stream.fps.toFixed(1) : "–");
    setText(element("fps-of"), stream?.has_picture === false ? "hops /s" : "fps");
    setText(element("latency"), latency ? `${Math.round(latency.total)} ms` : "–");
    element("latency").title = latency ? `${latency.queue} ms waiting for a worker, ${latency.inference} ms in it` : "";
    const kinds = Object.values(stream?.counters ?? {});
    const dropped = kinds.reduce((sum, kind) => sum + kind.dropped, 0);
    const failed = kinds.reduce((sum, kind) => sum + kind.failed, 0);
    const rate = stream && stream.dropping >= 0.5 ? ` +${Math.round(stream.dropping)} /s` : "";
    setText(element("dropped"), stream ? `${dropped}${rate}${failed ? `, ${failed} failed` : ""}` : "–");
    element("dropped").classList.toggle("off", rate !== "" || failed > 0);
  }
}

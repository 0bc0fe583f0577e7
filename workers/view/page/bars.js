/** Three rows of bars: probabilities of face, voice, and both fused; then shares of further categories that count. */

/** From so many bars on their names stand upright. */
const MANY = 9;

import { CATEGORIES, EMOTIONS, faceless, percent, setText, strong, top } from "./words.js";

const ROWS = [
  ["video", "video"],
  ["speech", "speech"],
  ["fused", "fused"],
];

class Row {
  /** @param {string} kind @param {HTMLElement} place */
  constructor(kind, place) {
    this.kind = kind;
    this.row = document.createElement("div");
    this.row.className = `row ${kind}-row`;
    this.row.setAttribute("role", "img");
    const name = document.createElement("span");
    name.className = "name";
    const title = document.createElement("span");
    title.className = kind;
    title.textContent = kind;
    this.note = document.createElement("small");
    name.append(title, this.note);
    this.row.append(name);
    this.bars = [...EMOTIONS, ...CATEGORIES].map((name) => {
      const bar = document.createElement("span");
      bar.className = "bar";
      const fill = document.createElement("i");
      const value = document.createElement("b");
      bar.append(fill, value);
      bar.classList.toggle("first", CATEGORIES.length > 0 && name === CATEGORIES[0]);
      this.row.append(bar);
      return { bar, fill, value };
    });
    place.append(this.row);
  }

  /** @param {?import("./words.js").Probabilities} probabilities @param {string} note @param {import("./words.js").Probabilities} [other] of further categories */
  show(probabilities, note, other) {
    const best = top(probabilities);
    setText(this.note, note);
    [...EMOTIONS, ...CATEGORIES].forEach((emotion, index) => {
      const { bar, fill, value } = this.bars[index];
      const share = index < EMOTIONS.length ? probabilities?.[emotion] : other?.[emotion];
      bar.classList.toggle("absent", share === undefined);
      bar.classList.toggle("top", emotion === best);
      bar.dataset.share = share === undefined ? "" : String(share);
      fill.style.transform = `translateY(${100 * (1 - (share ?? 0))}%)`;
      setText(value, share === undefined ? "" : String(Math.round(100 * share)));
    });
    const words = [best ? `${best} ${percent(probabilities?.[best] ?? null)}` : note, ...strong(other)];
    this.row.setAttribute("aria-label", `${this.kind}: ${words.join(", ")}`);
  }
}

export class Bars {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    this.build();
  }

  /** Make the rows, for the emotions that there are. */
  build() {
    const { place } = this;
    place.querySelectorAll(".row").forEach((row) => row.remove());
    const count = EMOTIONS.length + CATEGORIES.length;
    place.style.setProperty("--bars", String(count));
    place.classList.toggle("many", count >= MANY);
    this.rows = Object.fromEntries(ROWS.map(([kind]) => [kind, new Row(kind, place)]));
    const names = document.createElement("div");
    names.className = "row names";
    names.setAttribute("aria-hidden", "true");
    names.append(document.createElement("span"));
    this.names = [...EMOTIONS, ...CATEGORIES].map((emotion) => {
      const name = document.createElement("span");
      name.textContent = emotion;
      name.classList.toggle("first", CATEGORIES.length > 0 && emotion === CATEGORIES[0]);
      names.append(name);
      return name;
    });
    place.append(names);
    this.clear();
  }

  clear() {
    for (const row of Object.values(this.rows)) row.show(null, "");
    this.names.forEach((name) => name.classList.remove("now"));
  }

  /** @param {import("./connection.js").FrameHead} head @param {boolean} hasPicture whether the stream has one */
  show({ event, leading, fused }, hasPicture) {
    const face = leading == null ? null : event.faces[leading];
    const { speech, emotion } = event;
    this.rows.video.show(face?.video ?? null, face ? `face ${face.track}` : faceless(hasPicture), face?.video_other);
    this.rows.speech.show(speech?.probabilities ?? null, speech ? (speech.because ?? `voice ${percent(speech.voice)}`) : "no sound", speech?.other);
    this.rows.fused.show(fused, this.shares(face, fused !== null), emotion.other);
    this.names.forEach((name, index) => name.classList.toggle("now", EMOTIONS[index] !== undefined && EMOTIONS[index] === emotion.label));
  }

  /** @param {?import("./words.js").Face} face @param {boolean} known @returns {string} weights of face and voice */
  shares(face, known) {
    if (!face) return known ? "voice alone" : "unknown";
    return face.weights.speech > 0 ? `face ${percent(face.weights.video)}` : "face alone";
  }
}

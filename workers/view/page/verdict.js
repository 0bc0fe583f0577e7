/** The verdict in words: label, confidence, reason, and agreement of face and voice. */

import { element, faceless, percent, setText, strong } from "./words.js";

const WORDS = {
  none: "",
  agree: "face and voice agree",
  differ: "face and voice differ a little",
  conflict: "≠ face and voice contradict",
};
/** A screen reader announces a new verdict once it has held for so long. */
const SPEAK_AFTER_MS = 1500;

export class Verdict {
  constructor() {
    this.parts = Object.fromEntries(
      ["label", "confidence", "further", "because", "face-says", "voice-says", "accord", "accord-word", "does", "spoken"].map((id) => [id, element(id)]),
    );
    this.together = /** @type {HTMLElement} */ (this.parts.accord.parentElement);
    this.pending = 0;
  }

  clear() {
    this.parts.label.classList.remove("unknown");
    for (const id of ["label", "confidence", "further", "because", "accord-word", "does"]) setText(this.parts[id], id === "label" ? "–" : "");
    this.side("face-says", null, "no face");
    this.side("voice-says", null, "no voice");
    this.meter("none", null);
  }

  /** @param {import("./connection.js").FrameHead} head @param {boolean} hasPicture whether the stream has one */
  show({ event, leading, shows, point }, hasPicture) {
    const { label, confidence, because, agreement } = event.emotion;
    // In a contradiction the headline says both sides, and not a third thing that neither of them shows.
    const apart = point.accord === "conflict" && shows && event.speech?.label;
    const text = apart ? `${shows} ≠ ${event.speech?.label}` : (label ?? "unknown");
    if (this.parts.label.textContent !== text) this.speak(apart ? `face ${shows}, voice ${event.speech?.label}` : label ? text : `unknown, ${because}`);
    this.parts.label.classList.toggle("unknown", label == null && !apart);
    setText(this.parts.label, text);
    setText(this.parts.confidence, label == null || apart ? "" : percent(confidence));
    setText(this.parts.further, strong(event.emotion.other).join(", "));
    const together = label == null ? `together unknown: ${because}` : `together ${label} ${percent(confidence)}`;
    setText(this.parts.because, apart ? together : (because ?? point.because ?? ""));
    this.side("face-says", shows, faceless(hasPicture));
    this.side("voice-says", event.speech?.label ?? null, event.speech ? (event.speech.because ?? "no voice") : "no sound");
    this.meter(point.accord, agreement);
    setText(this.parts.does, leading == null ? "" : does(event.faces[leading].face));
  }

  /** @param {string} id @param {?string} says @param {string} otherwise */
  side(id, says, otherwise) {
    setText(this.parts[id], says ?? otherwise);
    this.parts[id].classList.toggle("none", says == null);
  }

  /** @param {keyof typeof WORDS} how @param {?number} agreement */
  meter(how, agreement) {
    const bar = /** @type {HTMLElement} */ (this.parts.accord.firstElementChild);
    bar.style.transform = `scaleX(${how === "none" ? 0 : agreement})`;
    this.together.classList.toggle("conflict", how === "conflict");
    this.together.classList.toggle("none", how === "none");
    const words = how === "none" ? "" : `${WORDS[how]} · ${percent(agreement)} alike`;
    setText(this.parts["accord-word"], words);
    this.parts.accord.setAttribute("aria-valuenow", String(agreement ?? 0));
    this.parts.accord.setAttribute("aria-valuetext", words || "one of them is missing");
  }

  /** @param {string} text */
  speak(text) {
    clearTimeout(this.pending);
    this.pending = setTimeout(() => setText(this.parts.spoken, text), SPEAK_AFTER_MS);
  }
}

/** What the face does beside its emotion, in words. @param {?import("./words.js").Does | undefined} face */
function does(face) {
  if (face?.yaw_deg == null || face.pitch_deg == null || face.roll_deg == null) return "";
  const angle = (/** @type {number} */ degrees, /** @type {string} */ more, /** @type {string} */ less) =>
    `${Math.abs(Math.round(degrees))}° ${degrees < 0 ? less : more}`;
  const head = [angle(face.yaw_deg, "right", "left"), angle(face.pitch_deg, "up", "down"), angle(face.roll_deg, "clockwise", "anticlockwise")];
  const more = [face.eyes_closed && "eyes closed", (face.mouth_open ?? 0) > 0.1 && "mouth open"].filter(Boolean);
  return [`head ${head.join(", ")}`, ...more].join(" · ");
}

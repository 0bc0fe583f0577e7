/** Words, numbers and colours that several parts of the page share. No state. */

/**
 * @typedef {Object.<string, number>} Probabilities  emotion → 0…1; an emotion that is not known is absent
 * @typedef {{track: number, box: number[], score: number, video: Probabilities, fused: Probabilities,
 *   label: string, confidence: number, weights: {video: number, speech: number}, other?: Probabilities,
 *   video_other?: Probabilities}} Face
 * @typedef {{label: ?string, probabilities: ?Probabilities, voice: number, age_ms: number, because: ?string,
 *   other?: Probabilities}} Speech
 * @typedef {{yaw_deg: ?number, pitch_deg: ?number, roll_deg: ?number, eyes_closed: ?boolean, mouth_open: ?number}} Does
 * @typedef {{stream: string, seq: number, t: number, faces: (Face & {face: ?Does})[], speech: ?Speech,
 *   emotion: {label: ?string, confidence: ?number, agreement: ?number, because: ?string, other?: Probabilities},
 *   latency_ms: {queue: number, inference: number, total: number}, failed: ?string}} Emotion
 * @typedef {{at: number, t: number, label: ?string, confidence: ?number, agreement: ?number, because: ?string,
 *   accord: "none" | "agree" | "differ" | "conflict", video: ?(?number)[], speech: ?(?number)[],
 *   fused: ?(?number)[], affect: ?[number, number]}} Point  as workers/view/state.py makes it: lists of emotions, then
 *   of further categories
 */

/** @type {string[]} the emotions in their order, as the server says; until then the seven (models/emotions.py) */
export let EMOTIONS = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger"];
/** @type {string[]} further categories that count */
export let CATEGORIES = [];
/** @type {Object.<string, string>} by name, the name of its colour in style.css */
let colourOf = {};

/** Take what results are about from the server. @param {{emotions: string[], categories: string[], colours: Object.<string, string>}} said @returns {boolean} whether it is news */
export function useEmotions({ emotions, categories, colours }) {
  const before = [EMOTIONS, CATEGORIES].join(";");
  [EMOTIONS, CATEGORIES, colourOf] = [emotions, categories, colours];
  return [EMOTIONS, CATEGORIES].join(";") !== before;
}

/** @param {?number} share 0…1 */
export function percent(share) {
  return share == null ? "–" : `${Math.round(100 * share)} %`;
}

/** @param {?number} value −1…1 */
export function signed(value) {
  return value == null ? "–" : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
}

/** @param {?Probabilities} probabilities @returns {?string} the most probable emotion */
export function top(probabilities) {
  if (!probabilities) return null;
  const known = Object.keys(probabilities);
  return known.length ? known.reduce((best, name) => (probabilities[name] > probabilities[best] ? name : best)) : null;
}

/** Share from which on a further category is named beside the verdict. */
const LEAST_OTHER = 0.2;

/** Further categories that are strong, in words, the strongest first. @param {Probabilities} [other] @returns {string[]} */
export function strong(other) {
  const found = Object.entries(other ?? {}).filter(([, share]) => share >= LEAST_OTHER);
  return found.sort((one, two) => two[1] - one[1]).map(([name, share]) => `${name} ${percent(share)}`);
}

/** Why there is no face. @param {boolean} hasPicture of the stream */
export function faceless(hasPicture) {
  return hasPicture ? "no face" : "no picture";
}

/** @param {number} seconds */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return (parts[0] ? parts : parts.slice(1)).map((part) => String(part).padStart(2, "0")).join(":");
}

/** The page's colours, as the style sheet has them for light and dark; read again when that changes. */
export class Colours {
  constructor() {
    this.read();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.read());
  }

  read() {
    const style = getComputedStyle(document.documentElement);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
    for (const name of ["ink", "quiet", "faint", "line", "line-strong", "panel", "stage", "video", "speech", "fused", "bad"]) this[name] = colour(name);
    this.fusedSoft = colour("fused-soft");
    /** @type {Object.<string, string>} of each emotion, for stretches of one label */
    this.emotions = Object.fromEntries([...EMOTIONS, ...CATEGORIES].map((name) => [name, colour(colourOf[name] ?? name)]));
    this.font = getComputedStyle(document.body).fontFamily;
  }
}

/** @param {string} id @returns {HTMLElement} */
export function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`there is no element ${id}`);
  return found;
}

/** Set a text only where it differs, to avoid needless layout. @param {Element} place @param {string} text */
export function setText(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

/** Make a canvas as sharp as the screen. @param {HTMLCanvasElement} canvas @returns {{width: number, height: number}} in CSS pixels */
export function fit(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = Math.min(devicePixelRatio || 1, 2);
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  canvas.getContext("2d")?.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { width, height };
}

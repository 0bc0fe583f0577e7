/** A still of what the page shows: the picture with its boxes, and the verdict in words below it. */

import { clock, percent, strong } from "./words.js";

/** @typedef {import("./stage.js").Stage} Stage */

const FOOT = 34;

/**
 * Save it as a PNG of the reader's own.
 * @param {Stage} stage @param {import("./words.js").Colours} colours @returns {Promise<?string>} its name; null before the first frame
 */
export async function save(stage, colours) {
  const { head, canvas, part } = stage;
  if (!head || !part) return null;
  const ratio = canvas.width / canvas.clientWidth;
  const [width, height] = [Math.round(part.width * ratio), Math.round(part.height * ratio)];
  const still = new OffscreenCanvas(width, height + Math.round(FOOT * ratio));
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (still.getContext("2d"));
  context.fillStyle = colours.panel;
  context.fillRect(0, 0, still.width, still.height);
  context.drawImage(canvas, part.x * ratio, part.y * ratio, width, height, 0, 0, width, height);
  context.scale(ratio, ratio);
  context.textBaseline = "middle";
  context.fillStyle = colours.ink;
  context.font = `600 14px ${colours.font}`;
  const [verdict, rest] = sentence(head);
  const middle = part.height + FOOT / 2;
  context.fillText(verdict, 10, middle);
  const left = 10 + context.measureText(verdict).width + 12;
  context.fillStyle = colours.quiet;
  context.font = `400 13px ${colours.font}`;
  context.fillText(rest, left, middle, Math.max(1, part.width - left - 10));
  const name = nameOf(head);
  const address = URL.createObjectURL(await still.convertToBlob({ type: "image/png" }));
  const link = document.createElement("a");
  [link.href, link.download] = [address, name];
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
  return name;
}

/** @param {import("./connection.js").FrameHead} head @returns {[string, string]} */
function sentence({ event, shows, point }) {
  const { label, confidence } = event.emotion;
  const heard = event.speech?.label;
  const verdict = point.accord === "conflict" && shows && heard ? `${shows} ≠ ${heard}` : label ? `${label} ${percent(confidence)}` : "unknown";
  const sides = [shows && `face ${shows}`, heard && `voice ${heard}`].filter(Boolean).join(", ");
  return [[verdict, ...strong(event.emotion.other)].join(" · "), [sides, event.stream, clock(event.t), `frame ${event.seq}`].filter(Boolean).join(" · ")];
}

/** @param {import("./connection.js").FrameHead} head */
function nameOf({ event }) {
  const parts = [event.stream, clock(event.t).replaceAll(":", "-"), event.seq, event.emotion.label ?? "unknown"];
  return `${parts.join(" ").replaceAll(/[^\p{L}\p{N} ._-]+/gu, "_")}.png`;
}

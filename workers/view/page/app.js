/** The page: passes messages of the connection to its parts; a frame and its event always together. */

import { Affect } from "./affect.js";
import { Bars } from "./bars.js";
import { Connection } from "./connection.js";
import { listen } from "./keys.js";
import { Banners, Processes } from "./processes.js";
import { Recording } from "./recording.js";
import { save } from "./snapshot.js";
import { Stage } from "./stage.js";
import { Streams } from "./streams.js";
import { Timeline } from "./timeline.js";
import { Verdict } from "./verdict.js";
import { Colours, clock, element, setText, useEmotions } from "./words.js";

/** @typedef {import("./connection.js").Frame} Frame */

const colours = new Colours();
const stage = new Stage(/** @type {HTMLCanvasElement} */ (element("picture")), colours);
const timeline = new Timeline(element("timeline"), colours);
const bars = new Bars(element("bars"));
const verdict = new Verdict();
const processes = new Processes();
const banners = new Banners();
const affect = new Affect(element("affect"), colours);
const streams = new Streams(choose);

/** @type {?Frame} the newest frame that was not decoded */
let waiting = null;
/** @type {?{head: import("./connection.js").FrameHead, bitmap: ?ImageBitmap}} decoded, for the screen's next picture */
let ready = null;
let decoding = false;
let held = false;
/** @type {?string} stream of the newest history */
let historyOf = null;

const connection = new Connection({ frame: onFrame, message: onMessage, opened: onOpen, lost: onLost });
const recording = new Recording((on) => connection.record(on));

// ---------------------------------------------------------------- messages

/** @param {Frame} frame */
function onFrame(frame) {
  if (held || frame.head.event.stream !== streams.chosen) return;
  waiting = frame;
  if (!decoding) decode();
}

/** Decode the newest frame; frames that arrive meanwhile replace each other. */
async function decode() {
  decoding = true;
  while (waiting) {
    const { head, jpeg } = waiting;
    waiting = null;
    const bitmap = jpeg.length ? await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })).catch(() => null) : null;
    ready?.bitmap?.close();
    ready = { head, bitmap };
  }
  decoding = false;
}

/** @param {number} time */
function draw(time) {
  if (ready && ready.head.event.stream === streams.chosen && !held) {
    const { head, bitmap } = ready;
    stage.show(head, bitmap);
    bars.show(head, stage.hasPicture);
    verdict.show(head, stage.hasPicture);
    timeline.tick(head.at);
    timeline.add(head.point);
    caption(head);
  } else ready?.bitmap?.close();
  ready = null;
  if (timeline.frame(time)) affect.paint(timeline.points, timeline.now);
  requestAnimationFrame(draw);
}

/** @param {any} message */
function onMessage(message) {
  if (message.type === "state") {
    timeline.tick(message.now);
    streams.show(message.streams);
    stage.hasPicture = streams.current?.has_picture ?? true;
    processes.show(message.processes);
    banners.show(message.banners);
    recording.show(message.recording);
    const current = streams.current;
    element("stage").classList.toggle("stale", !current || current.ended || (current.silent_s ?? 0) > 3);
    if (current && !stage.head) setText(element("caption"), current.source || current.stream);
  } else if (message.type === "history") {
    timeline.history(message.points, message.stream === historyOf);
    historyOf = message.stream;
  } else if (message.type === "notice") {
    banners.tell(message.about, message.text);
    recording.refused();
  } else if (message.type === "hello") hello(message);
}

/** @param {{session: string, visitors: string[], emotions: string[], categories: string[], colours: Object.<string, string>}} message */
async function hello(message) {
  if (useEmotions(message)) {
    colours.read();
    bars.build();
    timeline.build();
  }
  setText(element("session"), message.session);
  document.title = `bimodal · ${message.session}`;
  // It fills the element "visitor" by itself, once.
  if (message.visitors.length) await import("./visitor.js");
}

function onOpen() {
  document.body.classList.remove("lost");
  banners.setOwn(null);
  selectStream();
}

function onLost() {
  banners.setOwn({ level: "error", about: "connection", text: "lost; trying again until the server answers" });
  element("stage").classList.add("stale");
  document.body.classList.add("lost");
}

// ---------------------------------------------------------------- user actions

/** @param {string} name */
function choose(name) {
  if (name === streams.chosen) return;
  streams.chosen = name;
  waiting = null;
  stage.hasPicture = streams.current?.has_picture ?? true;
  stage.clear();
  bars.clear();
  verdict.clear();
  setText(element("moment"), "");
  setText(element("caption"), streams.current?.source ?? name);
  streams.draw();
  streams.figures();
  selectStream();
}

/** Ask for the chosen stream; for none while the tab is hidden. */
function selectStream() {
  connection.select(document.hidden ? null : streams.chosen);
}

function hold() {
  held = !held;
  timeline.held = held;
  const moment = element("moment").textContent.replace(/^held · /, "");
  setText(element("moment"), held ? `held · ${moment}` : moment);
}

/** @param {import("./connection.js").FrameHead} head */
function caption({ size, event }) {
  const source = streams.current?.source || event.stream;
  setText(element("caption"), size ? `${source} · ${size[0]} × ${size[1]}` : source);
  setText(element("moment"), `${size ? "frame" : "hop"} ${event.seq} · ${clock(event.t)}`);
}

function snapshot() {
  save(stage, colours);
}

element("snapshot").onclick = snapshot;
listen({
  stream: (number) => streams.nth(number),
  step: (step) => streams.step(step),
  hold,
  snapshot,
  boxes: () => {
    stage.boxes = !stage.boxes;
    stage.paint();
  },
});
document.addEventListener("visibilitychange", selectStream);
requestAnimationFrame(draw);

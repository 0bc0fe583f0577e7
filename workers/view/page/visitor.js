// The visitor's own camera and microphone as a stream of the pipeline: button, preview, status.
// Fills the element with the id "visitor", which stays hidden where no stream is for visitors.

import { Camera } from "./visitor_camera.js";
import { Line } from "./visitor_line.js";
import { Sound } from "./visitor_sound.js";

const NO_DEVICES =
  "This browser lends a camera only to pages over HTTPS, or on the machine itself. " +
  "Whoever runs this page can make a certificate with 'bimodal keys tls' and name it in config.yaml " +
  "(outputs.view.tls_certificate and tls_key).";
const START = "Use my camera";
const FIRST_REFUSAL = 4400;
const WRONG_TOKEN = 4401;
const MOST_WAIT_MS = 10_000;
const CLEAN = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

class Visit {
  constructor(root, offer) {
    this.root = root;
    this.build(Object.keys(offer.streams), offer.token);
    if (!navigator.mediaDevices?.getUserMedia) {
      this.button.disabled = true;
      this.say(NO_DEVICES, "error");
    }
  }

  build(streams, needsToken) {
    this.button = make("button", { type: "button", id: "visitor-button", textContent: START });
    this.button.onclick = () => (this.wanted ? this.stop("", "") : this.begin());
    this.choice = make("select", { id: "visitor-stream", hidden: streams.length < 2 });
    this.choice.setAttribute("aria-label", "Which stream to be");
    this.choice.append(...streams.map((name) => make("option", { value: name, textContent: name })));

    this.token = make("input", { id: "visitor-token", type: "password", autocomplete: "off", placeholder: "token" });
    this.token.setAttribute("aria-label", "Token for lending a camera");
    this.token.value = givenToken();
    this.asking = make("form", { className: "visitor-row", hidden: !needsToken }, this.token, make("button", { textContent: "Go" }));
    this.asking.onsubmit = (event) => {
      event.preventDefault();
      this.begin();
    };

    this.preview = make("video", { muted: true, playsInline: true, hidden: true, className: "visitor-preview" });
    this.preview.setAttribute("aria-label", "What your camera shows");
    this.note = make("p", { id: "visitor-note", className: "visitor-note" });
    this.note.setAttribute("role", "status");
    this.panel = make("div", { className: "visitor-panel", hidden: true }, this.asking, this.preview, this.note);
    this.root.replaceChildren(make("span", { className: "visitor-row" }, this.choice, this.button), this.panel);
    this.root.hidden = false;
  }

  // `kind` is "live", "error" or "": nothing that needs to be seen.
  say(sentence, kind) {
    this.note.textContent = sentence;
    this.panel.hidden = kind === "" && !this.wanted;
    this.root.dataset.state = kind;
  }

  async begin() {
    if (this.wanted) return;
    if (!this.asking.hidden && !this.token.value) {
      this.say("Whoever runs this page knows the token.", "error");
      this.token.focus();
      return;
    }
    this.wanted = true;
    this.button.disabled = true;
    this.say("Asking for your camera and microphone …", "");
    try {
      await this.openDevices();
    } catch (error) {
      this.stop(refusal(error), "error");
      return;
    } finally {
      this.button.disabled = false;
    }
    this.button.textContent = "Stop my camera";
    this.waitMs = 500;
    this.connect();
  }

  async openDevices() {
    const video = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, facingMode: "user" };
    try {
      this.media = await navigator.mediaDevices.getUserMedia({ video, audio: CLEAN });
    } catch (error) {
      // Without a microphone, the camera alone will do.
      if (!["NotFoundError", "NotReadableError", "OverconstrainedError"].includes(error.name)) throw error;
      this.media = await navigator.mediaDevices.getUserMedia({ video });
    }
    for (const track of this.media.getTracks()) track.onended = () => this.stop("The device was unplugged.", "error");
    this.preview.srcObject = this.media;
    this.preview.hidden = false;
    await this.preview.play();
    this.camera = new Camera(this.preview);
    this.sound = null;
    if (this.media.getAudioTracks().length > 0) {
      this.sound = new Sound(this.media);
      await this.sound.open();
    }
    this.awake = await navigator.wakeLock?.request("screen").catch(() => null);
  }

  connect() {
    const introduction = { stream: this.choice.value, token: this.token.value };
    const line = new Line(
      introduction,
      (message) => this.onMessage(message, line),
      (code, reason) => this.onClose(code, reason),
    );
    this.line = line;
  }

  onMessage(message, line) {
    if (message.type === "welcome") {
      this.waitMs = 500;
      this.camera.start(line);
      this.sound?.start(line);
      this.say(`You are '${message.stream}'.`, "live");
    } else if (message.type === "received") {
      const hidden = document.hidden ? " Pictures rest while this page is hidden." : "";
      const left = line.skipped + message.lost;
      const sound = this.sound ? `${message.sounds} stretches of sound` : "no sound";
      this.say(`You are '${this.choice.value}': ${message.pictures} pictures, ${sound}, ${left} left out.${hidden}`, "live");
    }
  }

  onClose(code, reason) {
    if (!this.wanted) return;
    if (code >= FIRST_REFUSAL) {
      if (code === WRONG_TOKEN) this.asking.hidden = false;
      this.stop(`Not possible: ${reason}.`, "error");
      return;
    }
    this.say("The connection was lost; trying again …", "error");
    this.retry = setTimeout(() => this.connect(), this.waitMs);
    this.waitMs = Math.min(MOST_WAIT_MS, 2 * this.waitMs);
  }

  stop(sentence, kind) {
    this.wanted = false;
    clearTimeout(this.retry);
    this.line?.close();
    this.camera?.stop();
    this.sound?.close();
    this.awake?.release();
    for (const track of this.media?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    this.line = this.camera = this.sound = this.media = this.awake = null;
    this.preview.srcObject = null;
    this.preview.hidden = true;
    this.button.textContent = START;
    this.say(sentence, kind);
  }
}

// A link may carry the token behind its #, which no server and no log sees.
function givenToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("visitor-token");
  if (given) history.replaceState(null, "", location.pathname + location.search);
  return given ?? "";
}

function refusal(error) {
  if (error.name === "NotAllowedError") return "The browser may not use the camera: allow it in the address bar.";
  if (error.name === "NotFoundError") return "There is no camera.";
  if (error.name === "NotReadableError") return "The camera can't be opened; is another program using it?";
  return `The camera can't be used: ${error.message}`;
}

const root = document.getElementById("visitor");
if (root) {
  const offer = await (await fetch(new URL("../visitors", import.meta.url))).json();
  if (Object.keys(offer.streams).length > 0) new Visit(root, offer);
}

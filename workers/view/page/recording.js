/** The button that begins and stops recording, where config.yaml names a folder for recordings. */

import { element, setText } from "./words.js";

const WORDS = { off: "Record", starting: "Recording begins …", draining: "Recording stops …" };

export class Recording {
  /** @param {(on: boolean) => void} ask */
  constructor(ask) {
    this.button = /** @type {HTMLButtonElement} */ (element("record"));
    /** @type {?string} the recorder's state when the button was pressed; until it changes, it is not pressed again */
    this.pressed = null;
    /** @type {string} */
    this.state = "off";
    this.button.onclick = () => {
      if (this.pressed === this.state) return;
      this.pressed = this.state;
      this.draw();
      ask(this.state === "off");
    };
  }

  /** @param {?string} state "off", or the recorder's state in one word; null where there is no folder */
  show(state) {
    this.button.hidden = state == null;
    if (state == null) return;
    this.state = state;
    if (this.pressed !== state) this.pressed = null;
    this.draw();
  }

  /** A request was refused. */
  refused() {
    this.pressed = null;
    this.draw();
  }

  draw() {
    const { state } = this;
    const word = this.pressed === state ? (state === "off" ? "starting" : "draining") : state;
    setText(this.button, WORDS[word] ?? "Stop recording");
    this.button.className = word === "off" ? "off" : "on";
    // Not disabled, which would take the focus from whoever uses the keyboard.
    this.button.setAttribute("aria-disabled", String(word === "starting" || word === "draining"));
  }
}

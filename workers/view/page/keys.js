/** Keyboard shortcuts; the list that '?' opens (index.html) explains them. */

import { element } from "./words.js";

/**
 * @param {{stream: (number: number) => void, step: (step: number) => void, hold: () => void,
 *   boxes: () => void, snapshot: () => void}} does
 */
export function listen(does) {
  const help = /** @type {HTMLDialogElement} */ (element("help"));
  element("help-open").onclick = () => help.showModal();
  help.addEventListener("click", (event) => event.target === help && help.close());
  document.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || help.open || target.matches("input, textarea, select")) return;
    if (event.key === " " && target.matches("button, a")) return;
    const action = {
      "?": () => help.showModal(),
      " ": does.hold,
      "[": () => does.step(-1),
      "]": () => does.step(1),
      b: does.boxes,
      s: does.snapshot,
      f: fullScreen,
      t: () => element("timeline").focus(),
      p: () => element("processes").focus(),
    }[event.key];
    if (action) action();
    else if (/^[1-9]$/.test(event.key)) does.stream(Number(event.key));
    else return;
    event.preventDefault();
  });
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else element("stage").requestFullscreen?.();
}

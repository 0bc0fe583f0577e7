/** The table of processes, and the banners of problems. */

import { clock, element, setText } from "./words.js";

/**
 * @typedef {{name: string, word: string, pid: ?number, restarts: number, cpu_percent: ?number, memory_mb: ?number,
 *   up_s: ?number, queue: ?number, models: Object.<string, string>, because: ?string}} Process
 * @typedef {{level: "error" | "warning", about: string, text: string}} Banner
 */

const NOTICE_MS = 15_000;
const ORDER = ["supervisor", "broker", "capture", "face", "audio", "fusion", "record", "view"];

/** @param {string} name */
function rank(name) {
  const place = ORDER.indexOf(name.split(" ")[0]);
  return place < 0 ? ORDER.length : place;
}

/** @param {?number} value @param {string} unit */
function figure(value, unit) {
  return value == null ? "–" : `${Math.round(value)}${unit}`;
}

export class Processes {
  constructor() {
    this.body = /** @type {HTMLElement} */ (element("processes").querySelector("tbody"));
    this.title = element("processes-title");
    // Whoever folds it once finds it folded again.
    const fold = /** @type {HTMLDetailsElement} */ (element("processes-fold"));
    try {
      fold.open = localStorage.getItem("processes") !== "folded";
    } catch {
      // Storage may be forbidden.
    }
    fold.addEventListener("toggle", () => {
      try {
        localStorage.setItem("processes", fold.open ? "open" : "folded");
      } catch {
        // Storage may be forbidden.
      }
    });
    /** @type {Map<string, HTMLTableRowElement>} */
    this.rows = new Map();
  }

  /** @param {Process[]} processes */
  show(processes) {
    const sorted = [...processes].sort((a, b) => rank(a.name) - rank(b.name) || a.name.localeCompare(b.name, "en", { numeric: true }));
    const names = new Set(sorted.map((process) => process.name));
    for (const [name, row] of this.rows) {
      if (names.has(name)) continue;
      row.remove();
      this.rows.delete(name);
    }
    sorted.forEach((process, index) => {
      const row = this.rows.get(process.name) ?? this.add(process.name);
      if (this.body.children[index] !== row) this.body.insertBefore(row, this.body.children[index] ?? null);
      this.fill(row, process);
    });
    const well = sorted.filter((process) => process.word === "ready").length;
    setText(this.title, `Processes · ${well} of ${sorted.length} ready`);
  }

  /** @param {string} name */
  add(name) {
    const row = document.createElement("tr");
    row.dataset.name = name;
    const head = document.createElement("th");
    head.scope = "row";
    head.append(document.createElement("span"), document.createElement("small"));
    const state = document.createElement("td");
    state.append(document.createElement("span"));
    row.append(head, state);
    for (let column = 0; column < 5; column++) {
      const cell = document.createElement("td");
      cell.className = "n";
      row.append(cell);
    }
    this.rows.set(name, row);
    return row;
  }

  /** Each in an element of its own, so that no name is broken. @param {Element} place @param {string[]} models */
  models(place, models) {
    if (place.textContent === models.join("")) return;
    place.replaceChildren(
      ...models.map((model) => {
        const piece = document.createElement("span");
        piece.textContent = model;
        return piece;
      }),
    );
  }

  /** @param {HTMLTableRowElement} row @param {Process} process */
  fill(row, process) {
    const [head, state, ...cells] = row.children;
    setText(head.children[0], process.name);
    this.models(head.children[1], Object.values(process.models));
    const word = /** @type {HTMLElement} */ (state.firstElementChild);
    word.className = `state ${process.word}`;
    setText(word, process.word);
    row.title = process.because ?? (process.up_s == null ? "" : `up for ${clock(process.up_s)}`);
    const figures = [
      process.pid == null ? "–" : String(process.pid),
      String(process.restarts),
      figure(process.cpu_percent, " %"),
      figure(process.memory_mb, " MB"),
      process.queue == null ? "" : String(process.queue),
    ];
    figures.forEach((text, index) => setText(cells[index], text));
    // On a phone the row is a card, and this is its second line.
    row.dataset.figures = [
      `pid ${figures[0]}`,
      process.restarts ? `started again ${process.restarts}×` : "",
      process.cpu_percent == null ? "" : `CPU ${figures[2]}`,
      process.memory_mb == null ? "" : figures[3],
      process.queue == null ? "" : `queue ${process.queue}`,
    ].filter(Boolean).join(" · ");
  }
}

export class Banners {
  constructor() {
    this.list = element("banners");
    /** @type {Banner[]} */
    this.fromServer = [];
    /** @type {?Banner} */
    this.fromPage = null;
    /** @type {?Banner} what the server has refused, for a while */
    this.notice = null;
    this.forgetting = 0;
  }

  /** @param {string} about @param {string} text */
  tell(about, text) {
    clearTimeout(this.forgetting);
    this.notice = { level: "warning", about, text };
    this.forgetting = setTimeout(() => {
      this.notice = null;
      this.draw();
    }, NOTICE_MS);
    this.draw();
  }

  /** @param {Banner[]} banners of the server */
  show(banners) {
    this.fromServer = banners;
    this.draw();
  }

  /** @param {?Banner} banner of the page itself: that it has lost the server */
  setOwn(banner) {
    this.fromPage = banner;
    this.draw();
  }

  draw() {
    const wanted = this.fromPage ? [this.fromPage] : [...(this.notice ? [this.notice] : []), ...this.fromServer];
    while (this.list.children.length > wanted.length) this.list.lastElementChild?.remove();
    wanted.forEach((banner, index) => {
      let item = this.list.children[index];
      if (!item) {
        item = document.createElement("li");
        item.append(document.createElement("strong"), document.createElement("span"));
        this.list.append(item);
      }
      item.className = banner.level;
      setText(item.children[0], banner.about);
      setText(item.children[1], banner.text);
    });
  }
}

/** The WebSocket to the server; reconnects by itself. */

/**
 * @typedef {{at: number, size: ?[number, number], picture: "jpeg" | "hidden" | "none",
 *   event: import("./words.js").Emotion, leading: ?number, shows: ?string, fused: ?import("./words.js").Probabilities,
 *   point: import("./words.js").Point}} FrameHead  as workers/view/live_socket.py makes it
 * @typedef {{head: FrameHead, jpeg: Uint8Array}} Frame
 */

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;
/** The server sends twice a second; a connection that is silent for so long is dead. */
const SILENT_MS = 6000;

const text = new TextDecoder();

/** @param {ArrayBuffer} data @returns {Frame} */
export function unpack(data) {
  const length = new DataView(data).getUint32(0, true);
  return { head: JSON.parse(text.decode(new Uint8Array(data, 4, length))), jpeg: new Uint8Array(data, 4 + length) };
}

export class Connection {
  /**
   * @param {{frame: (frame: Frame) => void, message: (message: any) => void,
   *   opened: () => void, lost: (retryInMs: number) => void}} listener
   */
  constructor(listener) {
    this.listener = listener;
    /** @type {?WebSocket} */
    this.socket = null;
    this.pause = FIRST_PAUSE_MS;
    this.heard = 0;
    setInterval(() => this.check(), 1000);
    this.open();
  }

  open() {
    const address = new URL("../stream", import.meta.url);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.pause = FIRST_PAUSE_MS;
      this.heard = performance.now();
      this.listener.opened();
    };
    socket.onmessage = ({ data }) => {
      this.heard = performance.now();
      if (typeof data === "string") this.listener.message(JSON.parse(data));
      else this.listener.frame(unpack(data));
    };
    socket.onclose = () => this.lost(socket);
    this.socket = socket;
  }

  /** @param {WebSocket} socket */
  lost(socket) {
    if (this.socket !== socket) return;
    this.socket = null;
    this.listener.lost(this.pause);
    setTimeout(() => this.reconnect(), this.pause);
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
  }

  /** Reload where the server now asks for its token (it redirects the page, and only refuses a WebSocket); else open. */
  async reconnect() {
    try {
      const answer = await fetch(new URL("..", import.meta.url), { cache: "no-store" });
      if (answer.redirected) return location.reload();
    } catch {
      // The server is not there yet; the WebSocket will fail and be retried.
    }
    this.open();
  }

  check() {
    const socket = this.socket;
    if (!socket || socket.readyState !== WebSocket.OPEN || performance.now() - this.heard < SILENT_MS) return;
    socket.close();
    this.lost(socket);
  }

  /** @param {?string} stream that the page shows; null while its tab is hidden */
  select(stream) {
    this.send({ look: stream });
  }

  /** @param {boolean} on whether to begin or to stop */
  record(on) {
    this.send({ record: on });
  }

  /** @param {object} request */
  send(request) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(request));
  }
}

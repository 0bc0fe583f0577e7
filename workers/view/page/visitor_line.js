// The WebSocket /visit, and the layout of its messages (workers/view/visitor_message.py).

const HEADER_BYTES = 32;
const VERSION = 1;
export const PICTURE = 1;
export const SOUND = 2;

// Bytes that may wait for a slow network before pictures, and then sound too, are left out.
const PICTURES_WAIT_BYTES = 300_000;
const SOUND_WAIT_BYTES = 600_000;

export function packed(kind, rate, capturedMs, position, data) {
  const message = new Uint8Array(HEADER_BYTES + data.byteLength);
  const header = new DataView(message.buffer);
  header.setUint8(0, 0x62); // b
  header.setUint8(1, 0x76); // v
  header.setUint8(2, VERSION);
  header.setUint8(3, kind);
  header.setUint32(4, rate, true);
  header.setFloat64(8, capturedMs, true);
  header.setFloat64(16, performance.now(), true);
  header.setBigUint64(24, BigInt(position), true);
  message.set(new Uint8Array(data), HEADER_BYTES);
  return message;
}

export class Line {
  // `onMessage` is called with every message of the server, `onClose` once with the code and the reason of the close.
  constructor(introduction, onMessage, onClose) {
    const address = new URL("../visit", import.meta.url);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.open = false;
    this.skipped = 0;
    this.lastSecond = [];
    this.socket.onopen = () => this.socket.send(JSON.stringify(introduction));
    this.socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.type === "welcome") {
        this.limits = message;
        this.open = true;
      }
      onMessage(message);
    };
    this.socket.onclose = (event) => {
      this.open = false;
      onClose(event.code, event.reason);
    };
  }

  // True while a picture may be sent: on a slow network newer pictures are worth more than older ones.
  get ready() {
    return this.open && this.socket.bufferedAmount < PICTURES_WAIT_BYTES;
  }

  sendPicture(capturedMs, number, jpeg) {
    const now = performance.now();
    this.lastSecond = this.lastSecond.filter(([at]) => now - at < 1000);
    const sent = this.lastSecond.reduce((sum, [, bytes]) => sum + bytes, jpeg.byteLength);
    if (!this.ready || jpeg.byteLength > this.limits.max_picture_bytes || sent > 0.8 * this.limits.max_bytes_per_s) {
      this.skipped += 1;
      return false;
    }
    this.lastSecond.push([now, jpeg.byteLength]);
    this.socket.send(packed(PICTURE, 0, capturedMs, number, jpeg));
    return true;
  }

  sendSound(capturedMs, position, rate, samples) {
    if (this.open && this.socket.bufferedAmount < SOUND_WAIT_BYTES) {
      this.socket.send(packed(SOUND, rate, capturedMs, position, samples));
    }
  }

  close() {
    this.open = false;
    this.socket.close(1000);
  }
}

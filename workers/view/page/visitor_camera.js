// The camera's pictures: each frame of the preview, drawn to a canvas and sent as a JPEG.

const BEST_QUALITY = 0.85;
const WORST_QUALITY = 0.3;
const SLACK_MS = 4;

export class Camera {
  constructor(video) {
    this.video = video;
    this.canvas = document.createElement("canvas");
    this.quality = BEST_QUALITY;
    this.running = false;
  }

  // Sends over `line` until `stop`. A frame that comes while the one before it is still being encoded is left out.
  start(line) {
    this.line = line;
    this.number = 0;
    this.dueMs = 0;
    this.encoding = false;
    if (!this.running) {
      this.running = true;
      this.#next();
    }
  }

  stop() {
    this.running = false;
  }

  #next() {
    if (!this.running) return;
    if (this.video.requestVideoFrameCallback) {
      // captureTime is when the camera took it; where the browser doesn't say, when it is shown.
      this.video.requestVideoFrameCallback((now, frame) => this.#seen(frame.captureTime ?? now));
    } else {
      requestAnimationFrame((now) => this.#seen(now));
    }
  }

  #seen(capturedMs) {
    this.#next();
    const limits = this.line.limits;
    if (!limits || !this.line.ready || this.encoding || this.video.videoWidth === 0) return;
    if (capturedMs < this.dueMs - SLACK_MS) return;
    const intervalMs = 1000 / limits.max_fps;
    this.dueMs = Math.max(this.dueMs, capturedMs - intervalMs) + intervalMs;
    this.#send(capturedMs, limits);
  }

  #send(capturedMs, limits) {
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, limits.max_width / videoWidth, limits.max_height / videoHeight);
    const width = Math.max(1, Math.floor(videoWidth * scale));
    const height = Math.max(1, Math.floor(videoHeight * scale));
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.canvas.getContext("2d", { alpha: false }).drawImage(this.video, 0, 0, width, height);
    this.encoding = true;
    const line = this.line;
    this.canvas.toBlob(
      async (blob) => {
        try {
          const jpeg = blob && (await blob.arrayBuffer());
          if (jpeg && line === this.line) {
            const sent = line.sendPicture(capturedMs, this.number, jpeg);
            this.number += sent ? 1 : 0;
            // A picture that was too large may fit at lower quality.
            const wanted = sent ? this.quality * 1.005 : this.quality * 0.9;
            this.quality = Math.min(BEST_QUALITY, Math.max(WORST_QUALITY, wanted));
          }
        } finally {
          this.encoding = false;
        }
      },
      "image/jpeg",
      this.quality,
    );
  }
}

// On the browser's sound thread: blocks of 128 samples, joined to stretches of some 40 ms, as int16.

const STRETCH = 2048;

class VisitorSound extends AudioWorkletProcessor {
  constructor() {
    super();
    this.held = new Int16Array(STRETCH);
    this.count = 0;
    this.position = 0;
  }

  process([channels]) {
    if (!channels || channels.length === 0) {
      this.count = 0; // a gap: what follows has a later position
      return true;
    }
    if (this.count === 0) this.position = currentFrame;
    const length = channels[0].length;
    for (let index = 0; index < length; index += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[index];
      this.held[this.count + index] = Math.round(32767 * Math.max(-1, Math.min(1, sum / channels.length)));
    }
    this.count += length;
    if (this.count >= STRETCH) {
      this.port.postMessage({ position: this.position, samples: this.held }, [this.held.buffer]);
      this.held = new Int16Array(STRETCH);
      this.count = 0;
    }
    return true;
  }
}

registerProcessor("visitor-sound", VisitorSound);

// The microphone's sound: int16 samples with the time of the first of them.

const RATE = 48_000;

export class Sound {
  constructor(stream) {
    this.stream = stream;
    this.line = null;
  }

  async open() {
    const [track] = this.stream.getAudioTracks();
    this.latencyMs = 1000 * (track.getSettings().latency ?? 0);
    this.context = this.#context();
    await this.context.audioWorklet.addModule(new URL("visitor_worklet.js", import.meta.url));
    this.node = new AudioWorkletNode(this.context, "visitor-sound", { outputChannelCount: [1] });
    this.node.port.onmessage = (event) => this.#heard(event.data);
    this.source.connect(this.node);
    // Silent, but some browsers run only nodes that are connected to the output.
    this.node.connect(this.context.destination);
    await this.context.resume();
  }

  start(line) {
    this.line = line;
  }

  async close() {
    this.line = null;
    if (this.context && this.context.state !== "closed") await this.context.close();
  }

  // At 48 kHz where the browser converts; else at the microphone's own rate.
  #context() {
    for (const options of [{ sampleRate: RATE }, {}]) {
      const context = new AudioContext({ latencyHint: "interactive", ...options });
      try {
        this.source = context.createMediaStreamSource(this.stream);
        return context;
      } catch (error) {
        context.close();
        this.refused = error;
      }
    }
    throw this.refused;
  }

  #heard({ position, samples }) {
    // The message may be late, never early; the server uses the smallest delay.
    const rate = this.context.sampleRate;
    const lastedMs = (1000 * samples.length) / rate;
    this.line?.sendSound(performance.now() - lastedMs - this.latencyMs, position, rate, samples.buffer);
  }
}

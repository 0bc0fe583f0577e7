// Print what changes, from Node.js without any package: node listen.mjs [ADDRESS]
// Node 22 or newer; 20.10 and 21 with `node --experimental-websocket`. A token goes into BIMODAL_TOKEN.
const address = process.argv[2] ?? "ws://127.0.0.1:8484/events?changes=1";
const protocols = process.env.BIMODAL_TOKEN ? ["bimodal", process.env.BIMODAL_TOKEN] : [];

if (typeof WebSocket === "undefined") {
  console.error("this Node.js has no WebSocket: take Node 22 or newer, or 'node --experimental-websocket listen.mjs'");
  process.exit(1);
}

function listen() {
  const events = new WebSocket(address, protocols);
  events.addEventListener("message", ({ data }) => {
    const { stream, t, emotion } = JSON.parse(data);
    console.log(stream, t.toFixed(2), emotion.label ?? `unknown: ${emotion.because}`);
  });
  events.addEventListener("error", () => console.error(`nothing at ${address}; trying again`));
  events.addEventListener("close", () => setTimeout(listen, 1000));
}

listen();

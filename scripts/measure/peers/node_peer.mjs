// face-api and human in a loop, in node with WASM: `node node_peer.mjs NAME`, beside their node_modules.
// The protocol is that of python_peer.py. Their models are read from the package, over a server on loopback.

import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import readline from 'node:readline';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const packages = path.join(path.dirname(fileURLToPath(import.meta.url)), 'node_modules');
const say = (value) => fs.writeSync(1, `${typeof value === 'string' ? value : JSON.stringify(value)}\n`);
for (const name of ['log', 'info', 'warn']) console[name] = console.error;

async function served(folder) {
  const server = http.createServer((request, response) => {
    const file = path.join(folder, path.basename(new URL(request.url, 'http://127.0.0.1').pathname));
    fs.readFile(file, (error, data) => {
      response.writeHead(error ? 404 : 200);
      response.end(error ? '' : data);
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  return `http://127.0.0.1:${server.address().port}/`;
}

async function backend() {
  const tf = require('@tensorflow/tfjs');
  const wasm = require('@tensorflow/tfjs-backend-wasm');
  wasm.setWasmPaths(path.join(packages, '@tensorflow/tfjs-backend-wasm/dist/'));
  await tf.setBackend('wasm');
  await tf.ready();
  return tf;
}

// Its detectors (SSD MobileNet, Tiny) find no face in node, with WASM and with the CPU alike; so it is
// shown faces, and its expression network answers.
async function faceApi() {
  await backend();
  const faceapi = require(path.join(packages, '@vladmandic/face-api/dist/face-api.node-wasm.js'));
  await faceapi.tf.setBackend('wasm');
  await faceapi.tf.ready();
  await faceapi.nets.faceExpressionNet.loadFromDisk(path.join(packages, '@vladmandic/face-api/model'));
  return async ({ data, height, width }) => {
    const tensor = faceapi.tf.tensor3d(data, [height, width, 3], 'int32');
    try {
      return [{ ...(await faceapi.nets.faceExpressionNet.predictExpressions(tensor)) }];
    } finally {
      tensor.dispose();
    }
  };
}

async function human() {
  const tf = await backend();
  const { Human } = require(path.join(packages, '@vladmandic/human/dist/human.node-wasm.js'));
  const off = { enabled: false };
  const program = new Human({
    backend: 'wasm',
    wasmPath: path.join(packages, '@tensorflow/tfjs-backend-wasm/dist/'),
    modelBasePath: await served(path.join(packages, '@vladmandic/human/models')),
    cacheSensitivity: 0,
    debug: false,
    filter: off,
    gesture: off,
    body: off,
    hand: off,
    object: off,
    segmentation: off,
    face: { enabled: true, detector: { maxDetected: 10, skipFrames: 0, skipTime: 0 }, mesh: { enabled: true }, iris: off,
      description: off, antispoof: off, liveness: off,
      emotion: { enabled: true, minConfidence: 0, skipFrames: 0, skipTime: 0 } },
  });
  await program.load();
  return async ({ data, height, width }) => {
    const tensor = program.tf.tensor4d(data, [1, height, width, 3], 'float32');
    try {
      const { face } = await program.detect(tensor);
      face.sort((one, other) => other.box[2] * other.box[3] - one.box[2] * one.box[3]);
      return face.map((each) => Object.fromEntries((each.emotion || []).map(({ emotion, score }) => [emotion, score])));
    } finally {
      tf.dispose(tensor);
    }
  };
}

function picturesOf({ path: file, sizes }) {
  const all = fs.readFileSync(file);
  let at = 0;
  return sizes.map(([height, width]) => {
    const data = new Uint8Array(all.buffer, all.byteOffset + at, height * width * 3);
    at += height * width * 3;
    return { data, height, width };
  });
}

async function turn(look, pictures, seconds) {
  const latency = [];
  let faces = 0;
  const before = process.cpuUsage();
  const begun = performance.now();
  let now = begun;
  while (!latency.length || now - begun < 1000 * seconds) {
    faces += (await look(pictures[latency.length % pictures.length])).length;
    const then = now;
    now = performance.now();
    latency.push(now - then);
  }
  const { user, system } = process.cpuUsage(before);
  return { seconds: (now - begun) / 1000, cpu_s: (user + system) / 1e6, latency_ms: latency, faces };
}

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const order = JSON.parse((await lines.next()).value);
const pictures = picturesOf(order.pictures);
let look;
try {
  look = await { 'face-api': faceApi, human }[process.argv[2]]();
  await look(pictures[0]);
} catch (error) {
  say(`${error}`.split('\n')[0]);
  throw error;
}
say('ready');
for (let { value, done } = await lines.next(); !done; { value, done } = await lines.next()) {
  if (value.trim() === 'answers') {
    const answers = [];
    for (const picture of pictures) answers.push(await look(picture));
    say(answers);
  } else {
    say(await turn(look, pictures, Number(value)));
  }
}
process.exit(0);

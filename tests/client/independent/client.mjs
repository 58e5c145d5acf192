// A client of the sonod daemon written from docs/wire-protocol.md alone: plain Node.js, no library, no sonod code.
//
//     node client.mjs FRAMES_ENDPOINT CONTROL_ENDPOINT
//
// Receives B-mode frames, checks that each says what it is, changes the depth, and sees the change arrive with the frame
// that the reply has named. Prints one JSON object; exit code 0 when all is as documented, 1 otherwise.

import net from "node:net";

const TIMEOUT_MS = 30000;
const MORE = 1, LONG = 2, COMMAND = 4;

function check(condition, text) {
  if (!condition) throw new Error(text);
}

// -- ZMTP 3.0, NULL mechanism (section 5 of the document) ----------------------------------------------------------------

function greeting() {
  const bytes = Buffer.alloc(64);
  bytes[0] = 0xff;
  bytes[8] = 0x01;
  bytes[9] = 0x7f;
  bytes[10] = 3;
  bytes.write("NULL", 12, "ascii");
  return bytes;
}

function frame(flags, body) {
  if (body.length < 256) return Buffer.concat([Buffer.from([flags, body.length]), body]);
  const head = Buffer.alloc(9);
  head[0] = flags | LONG;
  head.writeBigUInt64BE(BigInt(body.length), 1);
  return Buffer.concat([head, body]);
}

function ready(socketType) {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(socketType.length);
  return frame(COMMAND, Buffer.concat([
    Buffer.from("\x05READY\x0bSocket-Type", "latin1"), length, Buffer.from(socketType, "ascii"),
  ]));
}

// One connection; `receive()` gives the next message as an array of Buffers.
class Connection {
  constructor(endpoint, socketType) {
    const match = /^tcp:\/\/\[?([^\]]+)\]?:(\d+)$/.exec(endpoint);
    check(match, `endpoint ${endpoint}: must be tcp://HOST:PORT`);
    this.pending = Buffer.alloc(0);
    this.greeted = false;
    this.parts = [];
    this.messages = [];
    this.waiting = [];
    this.socket = net.connect({ host: match[1], port: Number(match[2]) });
    this.socket.setNoDelay(true);
    this.opened = new Promise((resolve, reject) => {
      this.resolveOpened = resolve;
      this.socket.on("error", reject);
      this.socket.on("close", () => reject(new Error(`${endpoint}: closed by the daemon`)));
    });
    this.socket.on("data", (data) => this.take(data));
    this.socket.write(greeting());
    this.socketType = socketType;
  }

  take(data) {
    this.pending = Buffer.concat([this.pending, data]);
    if (!this.greeted) {
      if (this.pending.length < 64) return;
      check(this.pending[0] === 0xff && (this.pending[9] & 1) === 1, "greeting: wrong signature");
      check(this.pending[10] >= 3, `greeting: version ${this.pending[10]}`);
      check(this.pending.toString("ascii", 12, 16) === "NULL", "greeting: mechanism is not NULL");
      this.pending = this.pending.subarray(64);
      this.greeted = true;
      this.socket.write(ready(this.socketType));
    }
    for (;;) {
      if (this.pending.length < 2) return;
      const flags = this.pending[0];
      let start = 2, length = this.pending[1];
      if (flags & LONG) {
        if (this.pending.length < 9) return;
        start = 9;
        length = Number(this.pending.readBigUInt64BE(1));
      }
      if (this.pending.length < start + length) return;
      const body = Buffer.from(this.pending.subarray(start, start + length));
      this.pending = this.pending.subarray(start + length);
      if (flags & COMMAND) this.command(body);
      else this.part(flags, body);
    }
  }

  command(body) {
    const name = body.toString("ascii", 1, 1 + body[0]);
    if (name === "READY") this.resolveOpened();
    else if (name === "PING") {
      this.socket.write(frame(COMMAND, Buffer.concat([Buffer.from("\x04PONG", "latin1"), body.subarray(7)])));
    } else if (name === "ERROR") throw new Error(`handshake refused: ${body.toString("latin1")}`);
  }

  part(flags, body) {
    this.parts.push(body);
    if (flags & MORE) return;
    const message = this.parts;
    this.parts = [];
    const receiver = this.waiting.shift();
    if (receiver) receiver(message);
    else this.messages.push(message);
  }

  send(body) {
    this.socket.write(frame(0, body));
  }

  receive() {
    if (this.messages.length) return Promise.resolve(this.messages.shift());
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  close() {
    this.socket.removeAllListeners("close");
    this.socket.destroy();
  }
}

// -- frames (section 1) --------------------------------------------------------------------------------------------------

const SIZES = {
  uint8: 1, int8: 1, uint16: 2, int16: 2, uint32: 4, int32: 4, float32: 4, float64: 8, complex64: 8,
};
const near = (a, b) => Math.abs(a - b) <= 1e-9 + 1e-9 * Math.abs(b);

function readFrame(message) {
  check(message.length === 3, `message of ${message.length} parts`);
  const [version, major, product, probe, ...rest] = message[0].toString("ascii").split(".");
  check(version === "sonod" && major === "1" && probe && !rest.length, `topic ${message[0]}`);
  const header = JSON.parse(message[1].toString("utf8"));
  check(header.sonod === 1, `version ${header.sonod}`);
  check(header.product === product && header.probe === probe, "topic and header differ");
  check((header.encoding ?? "raw") === "raw", `encoding ${header.encoding}`);
  const bytes = header.shape.reduce((a, b) => a * b, 1) * SIZES[header.dtype];
  check(message[2].length === bytes, `payload of ${message[2].length} bytes instead of ${bytes}`);
  return { header, pixels: message[2] };
}

function checkGeometry(header) {
  const g = header.geometry;
  check(g.kind === "image", `geometry ${g.kind}`);
  check(g.axes.join() === "z,x", `axes ${g.axes}`);
  check(g.shape.join() === header.shape.join(), "shape of geometry and payload differ");
  check(g.spacing_m[0] > 0 && g.spacing_m[1] > 0, "spacing");
  check(typeof g.fingerprint === "string" && g.fingerprint.length > 8, "fingerprint");
  const [rows, columns] = g.shape;
  for (const [row, column] of [[0, 0], [rows - 1, 0], [0, columns - 1], [rows / 2, columns / 3]]) {
    const x = g.first_pixel_m[0] + column * g.spacing_m[1];
    const y = g.first_pixel_m[1];
    const z = g.first_pixel_m[2] + row * g.spacing_m[0];
    const point = g.image_to_transducer.map((line) => line[0] * column + line[1] * row + line[3]);
    check(near(point[0], x) && near(point[1], y) && near(point[2], z) && near(point[3], 1), "matrix and spacing differ");
  }
  const [row, column] = g.transducer_origin_pixel;
  check(near(g.first_pixel_m[2] + row * g.spacing_m[0], 0), "origin is not at depth 0");
  check(near(g.first_pixel_m[0] + column * g.spacing_m[1], 0), "origin is not in the middle");
}

function checkTimes(header, before) {
  const t = header.times;
  check(t.clock === "monotonic", `clock ${t.clock}`);
  const steps = [t.first_byte_ns, t.last_byte_ns, t.dequeued_ns, t.processed_ns, t.published_ns];
  if (t.transmit_ns !== null) steps.unshift(t.transmit_ns);
  for (let i = 1; i < steps.length; i++) check(steps[i] >= steps[i - 1], `times go back: ${steps}`);
  const utc = t.utc.utc_ns + (t.published_ns - t.utc.monotonic_ns);
  check(Math.abs(utc / 1e6 - Date.now()) < 60000, "UTC is far off");
  if (before) check(header.frame > before.frame && header.session === before.session, "frames do not count up");
}

const lastDepth = (g) => g.first_pixel_m[2] + (g.shape[0] - 1) * g.spacing_m[0];

// -- control (section 2) -------------------------------------------------------------------------------------------------

class Control {
  constructor(connection) {
    this.connection = connection;
    this.count = 0;
  }

  async ask(command, args = {}) {
    const id = `js-${++this.count}`;
    this.connection.send(Buffer.from(JSON.stringify({ id, command, ...args }), "utf8"));
    for (;;) {
      const message = await this.connection.receive();
      check(message.length === 1, `reply of ${message.length} parts`);
      const reply = JSON.parse(message[0].toString("utf8"));
      if (reply.id === id) return reply;
    }
  }
}

// -- the whole story -----------------------------------------------------------------------------------------------------

async function main(framesEndpoint, controlEndpoint) {
  const subscriber = new Connection(framesEndpoint, "SUB");
  const dealer = new Connection(controlEndpoint, "DEALER");
  await Promise.all([subscriber.opened, dealer.opened]);
  subscriber.send(Buffer.from("\x01sonod.1.bmode.", "latin1"));

  const first = readFrame(await subscriber.receive());
  checkGeometry(first.header);
  checkTimes(first.header, null);
  check(first.header.dtype === "uint8", "B-mode is not 8 bit");

  const control = new Control(dealer);
  const description = await control.ask("describe");
  check(description.ok && description.session === first.header.session, "describe");
  const depth = description.knobs.find((knob) => knob.name === "depth_m");
  check(depth && depth.unit === "m", "no knob depth_m");
  check(near(first.header.settings.depth_m, depth.value), "header and describe differ in depth");

  const refused = await control.ask("set", { changes: { depth_m: 1000 } });
  check(!refused.ok && refused.error.code === "refused" && refused.error.problems.length === 1, "1000 m was not refused");
  check(refused.error.message.includes("depth_m"), "the refusal does not name the knob");

  const target = Math.max(depth.minimum, 0.7 * depth.value);
  const reply = await control.ask("set", { changes: { depth_m: target }, expected_revision: description.revision });
  check(reply.ok, `set: ${JSON.stringify(reply.error)}`);
  check(reply.revision > description.revision, "the revision did not grow");
  check(Number.isInteger(reply.first_frame), "no first frame");

  let header = first.header, seen = 0;
  for (;;) {
    const next = readFrame(await subscriber.receive()).header;
    checkTimes(next, header);
    header = next;
    seen += 1;
    const old = header.frame < reply.first_frame;
    check(old ? header.revision < reply.revision : header.revision === reply.revision,
      `frame ${header.frame} has revision ${header.revision}; ${reply.first_frame} is the first of ${reply.revision}`);
    if (!old) break;
  }
  checkGeometry(header);
  check(near(header.settings.depth_m, reply.applied.depth_m), "the frame has another depth");
  check(header.geometry.fingerprint !== first.header.geometry.fingerprint, "the fingerprint did not change");
  const spacing = Math.max(header.geometry.spacing_m[0], first.header.geometry.spacing_m[0]);
  check(lastDepth(header.geometry) < lastDepth(first.header.geometry) - spacing, "the picture is as deep as before");

  subscriber.close();
  dealer.close();
  return {
    probe: header.probe,
    revisions: [first.header.revision, header.revision],
    first_frame: reply.first_frame,
    first_seen: header.frame,
    depths_m: [lastDepth(first.header.geometry), lastDepth(header.geometry)],
    shape: header.shape,
    frames_between: seen,
  };
}

const timer = setTimeout(() => {
  process.stderr.write(`client.mjs: nothing more came within ${TIMEOUT_MS / 1000} s\n`);
  process.exit(1);
}, TIMEOUT_MS);
try {
  check(process.argv.length === 4, "usage: node client.mjs FRAMES_ENDPOINT CONTROL_ENDPOINT");
  const result = await main(process.argv[2], process.argv[3]);
  process.stdout.write(JSON.stringify(result) + "\n");
  clearTimeout(timer);
} catch (error) {
  process.stderr.write(`client.mjs: ${error.message}\n`);
  process.exit(1);
}

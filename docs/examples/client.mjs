// A client of the sonod daemon in plain Node.js, without any library: docs/wire-protocol.md, section 5 included.
//
//     node client.mjs FRAMES_ENDPOINT CONTROL_ENDPOINT
//
// Prints a line of JSON for every B-mode or envelope frame, and changes the depth to 30 mm after the first one. Ends when it is
// told to. What it prints is what `sonod conformance client` asks for (docs/conformance.md).

import net from "node:net";

const MORE = 1, LONG = 2, COMMAND = 4;

// -- ZMTP 3.0, NULL mechanism --------------------------------------------------------------------------------------------

const GREETING = Buffer.alloc(64);
GREETING[0] = 0xff;
GREETING[8] = 0x01;
GREETING[9] = 0x7f;
GREETING[10] = 3;
GREETING.write("NULL", 12, "ascii");

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
  const property = Buffer.concat([Buffer.from("\x0bSocket-Type", "latin1"), length, Buffer.from(socketType, "ascii")]);
  return frame(COMMAND, Buffer.concat([Buffer.from("\x05READY", "latin1"), property]));
}

// Calls `opened()` once, then `received(parts)` with the Buffers of every message.
function connect(endpoint, socketType, opened, received) {
  const match = /^tcp:\/\/\[?([^\]]+)\]?:(\d+)$/.exec(endpoint);
  if (!match) fail(`endpoint ${endpoint}: must be tcp://HOST:PORT`);
  const socket = net.connect({ host: match[1], port: Number(match[2]) });
  let chunks = [], held = 0, needed = 64, greeted = false, parts = [];
  socket.setNoDelay(true);
  socket.write(GREETING);
  socket.on("error", (error) => fail(`${endpoint}: ${error.message}`));
  socket.on("close", () => fail(`${endpoint}: closed by the daemon`));
  socket.on("data", (chunk) => {
    chunks.push(chunk);
    held += chunk.length;
    // A large message comes in many chunks: they are joined only when enough is there.
    if (held < needed) return;
    let data = Buffer.concat(chunks);
    needed = 2;
    if (!greeted) {
      if (data[0] !== 0xff || data[10] < 3 || data.toString("ascii", 12, 16) !== "NULL") fail(`${endpoint}: no ZMTP 3 with NULL`);
      greeted = true;
      data = data.subarray(64);
      socket.write(ready(socketType));
    }
    while (data.length >= 2) {
      const long = (data[0] & LONG) !== 0, start = long ? 9 : 2;
      if (data.length < start) { needed = start; break; }
      const length = long ? Number(data.readBigUInt64BE(1)) : data[1];
      if (data.length < start + length) { needed = start + length; break; }
      const flags = data[0], body = data.subarray(start, start + length);
      data = data.subarray(start + length);
      if (flags & COMMAND) {
        const name = body.toString("ascii", 1, 1 + body[0]);
        if (name === "READY") opened();
        if (name === "ERROR") fail(`${endpoint}: ${body.toString("latin1", 6)}`);
        if (name === "PING") socket.write(frame(COMMAND, Buffer.concat([Buffer.from("\x04PONG", "latin1"), body.subarray(7)])));
        continue;
      }
      parts.push(body);
      if (flags & MORE) continue;
      const message = parts;
      parts = [];
      received(message);
    }
    chunks = [data];
    held = data.length;
  });
  return { send: (text) => socket.write(frame(0, Buffer.from(text, "latin1"))) };
}

// -- frames --------------------------------------------------------------------------------------------------------------

// Name -> bytes, and how a DataView reads one sample.
const TYPES = {
  uint8: [1, "getUint8"], int8: [1, "getInt8"], uint16: [2, "getUint16"], int16: [2, "getInt16"], uint32: [4, "getUint32"],
  int32: [4, "getInt32"], float32: [4, "getFloat32"], float64: [8, "getFloat64"],
};

function sum(header, payload) {
  const [bytes, read] = TYPES[header.dtype], little = (header.byte_order ?? "little") === "little";
  const count = header.shape.reduce((a, b) => a * b, 1);
  if (payload.length !== count * bytes) fail(`frame ${header.frame}: payload of ${payload.length} bytes`);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  let total = 0;
  for (let index = 0; index < count; index++) total += view[read](index * bytes, little);
  return total;
}

// Frames before this one that were never published, whatever the reason.
const lost = (header) => Object.values(header.losses ?? {}).reduce((a, b) => (Number.isInteger(b) ? a + b : a), 0);

function missed(before, header) {
  if (!before || before.session !== header.session) return 0;
  return Math.max(0, header.frame - before.frame - 1 - (lost(header) - lost(before)));
}

function place(geometry, row, column) {
  return [
    geometry.first_pixel_m[0] + column * geometry.spacing_m[1],
    geometry.first_pixel_m[2] + row * geometry.spacing_m[0],
  ];
}

// -- the program ---------------------------------------------------------------------------------------------------------

function tell(values) {
  process.stdout.write(JSON.stringify(values) + "\n");
}

function fail(text) {
  process.stderr.write(`client.mjs: ${text}\n`);
  process.exit(1);
}

if (process.argv.length !== 4) fail("usage: node client.mjs FRAMES_ENDPOINT CONTROL_ENDPOINT");
// Whoever reads our lines may have seen enough.
process.stdout.on("error", () => process.exit(0));
const last = {};
let asked = false;

const control = connect(process.argv[3], "DEALER", () => {}, (parts) => {
  const reply = JSON.parse(parts[0].toString("utf8"));
  if (reply.id !== "depth") return;
  if (!reply.ok) fail(`refused: ${reply.error.message}`);
  tell({ applied: reply.applied, revision: reply.revision, first_frame: reply.first_frame });
});

const frames = connect(
  process.argv[2],
  "SUB",
  () => ["bmode", "envelope"].forEach((product) => frames.send(`\x01sonod.1.${product}.`)),
  (parts) => {
    const header = JSON.parse(parts[1].toString("utf8"));
    if (header.sonod !== 1 || (header.encoding ?? "raw") !== "raw") return;
    const stream = `${header.product}.${header.probe}`, [rows, columns] = header.shape;
    tell({
      product: header.product,
      frame: header.frame,
      revision: header.revision,
      shape: header.shape,
      sum: sum(header, parts[2]),
      last_pixel_m: place(header.geometry, rows - 1, columns - 1),
      missed: missed(last[stream], header),
    });
    last[stream] = header;
    if (!asked) {
      asked = true;
      control.send(JSON.stringify({ id: "depth", command: "set", changes: { depth_m: 0.03 } }));
    }
  },
);

// Files made in the browser: PNG of one picture, animated WebP of many. Nothing is drawn into a picture's pixels; what
// is known about it travels beside them, in the file.

const UNIT_METRE = 1;
const text = new TextEncoder();
const CRC_TABLE = new Uint32Array(256).map((_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** The picture as it was published, pixel for pixel: grey levels, the size of a pixel (pHYs), and the frame's header. */
export async function framePng({ header, samples }) {
  const blob = await blobOf(nativeCanvas(header, samples), "image/png");
  const [dz, dx] = header.geometry.spacing_m;
  const size = new Uint8Array(9);
  const view = new DataView(size.buffer);
  view.setUint32(0, Math.round(1 / dx));
  view.setUint32(4, Math.round(1 / dz));
  view.setUint8(8, UNIT_METRE);
  return withChunks(await blob.arrayBuffer(), [["pHYs", size], ["iTXt", international("sonod", JSON.stringify(header))]]);
}

/** What is on the screen, layer over layer, with the frame's header. */
export async function screenPng(canvases, header) {
  const screen = document.createElement("canvas");
  screen.width = canvases[0].width;
  screen.height = canvases[0].height;
  const context = screen.getContext("2d");
  for (const canvas of canvases) context.drawImage(canvas, 0, 0);
  const blob = await blobOf(screen, "image/png");
  return withChunks(await blob.arrayBuffer(), [["iTXt", international("sonod", JSON.stringify(header))]]);
}

/** The pictures as an animated WebP, without loss, each shown as long as it was on the probe; `progress(done)` is told
    a number from 0 to 1. Pixels are made square. */
export async function animation(frames, progress) {
  const { width, height } = squareSize(frames[0].header);
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { alpha: false });
  const parts = [];
  for (let place = 0; place < frames.length; place++) {
    const { header, samples } = frames[place];
    context.fillRect(0, 0, width, height);
    const own = squareSize(header);
    context.drawImage(nativeCanvas(header, samples), 0, 0, own.width, own.height);
    const blob = await blobOf(canvas, "image/webp", 1);
    if (blob.type !== "image/webp") throw new Error("this browser cannot write WebP; save a PNG instead");
    const next = frames[place + 1] ?? frames[place];
    const before = next === frames[place] ? frames[place - 1] ?? next : frames[place];
    const milliseconds = Math.round((next.header.times.last_byte_ns - before.header.times.last_byte_ns) / 1e6) || 33;
    parts.push(animationFrame(imageChunks(await blob.arrayBuffer()), width, height, milliseconds));
    progress((place + 1) / frames.length);
  }
  const extended = new Uint8Array(10);
  extended[0] = 0x02;
  put24(extended, 4, width - 1);
  put24(extended, 7, height - 1);
  const animated = new Uint8Array([0, 0, 0, 255, 0, 0]);
  const body = joined([text.encode("WEBP"), chunk("VP8X", extended), chunk("ANIM", animated), ...parts]);
  return new Blob([chunk("RIFF", body)], { type: "image/webp" });
}

/** A name that says which frame of which session this is. */
export function fileName(header, words, ending) {
  return `sonod_${header.probe}_${header.session.slice(0, 8)}_${header.frame}${words}.${ending}`;
}

/** Have the browser keep a file. */
export function download(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function nativeCanvas(header, samples) {
  const [rows, columns] = header.geometry.shape;
  const canvas = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  const context = canvas.getContext("2d", { alpha: false });
  const image = context.createImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  for (let index = 0; index < samples.length; index++) pixels[index] = 0xff000000 | (samples[index] * 0x010101);
  context.putImageData(image, 0, 0);
  return canvas;
}

function squareSize({ geometry }) {
  const [rows, columns] = geometry.shape;
  const [dz, dx] = geometry.spacing_m;
  const unit = Math.min(dz, dx);
  return { width: Math.round((columns * dx) / unit), height: Math.round((rows * dz) / unit) };
}

function blobOf(canvas, type, quality) {
  return new Promise((done, failed) => {
    canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error(`no ${type} of this picture`))), type, quality);
  });
}

// -- PNG: chunks go behind the first one, IHDR, which ends at byte 33 (ISO/IEC 15948) -------------------------------

function withChunks(buffer, chunks) {
  const bytes = new Uint8Array(buffer);
  const made = chunks.map(([type, data]) => {
    const body = joined([text.encode(type), data]);
    const part = new Uint8Array(body.length + 8);
    const view = new DataView(part.buffer);
    view.setUint32(0, data.length);
    part.set(body, 4);
    view.setUint32(body.length + 4, crc(body));
    return part;
  });
  return new Blob([joined([bytes.subarray(0, 33), ...made, bytes.subarray(33)])], { type: "image/png" });
}

function international(keyword, words) {
  return joined([text.encode(keyword), new Uint8Array(5), text.encode(words)]);
}

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

// -- WebP: a RIFF container (RFC 9649) ------------------------------------------------------------------------------

/** The chunks of one picture's file that an animation's frame holds. */
function imageChunks(buffer) {
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  const found = [];
  for (let at = 12; at + 8 <= bytes.length; ) {
    const type = String.fromCharCode(...bytes.subarray(at, at + 4));
    const size = view.getUint32(at + 4, true);
    const end = at + 8 + size + (size & 1);
    if (["ALPH", "VP8 ", "VP8L"].includes(type)) found.push(bytes.subarray(at, end));
    at = end;
  }
  return found;
}

function animationFrame(chunks, width, height, milliseconds) {
  const head = new Uint8Array(16);
  put24(head, 6, width - 1);
  put24(head, 9, height - 1);
  put24(head, 12, milliseconds);
  // Whole pictures: not blended with the one before.
  head[15] = 0x02;
  return chunk("ANMF", joined([head, ...chunks]));
}

function chunk(type, data) {
  const part = new Uint8Array(8 + data.length + (data.length & 1));
  part.set(text.encode(type));
  new DataView(part.buffer).setUint32(4, data.length, true);
  part.set(data, 8);
  return part;
}

function put24(bytes, at, value) {
  bytes[at] = value & 255;
  bytes[at + 1] = (value >> 8) & 255;
  bytes[at + 2] = (value >> 16) & 255;
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

// The live socket: frames, notices, and the relation of this page's clock to the daemon's.

const ARRAYS = {
  uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array, uint32: Uint32Array, int32: Int32Array,
  float32: Float32Array, float64: Float64Array,
};
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 2000;
const PING_MS = 2000;
const PINGS_KEPT = 8;
// UTC may be set between two readings of it, by less than this unless it was wrong before.
const SAME_CLOCK_NS = 50e6;

const text = new TextDecoder();

/** Header and samples of one binary message; throws when they do not fit each other. */
export function decodeFrame(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(text.decode(new Uint8Array(buffer, 4, length)));
  const samples = ARRAYS[header.dtype];
  if (header.encoding !== "raw" || header.byte_order !== "little" || !samples) {
    throw new Error(`this page cannot read ${header.dtype} ${header.byte_order} ${header.encoding}`);
  }
  const count = header.shape.reduce((product, size) => product * size, 1);
  const start = 4 + length;
  if (buffer.byteLength - start !== count * samples.BYTES_PER_ELEMENT) {
    throw new Error(`payload of ${buffer.byteLength - start} bytes does not fit the shape ${header.shape}`);
  }
  return { header, samples: new samples(buffer, start, count) };
}

/** Connects again and again; `listener` has opened, closed, hello, notice, frame and problem. */
export class Link {
  #listener;
  #socket = null;
  #wanted = { want: [] };
  #retryMs = FIRST_RETRY_MS;
  #pings = [];
  #utcOffsetNs = NaN;

  constructor(listener) {
    this.#listener = listener;
    setInterval(() => this.#ping(), PING_MS);
    this.#connect();
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Ask for these products from now on; of raw frames, for one trace. */
  want(products, trace) {
    const wanted = { want: products, ...(products.includes("rf") ? { trace } : {}) };
    if (JSON.stringify(wanted) === JSON.stringify(this.#wanted)) return;
    this.#wanted = wanted;
    this.#send(wanted);
  }

  /**
   * The daemon's monotonic clock in milliseconds at a time of performance.now(); null while not known.
   *
   * The gateway answers pings with its own clock. That it is the daemon's is seen from `utc`, the daemon's mapping of that
   * clock to UTC: clocks of two machines count from when each was started.
   */
  daemonTime(nowMs, utc) {
    if (this.#pings.length === 0 || !utc) return null;
    const apartNs = utc.utc_ns - utc.monotonic_ns - this.#utcOffsetNs;
    if (!(Math.abs(apartNs) < SAME_CLOCK_NS)) return null;
    const best = this.#pings.reduce((a, b) => (b.roundTripMs < a.roundTripMs ? b : a));
    return nowMs + best.offsetMs;
  }

  #connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onopen = () => {
      this.#retryMs = FIRST_RETRY_MS;
      this.#pings = [];
      this.#send(this.#wanted);
      this.#ping();
      this.#listener.opened();
    };
    socket.onmessage = (event) => this.#heard(event.data);
    socket.onclose = () => {
      this.#listener.closed();
      setTimeout(() => this.#connect(), this.#retryMs);
      this.#retryMs = Math.min(2 * this.#retryMs, LONGEST_RETRY_MS);
    };
  }

  #heard(data) {
    if (typeof data !== "string") {
      let frame;
      try {
        frame = decodeFrame(data);
      } catch (error) {
        this.#listener.problem(`Frame not understood: ${error.message}`);
        return;
      }
      this.#send({ ack: frame.header.product });
      this.#listener.frame(frame);
      return;
    }
    const message = JSON.parse(data);
    if (message.kind === "hello") this.#listener.hello(message);
    if (message.kind === "notice") this.#listener.notice(message.notice, message.age_s);
    if (message.kind === "pong") this.#pong(message);
  }

  #ping() {
    this.#send({ ping: performance.now() });
  }

  #pong(message) {
    const nowMs = performance.now();
    const roundTripMs = nowMs - message.ping;
    this.#utcOffsetNs = message.utc_ns - message.monotonic_ns;
    this.#pings.push({ roundTripMs, offsetMs: message.monotonic_ns / 1e6 - (nowMs + message.ping) / 2 });
    if (this.#pings.length > PINGS_KEPT) this.#pings.shift();
  }

  #send(message) {
    if (this.open) this.#socket.send(JSON.stringify(message));
  }
}

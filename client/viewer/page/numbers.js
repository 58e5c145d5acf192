// The column of facts about the newest frame and about what was lost.

const WINDOW_MS = 2000;
const LATENCIES_KEPT = 40;
// An age beyond this means that the daemon's clock is not this machine's.
const PLAUSIBLE_MS = 60_000;

/** Events per second over the last two seconds. */
class Rate {
  #times = [];

  add(nowMs) {
    this.#times.push(nowMs);
  }

  clear() {
    this.#times = [];
  }

  hertz(nowMs) {
    while (this.#times.length && this.#times[0] < nowMs - WINDOW_MS) this.#times.shift();
    if (this.#times.length < 2) return 0;
    return ((this.#times.length - 1) * 1000) / (this.#times.at(-1) - this.#times[0]);
  }
}

/** The middle of the newest values. */
class Median {
  #values = [];

  add(value) {
    this.#values.push(value);
    if (this.#values.length > LATENCIES_KEPT) this.#values.shift();
  }

  clear() {
    this.#values = [];
  }

  get value() {
    if (this.#values.length === 0) return null;
    return [...this.#values].sort((a, b) => a - b)[this.#values.length >> 1];
  }
}

export class Numbers {
  #received = new Rate();
  #shown = new Rate();
  #processed = new Median();
  #published = new Median();
  #painted = new Median();
  #first = null;
  #count = 0;
  #header = null;
  #looked = null;
  #state = null;
  #settings = null;

  /** A new session or product: count from here. */
  restart() {
    for (const part of [this.#received, this.#shown, this.#processed, this.#published, this.#painted]) part.clear();
    this.#first = null;
    this.#count = 0;
    this.#header = null;
    this.#looked = null;
  }

  /** A new frame of the main product came. */
  frame(header, nowMs) {
    const times = header.times;
    this.#received.add(nowMs);
    this.#processed.add((times.processed_ns - times.last_byte_ns) / 1e6);
    this.#published.add((times.published_ns - times.last_byte_ns) / 1e6);
    this.#first ??= { frame: header.frame, lost: lostIn(header.losses) };
    this.#count += 1;
    this.#header = header;
  }

  /** It is on the screen; `daemonMs` is the daemon's clock now, null when not known. */
  painted(header, nowMs, daemonMs) {
    this.#shown.add(nowMs);
    if (daemonMs === null) return;
    // Painted before it was published: the clocks are not related well enough for a figure.
    if (daemonMs < header.times.published_ns / 1e6) this.#painted.clear();
    else this.#painted.add(daemonMs - header.times.last_byte_ns / 1e6);
  }

  /** An older frame is looked at instead of the newest; null = the newest. */
  lookAt(header) {
    this.#looked = header;
  }

  state(notice) {
    this.#state = notice;
  }

  settings(notice) {
    this.#settings = notice;
  }

  /** Frames of the main product that the daemon made and this page never received. */
  get skipped() {
    if (this.#header === null) return 0;
    // Of raw frames only a few are asked for.
    if (this.#header.product === "rf") return undefined;
    const made = this.#header.frame - this.#first.frame + 1 - (lostIn(this.#header.losses) - this.#first.lost);
    return Math.max(0, made - this.#count);
  }

  /** Write everything; without a daemon, what it said last is no rate of now. */
  show(nowMs, daemonThere) {
    const header = this.#header;
    write("rate-acquired", this.#state && daemonThere ? hertz(this.#state.frame_rate_hz) : "–");
    write("rate-received", hertz(this.#received.hertz(nowMs)));
    write("rate-shown", hertz(this.#shown.hertz(nowMs)));
    write("latency-processed", milliseconds(this.#processed.value));
    write("latency-published", milliseconds(this.#published.value));
    write("latency-shown", plausible(this.#painted.value));
    write("driver", this.#state?.driver || "–");
    write("recording", this.#state?.recording || "no");
    const losses = newest(header, this.#state);
    for (const cause of ["device", "ring", "processing"]) loss(`lost-${cause}`, losses?.[cause]);
    loss("lost-page", header ? this.skipped : undefined);
    const seen = this.#looked ?? header;
    write("frame", seen ? String(seen.frame) : "–");
    write("revision", this.#revision(seen));
    write("pixels", seen ? pixels(seen.geometry) : "–");
    write("pixel-size", seen ? pixelSize(seen.geometry) : "–");
    write("fingerprint", seen ? fingerprint(seen.geometry.fingerprint) : "–");
    write("frequency", frequency(seen?.settings));
    write("mechanical-index", index(seen?.acoustic?.mechanical_index));
    write("thermal-index", index(seen?.acoustic?.thermal_index));
  }

  #revision(seen) {
    const shown = seen?.revision;
    const set = this.#settings?.revision;
    if (shown === undefined) return set === undefined ? "–" : `${set} set`;
    return set !== undefined && set > shown ? `${shown} (${set} set)` : String(shown);
  }
}

function newest(header, state) {
  if (!header || !state) return header?.losses ?? state?.losses;
  return state.published_ns > header.times.published_ns ? state.losses : header.losses;
}

function lostIn(losses) {
  return (losses?.device ?? 0) + (losses?.ring ?? 0) + (losses?.processing ?? 0);
}

function write(id, text) {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;
}

function loss(id, count) {
  write(id, count === undefined ? "–" : String(count));
  document.getElementById(id).classList.toggle("loss", count > 0);
}

function hertz(value) {
  return `${value.toFixed(value < 9.95 ? 1 : 0)} Hz`;
}

function milliseconds(value) {
  return value === null ? "–" : `${value.toFixed(value < 9.95 ? 1 : 0)} ms`;
}

function plausible(value) {
  return value === null || Math.abs(value) > PLAUSIBLE_MS ? "–" : milliseconds(value);
}

function pixels({ kind, shape }) {
  return kind === "trace" ? `${shape[0]} samples` : `${shape[1]} × ${shape[0]}`;
}

function pixelSize(geometry) {
  const sides = geometry.kind === "image" ? geometry.spacing_m.toReversed() : [geometry.spacing_m];
  // A sonar's samples are millimetres, and more.
  const coarse = Math.max(...sides) >= 1e-3;
  const number = (metres) => (coarse ? (metres * 1e3).toFixed(2) : (metres * 1e6).toFixed(metres < 1e-5 ? 1 : 0));
  return `${sides.map(number).join(" × ")} ${coarse ? "mm" : "µm"}${sides.length === 1 ? " deep" : ""}`;
}

function frequency(settings) {
  const hertz = settings?.transmit_frequency_hz;
  return typeof hertz === "number" ? `${(hertz / 1e6).toFixed(1)} MHz` : "–";
}

function fingerprint(text) {
  return text ? text.replace("sha256:", "").slice(0, 12) : "–";
}

function index(block) {
  if (!block || block.status === "unknown") return "unknown";
  return `${block.value.toFixed(2)} ${block.status}`;
}

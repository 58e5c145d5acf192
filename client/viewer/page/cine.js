// The newest pictures, kept so that they can be looked at again once the probe is frozen.

// What a browser may hold without being noticed: half a minute of ordinary pictures.
const LIMIT_BYTES = 192 * 1024 * 1024;
const LIMIT_FRAMES = 900;

export class Cine {
  #frames = [];
  #bytes = 0;

  get length() {
    return this.#frames.length;
  }

  /** The picture at a place, 0 = the oldest. */
  at(place) {
    return this.#frames[place];
  }

  /** Keep a picture, and let go of the oldest when there are too many. */
  put(frame) {
    this.#frames.push(frame);
    this.#bytes += frame.samples.byteLength;
    while (this.#bytes > LIMIT_BYTES || this.#frames.length > LIMIT_FRAMES) {
      this.#bytes -= this.#frames.shift().samples.byteLength;
    }
  }

  clear() {
    this.#frames = [];
    this.#bytes = 0;
  }

  /** The pictures of the last seconds, oldest first. */
  last(seconds) {
    const newest = this.#frames.at(-1);
    return this.#frames.filter((frame) => secondsBetween(frame, newest) <= seconds);
  }
}

/** How long before `later` the sound of `earlier` came back. */
export function secondsBetween(earlier, later) {
  return (later.header.times.last_byte_ns - earlier.header.times.last_byte_ns) / 1e9;
}

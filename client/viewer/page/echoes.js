// The pane for raw echoes: one trace as the converter gave it, and its spectrum.

import { ticks } from "./plane.js";
import { BAND_DB, band, clipped, converterBits, converterLimits, spectrum } from "./spectrum.js";
import { lengthUnit, signed } from "./units.js";

const INK = "#c8d0d9";
const QUIET = "#a9b3be";
const EDGE = "#323a44";
const TRACE = "#7bd88f";
const SECOND = "#8ecbff";
const CLIPPED = "#ff8a80";
const BAND = "#8ecbff";
// Decibels below the strongest that are shown.
const RANGE_DB = 80;
// Room in CSS pixels.
const ROOM = { left: 66, right: 18, top: 58, between: 66, bottom: 44 };
const TRACE_SHARE = 0.52;
// The unit of samples whose driver knows its converter: then the scale tells how wide it is.
const FULL_SCALE = "full scale";

export class Echoes {
  #context;
  #ratio = 1;
  // The largest sample seen of this probe: from it the converter is known.
  #largest = 0;
  /** What the newest trace is, in words; "" before one came. */
  words = "";
  /** The band of its spectrum, in words. */
  bandWords = "";
  /** How much larger amplitudes are drawn. */
  zoom = 1;

  constructor(canvas) {
    this.#context = canvas.getContext("2d");
  }

  /** Another probe: nothing is known of its converter. */
  clear() {
    this.#largest = 0;
    this.words = "";
  }

  /** Draw a frame of geometry `trace` on a canvas of so many device pixels. `probeHz`: the probe's centre frequency, or
      null. */
  draw({ header, samples }, width, height, ratio, probeHz) {
    this.#ratio = ratio;
    const { left, right, top, between, bottom } = Object.fromEntries(
      Object.entries(ROOM).map(([side, size]) => [side, Math.round(size * ratio)]),
    );
    const across = width - left - right;
    const down = height - top - between - bottom;
    if (across < 40 * ratio || down < 80 * ratio) return;
    const upper = { x: left, y: top, width: across, height: Math.round(down * TRACE_SHARE) };
    const lower = { x: left, y: top + upper.height + between, width: across, height: down - upper.height };
    const parts = apart(header, samples);
    for (const value of samples) if (Math.abs(value) > this.#largest) this.#largest = Math.abs(value);
    const { sample_unit: unit, sample_scale: scale } = header.geometry;
    const known = unit === FULL_SCALE && scale > 0 ? 1 + Math.log2(1 / scale) : null;
    const bits = known !== null && Number.isInteger(known) ? known : converterBits(header.dtype, this.#largest);
    const limits = converterLimits(header.dtype, bits);
    const places = [...new Set(parts.flatMap((part) => clipped(part, limits)))];
    const full = limits ? (limits[1] - limits[0] + 1) / 2 : this.#largest || 1;
    this.#drawTrace(header, parts, upper, limits, places);
    const found = this.#drawSpectrum(header, parts, lower, full, bits, probeHz);
    this.bandWords = found ? inWords(found) : "";
    this.words = told(header.geometry, header.dtype.startsWith("u"), parts[0].length, places.length, found);
  }

  #drawTrace({ geometry }, parts, rect, limits, places) {
    const context = this.#context;
    const count = parts[0].length;
    let reach = 1e-9;
    for (const part of parts) for (const value of part) reach = Math.max(reach, Math.abs(value));
    const unsigned = limits && limits[0] === 0;
    const highest = (1.08 * reach) / this.zoom;
    const lowest = unsigned ? 0 : -highest;
    const y = (value) => rect.y + ((highest - value) / (highest - lowest)) * rect.height;
    const x = (sample) => rect.x + ((sample + 0.5) / count) * rect.width;
    this.#frame(rect);
    const scale = ticks(lowest, highest, rect.height / (30 * this.#ratio));
    for (const value of scale.values) {
      this.#rule(rect.x, y(value), rect.x + rect.width, y(value));
      this.#text(signed(value.toFixed(scale.digits)), rect.x - 8 * this.#ratio, y(value), "right");
    }
    // Below, when it came back; above, how deep that is.
    const first = geometry.t0_s * 1e6;
    const microseconds = (sample) => first + (sample / geometry.sampling_hz) * 1e6;
    this.#axis(rect, microseconds(-0.5), microseconds(count - 0.5), "µs after transmission", false);
    const metres = (sample) => ((geometry.t0_s + sample / geometry.sampling_hz - geometry.pulse_delay_s) * geometry.sound_speed_m_s) / 2;
    const { unit, factor } = lengthUnit(metres(count));
    this.#axis(rect, metres(-0.5) * factor, metres(count - 0.5) * factor, `${unit} deep`, true);
    this.#clip(rect);
    if (limits && limits[1] <= highest) {
      context.strokeStyle = CLIPPED;
      for (const limit of limits) this.#line([[rect.x, y(limit)], [rect.x + rect.width, y(limit)]], [4, 4]);
    }
    parts.forEach((part, index) => {
      context.strokeStyle = index ? SECOND : TRACE;
      this.#line(outline(part, rect, x, y));
    });
    context.fillStyle = CLIPPED;
    for (const place of places) context.fillRect(x(place) - this.#ratio, rect.y, 2 * this.#ratio, 6 * this.#ratio);
    context.restore();
    this.#text("counts", rect.x - 8 * this.#ratio, rect.y - 12 * this.#ratio, "right", QUIET);
    if (parts.length > 1) {
      this.#text("I", rect.x + rect.width - 24 * this.#ratio, rect.y + 14 * this.#ratio, "center", TRACE);
      this.#text("Q", rect.x + rect.width - 10 * this.#ratio, rect.y + 14 * this.#ratio, "center", SECOND);
    }
  }

  #drawSpectrum(header, parts, rect, full, bits, probeHz) {
    const context = this.#context;
    const { geometry } = header;
    const made = spectrum(parts[0], parts[1] ?? null, geometry.sampling_hz, geometry.demodulation_hz, full);
    // Without negative numbers these are levels, and their spectrum is that of no pulse.
    const found = header.dtype.startsWith("u") ? null : band(made);
    const strongest = Math.max(...made.decibels.slice(3));
    const top = Math.ceil(strongest / 10 + 0.4) * 10;
    const y = (level) => rect.y + ((top - level) / RANGE_DB) * rect.height;
    const first = made.hertz[0];
    const last = made.hertz.at(-1);
    const x = (hertz) => rect.x + ((hertz - first) / (last - first)) * rect.width;
    this.#frame(rect);
    for (const level of ticks(top - RANGE_DB, top, rect.height / (26 * this.#ratio)).values) {
      this.#rule(rect.x, y(level), rect.x + rect.width, y(level));
      this.#text(signed(level.toFixed(0)), rect.x - 8 * this.#ratio, y(level), "right");
    }
    const large = last >= 1e6;
    this.#axis(rect, first * (large ? 1e-6 : 1e-3), last * (large ? 1e-6 : 1e-3), large ? "MHz" : "kHz", false);
    this.#clip(rect);
    if (found) {
      context.fillStyle = "#8ecbff22";
      context.fillRect(x(found.lowHz), rect.y, x(found.highHz) - x(found.lowHz), rect.height);
      context.strokeStyle = BAND;
      this.#line([[x(found.lowHz), y(strongest - BAND_DB)], [x(found.highHz), y(strongest - BAND_DB)]]);
      const middle = (found.lowHz + found.highHz) / 2;
      this.#line([[x(middle), rect.y], [x(middle), rect.y + rect.height]], [3, 4]);
    }
    if (probeHz > first && probeHz < last) {
      context.strokeStyle = QUIET;
      this.#line([[x(probeHz), rect.y], [x(probeHz), rect.y + rect.height]], [1, 5]);
    }
    context.strokeStyle = TRACE;
    this.#line(made.hertz.map((hertz, place) => [x(hertz), y(Math.max(made.decibels[place], top - 2 * RANGE_DB))]));
    context.restore();
    const reference = bits === null ? "dB re largest sample" : `dB re full scale of ${bits} bits`;
    this.#text(reference, rect.x, rect.y - 12 * this.#ratio, "left", QUIET);
    if (found) this.#text(inWords(found), rect.x + rect.width, rect.y - 12 * this.#ratio, "right", BAND);
    return found;
  }

  /** Numbers along an edge; the unit stands at the right end, and no number under it. */
  #axis(rect, first, last, unit, above) {
    const { values, digits } = ticks(first, last, rect.width / (64 * this.#ratio));
    const edge = above ? rect.y : rect.y + rect.height;
    const way = (above ? -1 : 1) * this.#ratio;
    const right = rect.x + rect.width;
    const free = right - this.#context.measureText(unit).width - 6 * this.#ratio;
    for (const value of values) {
      const at = rect.x + ((value - first) / (last - first)) * rect.width;
      const words = signed(value.toFixed(digits));
      this.#context.strokeStyle = INK;
      this.#line([[at, edge], [at, edge + 6 * way]]);
      if (at + this.#context.measureText(words).width / 2 < free) this.#text(words, at, edge + 15 * way, "center");
    }
    this.#text(unit, right, edge + 15 * way, "right", QUIET);
  }

  #frame(rect) {
    this.#context.strokeStyle = EDGE;
    this.#context.strokeRect(rect.x - 0.5, rect.y - 0.5, rect.width + 1, rect.height + 1);
  }

  #rule(x1, y1, x2, y2) {
    this.#context.strokeStyle = "#1c2229";
    this.#line([[x1, y1], [x2, y2]]);
  }

  #clip(rect) {
    this.#context.save();
    this.#context.beginPath();
    this.#context.rect(rect.x, rect.y, rect.width, rect.height);
    this.#context.clip();
  }

  #line(points, dash = []) {
    const context = this.#context;
    context.setLineDash(dash.map((length) => length * this.#ratio));
    context.beginPath();
    for (const [x, y] of points) context.lineTo(x, y);
    context.stroke();
    context.setLineDash([]);
  }

  #text(words, x, y, align, colour = INK) {
    this.#context.fillStyle = colour;
    this.#context.textAlign = align;
    this.#context.textBaseline = "middle";
    this.#context.fillText(words, x, y);
  }
}

/** The samples as one list for RF, two (I and Q) for IQ. */
function apart({ shape }, samples) {
  if (shape.length === 1) return [samples];
  return [0, 1].map((which) => Float64Array.from({ length: shape[0] }, (_, place) => samples[2 * place + which]));
}

/** Points of a trace: where there are more samples than columns, least and greatest of each column. */
function outline(part, rect, x, y) {
  if (part.length <= 2 * rect.width) return Array.from(part, (value, place) => [x(place), y(value)]);
  const points = [];
  for (let column = 0; column < rect.width; column++) {
    const begin = Math.floor((column / rect.width) * part.length);
    const end = Math.max(begin + 1, Math.floor(((column + 1) / rect.width) * part.length));
    let least = Infinity;
    let greatest = -Infinity;
    for (let place = begin; place < end; place++) {
      least = Math.min(least, part[place]);
      greatest = Math.max(greatest, part[place]);
    }
    points.push([rect.x + column, y(least)], [rect.x + column, y(greatest)]);
  }
  return points;
}

function inWords({ lowHz, highHz }) {
  const middle = (lowHz + highHz) / 2;
  const large = highHz >= 1e6;
  const number = (hertz) => (hertz * (large ? 1e-6 : 1e-3)).toFixed(2);
  const share = Math.round((100 * (highHz - lowHz)) / Math.abs(middle || 1));
  return `−${BAND_DB} dB: ${number(lowHz)} to ${number(highHz)} ${large ? "MHz" : "kHz"}, centre ${number(middle)}, ${share} %`;
}

function told(geometry, levels, count, clippedCount, found) {
  const { transmit, angle_rad: angle, element, sampling_hz: rate, demodulation_hz: carrier } = geometry;
  const plane = geometry.transmit_kind === "plane" && typeof angle === "number";
  const { sample_scale: scale, sample_unit: unit } = geometry;
  return [
    plane ? `plane wave at ${signed(((angle * 180) / Math.PI).toFixed(1))}°` : `${geometry.transmit_kind} ${transmit + 1}`,
    element === null || element < 0 ? "" : `element ${element + 1}`,
    `${count} samples at ${(rate / 1e6).toFixed(rate < 1e6 ? 3 : 2)} MHz${carrier ? `, IQ at ${(carrier / 1e6).toFixed(2)} MHz` : ""}`,
    unit === "counts" || unit === FULL_SCALE ? "" : scale === 1 ? unit : `1 count = ${Number(scale.toPrecision(3))} ${unit}`,
    clippedCount ? `${clippedCount} clipped` : "none clipped",
    found || levels ? "" : "no echoes",
  ].filter(Boolean).join(" · ");
}

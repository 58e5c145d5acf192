// Everything beside and above the picture: drawn on a canvas of its own, never into the frame.

import { mapping, ticks } from "./plane.js";
import { formatNumber, lengthUnit, signed } from "./units.js";

const INK = "#c8d0d9";
const QUIET = "#a9b3be";
const EDGE = "#323a44";
const MARK = "#8ecbff";
const TRUTH = "#ffd166";
const TRACE = "#7bd88f";
// Least distance of labelled ticks, in CSS pixels.
const TICK_ROOM_DOWN = 34;
const TICK_ROOM_ACROSS = 52;

/** Draws on `context` in device pixels; `ratio` is device pixels per CSS pixel. */
export class Scales {
  #context;
  #ratio = 1;

  constructor(canvas) {
    this.canvas = canvas;
    this.#context = canvas.getContext("2d");
  }

  begin(width, height, ratio) {
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.#ratio = ratio;
    this.#context.clearRect(0, 0, width, height);
    this.#context.font = `${12 * ratio}px system-ui, "Liberation Sans", sans-serif`;
    this.#context.lineWidth = Math.max(1, Math.round(ratio));
  }

  /** The edge of a picture, just outside it. */
  frame(rect) {
    this.#context.strokeStyle = EDGE;
    this.#context.strokeRect(rect.x - 0.5, rect.y - 0.5, rect.width + 1, rect.height + 1);
  }

  /** Depth in millimetres, or metres, along the left edge. */
  depth(plane, rect) {
    const { y } = mapping(plane, rect);
    const most = rect.height / (TICK_ROOM_DOWN * this.#ratio);
    const { unit, factor } = lengthUnit(plane.bottom);
    const { step, values, digits } = ticks(plane.top * factor, plane.bottom * factor, most);
    for (const value of values) {
      const at = y(value / factor);
      this.#line(rect.x - 7 * this.#ratio, at, rect.x, at);
      this.#text(signed(value.toFixed(digits)), rect.x - 10 * this.#ratio, at, "right", "middle");
    }
    for (const value of ticksBetween(step, plane.top * factor, plane.bottom * factor)) {
      this.#line(rect.x - 4 * this.#ratio, y(value / factor), rect.x, y(value / factor));
    }
    this.#text(unit, rect.x - 10 * this.#ratio, rect.y - 13 * this.#ratio, "right", "middle", QUIET);
  }

  /** Lateral millimetres, or metres, along the lower edge, from the middle of the array face. */
  lateral(plane, rect) {
    const { x } = mapping(plane, rect);
    const most = rect.width / (TICK_ROOM_ACROSS * this.#ratio);
    const { unit, factor } = lengthUnit(plane.right - plane.left);
    const { step, values, digits } = ticks(plane.left * factor, plane.right * factor, most);
    const below = rect.y + rect.height;
    for (const value of values) {
      const at = x(value / factor);
      this.#line(at, below, at, below + 7 * this.#ratio);
      const words = value === values.at(-1) ? ` ${unit}` : "";
      this.#text(signed(value.toFixed(digits)) + words, at, below + 17 * this.#ratio, "center", "middle");
    }
    for (const value of ticksBetween(step, plane.left * factor, plane.right * factor)) {
      this.#line(x(value / factor), below, x(value / factor), below + 4 * this.#ratio);
    }
  }

  /** Time along the lower edge of an M-mode picture; 0 is now. */
  time(plane, rect) {
    const { x } = mapping(plane, rect);
    const { values, digits } = ticks(plane.left, plane.right, rect.width / (TICK_ROOM_ACROSS * this.#ratio));
    const below = rect.y + rect.height;
    for (const value of values) {
      const at = x(value);
      this.#line(at, below, at, below + 7 * this.#ratio);
      this.#text(signed(value.toFixed(digits)), at, below + 17 * this.#ratio, "center", "middle");
    }
    const unit = plane.timed ? "seconds before now" : "frames before the newest";
    this.#text(unit, rect.x + rect.width / 2, below + 33 * this.#ratio, "center", "middle", QUIET);
  }

  /** The marked side of the probe: that of column 0. */
  mark(rect) {
    const size = 5.5 * this.#ratio;
    const y = rect.y - 13 * this.#ratio;
    this.#context.fillStyle = MARK;
    this.#context.beginPath();
    this.#context.arc(rect.x + size, y, size, 0, 2 * Math.PI);
    this.#context.fill();
    this.#text("marked side", rect.x + 3 * size, y, "left", "middle", QUIET);
  }

  /** Grey levels and what they mean, right of the picture. */
  greys(rect, settings) {
    const range = settings.dynamic_range_db;
    const map = settings.grey_map ?? "linear";
    const width = 12 * this.#ratio;
    const height = Math.min(rect.height, 260 * this.#ratio);
    const x = rect.x + rect.width + 14 * this.#ratio;
    const gradient = this.#context.createLinearGradient(0, rect.y, 0, rect.y + height);
    const inverted = map === "inverted";
    gradient.addColorStop(0, inverted ? "#000" : "#fff");
    gradient.addColorStop(1, inverted ? "#fff" : "#000");
    this.#context.fillStyle = gradient;
    this.#context.fillRect(x, rect.y, width, height);
    this.#context.strokeStyle = QUIET;
    this.#context.strokeRect(x, rect.y, width, height);
    if (typeof range !== "number") return;
    const beside = x + width + 5 * this.#ratio;
    this.#text("0 dB", beside, rect.y + 6 * this.#ratio, "left", "middle");
    this.#text(`−${formatNumber(range)} dB`, beside, rect.y + height - 6 * this.#ratio, "left", "middle");
    if (map !== "linear") this.#text(map, x, rect.y + height + 14 * this.#ratio, "left", "middle", QUIET);
  }

  /** The transmit focus: a triangle at its depth, right of the picture. */
  focus(plane, rect, settings) {
    const depth = settings.focus_depth_m;
    if (typeof depth !== "number" || depth < plane.top || depth > plane.bottom) return;
    const at = mapping(plane, rect).y(depth);
    const x = rect.x + rect.width + 2 * this.#ratio;
    const size = 8 * this.#ratio;
    this.#context.fillStyle = MARK;
    this.#context.beginPath();
    this.#context.moveTo(x, at);
    this.#context.lineTo(x + size, at - size / 2);
    this.#context.lineTo(x + size, at + size / 2);
    this.#context.fill();
  }

  /** Time gain over depth, as a curve in a strip right of the grey bar; the middle line is 0 dB. */
  gainCurve(plane, rect, settings) {
    const curve = settings.tgc_db;
    const depth = settings.depth_m;
    if (!Array.isArray(curve) || curve.length < 2 || !(depth > 0)) return;
    const largest = Math.max(10, ...curve.map(Math.abs));
    const { y } = mapping(plane, rect);
    const middle = rect.x + rect.width + 93 * this.#ratio;
    const half = 10 * this.#ratio;
    const context = this.#context;
    // A picture may begin below the face, and end above the deepest gain.
    const top = Math.max(y(0), rect.y);
    const bottom = Math.min(y(depth), rect.y + rect.height);
    context.save();
    context.beginPath();
    context.rect(middle - 2 * half, top, 4 * half, bottom - top);
    context.clip();
    context.strokeStyle = EDGE;
    context.beginPath();
    context.moveTo(middle, top);
    context.lineTo(middle, bottom);
    context.stroke();
    context.strokeStyle = TRACE;
    context.beginPath();
    curve.forEach((gain, index) => {
      context.lineTo(middle + (gain / largest) * half, y((depth * index) / (curve.length - 1)));
    });
    context.stroke();
    context.restore();
    this.#text("TGC", middle, rect.y - 13 * this.#ratio, "center", "middle", QUIET);
  }

  /** Where the simulated needle truly is; dashed and with its distance when its tip is out of the image plane. */
  needle(plane, rect, needle) {
    const { x, y } = mapping(plane, rect);
    const [tipX, tipY, tipZ] = needle.tip_m;
    const [shaftX, , shaftZ] = needle.shaft_m;
    const off = tipY - plane.y;
    const context = this.#context;
    context.save();
    context.beginPath();
    context.rect(rect.x, rect.y, rect.width, rect.height);
    context.clip();
    context.strokeStyle = TRUTH;
    context.lineWidth = 1.5 * this.#ratio;
    if (Math.abs(off) > needle.diameter_m) context.setLineDash([6 * this.#ratio, 5 * this.#ratio]);
    context.beginPath();
    context.moveTo(x(shaftX), y(shaftZ));
    context.lineTo(x(tipX), y(tipZ));
    context.stroke();
    context.setLineDash([]);
    context.beginPath();
    context.arc(x(tipX), y(tipZ), 6 * this.#ratio, 0, 2 * Math.PI);
    context.stroke();
    context.restore();
    if (Math.abs(off) > needle.diameter_m) {
      const label = `tip ${formatNumber(Math.abs(off) * 1e3, 0.1)} mm out of plane`;
      this.#text(label, x(tipX) + 10 * this.#ratio, y(tipZ) - 10 * this.#ratio, "left", "middle", TRUTH);
    }
  }

  /** The A-mode plot: levels (dB re the largest echo) of each device row of the rectangle. */
  trace(levels, rect, rangeDb) {
    const context = this.#context;
    const x = (level) => rect.x + Math.max(0, 1 + level / rangeDb) * rect.width;
    this.frame(rect);
    context.strokeStyle = TRACE;
    context.beginPath();
    levels.forEach((level, row) => context.lineTo(x(level), rect.y + row + 0.5));
    context.stroke();
    const below = rect.y + rect.height;
    for (const level of ticks(-rangeDb, 0, rect.width / (44 * this.#ratio)).values) {
      this.#line(x(level), below, x(level), below + 7 * this.#ratio);
      this.#text(signed(level.toFixed(0)), x(level), below + 17 * this.#ratio, "center", "middle");
    }
    this.#text("dB re largest echo", rect.x + rect.width / 2, below + 33 * this.#ratio, "center", "middle", QUIET);
    this.#text("A-mode", rect.x, rect.y - 13 * this.#ratio, "left", "middle", QUIET);
  }

  /** A word above a rectangle. */
  title(rect, words) {
    this.#text(words, rect.x, rect.y - 13 * this.#ratio, "left", "middle", QUIET);
  }

  #line(x1, y1, x2, y2) {
    this.#context.strokeStyle = INK;
    this.#context.beginPath();
    this.#context.moveTo(x1, y1);
    this.#context.lineTo(x2, y2);
    this.#context.stroke();
  }

  #text(words, x, y, align, baseline, colour = INK) {
    this.#context.fillStyle = colour;
    this.#context.textAlign = align;
    this.#context.textBaseline = baseline;
    this.#context.fillText(words, x, y);
  }
}

function ticksBetween(step, first, last) {
  const fine = step / 5;
  const values = [];
  for (let index = Math.ceil(first / fine - 1e-9); index * fine <= last + 1e-9 * fine; index++) {
    if (index % 5 !== 0) values.push(index * fine);
  }
  return values;
}

// The middle of the page: lays out the panes of a view and draws the newest frames into them.

import { Echoes } from "./echoes.js";
import { Picture } from "./picture.js";
import { fitted, imagePlane, motionPlane } from "./plane.js";
import { Scales } from "./scales.js";
import { Trace } from "./trace.js";

// Room around the picture for scales, in CSS pixels.
const LEFT = 50;
const RIGHT = 112;
const TOP = 58;
const BOTTOM = 30;
// Below a pane over time there is a line of words, too.
const BOTTOM_MOTION = 46;
const PLAIN_MARGIN = 10;
const TRACE_SHARE = 0.24;
const TRACE_RIGHT = 22;

export class Stage {
  #exact = { width: NaN, height: NaN };
  #ratio = 0;
  #picture;
  #scales;
  #trace = new Trace();
  #echoes;
  #frames = new Map();
  #view = "image";
  #stale = true;
  #canvas;
  #layout = null;
  /** The probe's centre frequency, null when not known. */
  probeHz = null;
  layers = { scales: true, smooth: true, truth: false };

  constructor(picture, overlay) {
    this.#picture = new Picture(picture);
    this.#scales = new Scales(overlay);
    this.#echoes = new Echoes(overlay);
    this.#canvas = picture;
    const observer = new ResizeObserver(([entry]) => this.#resized(entry));
    try {
      observer.observe(picture, { box: "device-pixel-content-box" });
    } catch {
      // Safari does not know the exact size and may be a fraction of a pixel off.
      observer.observe(picture);
    }
  }

  /** The product that makes this view alive; others are beside it. */
  get main() {
    return { motion: "mmode", rf: "rf" }[this.#view] ?? "bmode";
  }

  get products() {
    return this.#view === "motion" ? ["mmode", "lines"] : [this.main];
  }

  get view() {
    return this.#view;
  }

  set view(view) {
    if (view === this.#view) return;
    this.#view = view;
    this.clear();
  }

  /** Where the picture lies on the screen: plane in metres, rectangle in device pixels, their ratio; null for none. */
  get layout() {
    return this.#layout;
  }

  /** What the echoes on the screen are, in words. */
  get echoWords() {
    return this.#echoes.words;
  }

  /** Draw the echoes' amplitudes so many times larger. */
  set echoZoom(zoom) {
    this.#echoes.zoom = zoom;
    this.#stale = true;
  }

  get size() {
    return { width: this.#canvas.width, height: this.#canvas.height };
  }

  /** The frame on the screen, or null. */
  get shown() {
    return this.#frames.get(this.main) ?? null;
  }

  /** Forget all frames. */
  clear() {
    this.#frames.clear();
    this.#echoes.clear();
    this.#stale = true;
  }

  /** Take a frame to be drawn next. */
  put(frame) {
    if (!this.products.includes(frame.header.product)) return;
    this.#frames.set(frame.header.product, frame);
    this.#stale = true;
  }

  /** Draw again although no frame came. */
  refresh() {
    this.#stale = true;
  }

  /** Draw if anything changed; the frame that is on the screen now, or null when nothing was drawn. */
  paint(nowMs) {
    // Zooming, and another monitor, change the ratio.
    if (!this.#stale && window.devicePixelRatio === this.#ratio) return null;
    this.#stale = false;
    this.#ratio = window.devicePixelRatio;
    const { width, height, ratio } = this.#size();
    this.#picture.resize(width, height);
    this.#picture.clear();
    this.#scales.begin(width, height, ratio);
    this.#layout = null;
    const frame = this.#frames.get(this.main);
    if (!frame) return null;
    if (this.#view === "rf") {
      this.#echoes.draw(frame, width, height, ratio, this.probeHz);
      const { words, bandWords } = this.#echoes;
      this.#canvas.setAttribute("aria-label", `Raw echoes: ${words}; spectrum ${bandWords}`);
      return frame;
    }
    const margin = this.layers.scales ? [LEFT, TOP, RIGHT, this.#view === "motion" ? BOTTOM_MOTION : BOTTOM] : Array(4).fill(PLAIN_MARGIN);
    const [left, top, right, bottom] = margin.map((size) => size * ratio);
    const room = { x: left, y: top, width: width - left - right, height: height - top - bottom };
    if (room.width < 20 || room.height < 20) return null;
    if (this.#view === "motion") this.#paintMotion(frame, room, ratio, nowMs);
    else this.#paintImage(frame, room, ratio);
    return frame;
  }

  /** The canvas in pixels of the device, exactly where the browser tells: a rounding error would blur everything. */
  #size() {
    const ratio = window.devicePixelRatio || 1;
    const size = (css, exact) => {
      const rounded = Math.round(css * ratio);
      return Math.max(1, Math.abs(exact - rounded) <= 1 ? exact : rounded);
    };
    const { clientWidth, clientHeight } = this.#canvas;
    return { ratio, width: size(clientWidth, this.#exact.width), height: size(clientHeight, this.#exact.height) };
  }

  #resized(entry) {
    const box = entry.devicePixelContentBoxSize?.[0];
    this.#exact = { width: box?.inlineSize ?? NaN, height: box?.blockSize ?? NaN };
    this.#stale = true;
  }

  #paintImage({ header, samples }, room, ratio) {
    const plane = imagePlane(header.geometry);
    const rect = fitted(plane, room);
    this.#scales.frame(rect);
    this.#picture.draw(samples, plane.rows, plane.columns, rect, this.layers.smooth);
    if (this.layers.scales) {
      this.#scales.depth(plane, rect);
      this.#scales.lateral(plane, rect);
      this.#scales.mark(rect);
      this.#scales.greys(rect, header.settings ?? {});
      this.#scales.focus(plane, rect, header.settings ?? {});
      this.#scales.gainCurve(plane, rect, header.settings ?? {});
    }
    this.#layout = { plane, rect, ratio };
    const needle = header.truth?.needle;
    if (this.layers.truth && needle) this.#scales.needle(plane, rect, needle);
    this.#describe(plane, rect, `B-mode image, ${millimetres(plane.right - plane.left)} mm wide`);
  }

  #paintMotion({ header, samples }, room, ratio, nowMs) {
    const plane = motionPlane(header.geometry);
    const line = this.#frames.get("lines");
    const single = line && line.header.shape.length === 2 && line.header.shape[0] === 1;
    const beside = single ? Math.round(room.width * TRACE_SHARE) : 0;
    // The grey bar lies between the panes; the trace needs less room on its right.
    const gap = single ? (this.layers.scales ? RIGHT : TRACE_RIGHT) * ratio : 0;
    const spare = single && this.layers.scales ? (RIGHT - TRACE_RIGHT) * ratio : 0;
    const rect = {
      x: Math.round(room.x),
      y: Math.round(room.y),
      width: Math.round(room.width + spare - beside - gap),
      height: Math.round(room.height),
    };
    this.#scales.frame(rect);
    this.#picture.draw(samples, plane.rows, plane.columns, rect, this.layers.smooth);
    const settings = header.settings ?? {};
    if (this.layers.scales) {
      this.#scales.depth(plane, rect);
      this.#scales.time(plane, rect);
      this.#scales.greys(rect, settings);
      this.#scales.title(rect, "M-mode");
    }
    if (single) {
      const pane = { x: rect.x + rect.width + gap, y: rect.y, width: beside, height: rect.height };
      const levels = this.#trace.levels(line.samples, line.header.geometry, plane, pane, nowMs);
      this.#scales.trace(levels, pane, settings.dynamic_range_db ?? 60);
    }
    this.#describe(plane, rect, "M-mode picture, newest on the right");
  }

  #describe(plane, rect, words) {
    const label = `${words}, depth ${millimetres(plane.top)} to ${millimetres(plane.bottom)} mm`;
    if (this.#canvas.getAttribute("aria-label") !== label) this.#canvas.setAttribute("aria-label", label);
    // What tests and curious people may ask: where the picture lies, in device pixels, and what it spans, in metres.
    this.#canvas.dataset.rect = JSON.stringify([rect.x, rect.y, rect.width, rect.height]);
    this.#canvas.dataset.plane = JSON.stringify([plane.left, plane.top, plane.right, plane.bottom]);
  }
}

function millimetres(metres) {
  return (metres * 1e3).toFixed(1);
}

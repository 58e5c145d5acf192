// Calipers and notes: a layer of its own above the picture. Points are kept in metres in the picture's plane, so they
// stay where they are when the depth changes.

import { TOOLS, axes, measured } from "./measures.js";

const INK = "#ffd166";
const SHADOW = "#000000";
const TEXT_SIZE = 13;
const ARM = 7;
const GRIP = 12;
const TOUCH_GRIP = 24;
const LARGE_STEP = 10;
const NOTE_LIMIT = 80;

/** `changed()` is called when marks, the tool or the pointer have changed; `ask(question)` gives a note's text. */
export class Marks {
  #canvas;
  #context;
  #layout = null;
  #tool = null;
  #marks = [];
  #begun = [];
  #pointer = null;
  #held = null;
  #number = 0;
  #changed;
  #ask;

  constructor(canvas, changed, ask) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#changed = changed;
    this.#ask = ask;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (this.#held = null));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => this.draw());
  }

  get canvas() {
    return this.#canvas;
  }

  get tool() {
    return this.#tool;
  }

  /** The finished marks: number, kind and what they measure. */
  get list() {
    return this.#marks.map(({ number, kind, points, text }) => ({
      number, kind, words: TOOLS[kind].words, value: measured(kind, points, text), points,
    }));
  }

  /** Take up a tool, or put it down with null. */
  use(tool) {
    this.#tool = tool;
    this.#begun = [];
    this.#pointer = null;
    this.#canvas.dataset.tool = tool ?? "";
    this.#tell();
  }

  remove(number) {
    this.#marks = this.#marks.filter((mark) => mark.number !== number);
    this.#tell();
  }

  clear() {
    this.#marks = [];
    this.#begun = [];
    this.#tell();
  }

  /** Where the picture lies now: its plane in metres, its rectangle in device pixels, and their ratio; null = nowhere. */
  place(layout, width, height) {
    this.#layout = layout;
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    this.draw();
  }

  draw() {
    const context = this.#context;
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    if (!this.#layout) return;
    const { rect, ratio } = this.#layout;
    context.save();
    context.beginPath();
    context.rect(rect.x, rect.y, rect.width, rect.height);
    context.clip();
    context.font = `600 ${TEXT_SIZE * ratio}px system-ui, "Liberation Sans", sans-serif`;
    for (const mark of this.#marks) this.#drawMark(mark.kind, mark.points, label(mark));
    if (this.#tool) {
      const begun = this.#pointer && this.#begun.length ? [...this.#begun, this.#pointer] : this.#begun;
      if (begun.length === TOOLS[this.#tool].points && this.#tool !== "note") {
        this.#drawMark(this.#tool, begun, measured(this.#tool, begun));
      } else {
        begun.forEach((point) => this.#cross(point));
        if (begun.length > 1) this.#path(begun);
      }
      if (this.#pointer && document.activeElement === this.#canvas) this.#cross(this.#pointer, 2);
    }
    context.restore();
  }

  // -- by hand ------------------------------------------------------------------------------------------------------

  #down(event) {
    const point = this.#at(event);
    if (!point || event.button !== 0) return;
    // A tool in hand sets points wherever they are; without one, points that are there can be moved.
    if (this.#tool) {
      this.#put(point);
    } else {
      const grip = (event.pointerType === "touch" ? TOUCH_GRIP : GRIP) * this.#layout.ratio;
      this.#held = this.#nearest(event, grip);
      if (this.#held) this.#canvas.setPointerCapture(event.pointerId);
    }
  }

  #move(event) {
    const point = this.#at(event);
    if (!point) return;
    if (this.#held) {
      this.#held.mark.points[this.#held.index] = point;
      this.#tell();
    } else if (this.#tool) {
      this.#pointer = point;
      this.draw();
    }
  }

  #key(event) {
    if (event.key === "Escape") this.use(null);
    if (event.key === "Delete" || event.key === "Backspace") {
      if (this.#begun.length) this.#begun.pop();
      else this.#marks.pop();
      this.#tell();
    }
    if (!this.#tool || !this.#layout || event.ctrlKey || event.altKey || event.metaKey) return;
    const { plane } = this.#layout;
    const step = event.shiftKey ? LARGE_STEP : 1;
    const across = ((plane.right - plane.left) / plane.columns) * step;
    const down = ((plane.bottom - plane.top) / plane.rows) * step;
    const way = { ArrowLeft: [-across, 0], ArrowRight: [across, 0], ArrowUp: [0, -down], ArrowDown: [0, down] }[event.key];
    this.#pointer ??= { x: (plane.left + plane.right) / 2, z: (plane.top + plane.bottom) / 2 };
    if (way) {
      this.#pointer = {
        x: Math.min(plane.right, Math.max(plane.left, this.#pointer.x + way[0])),
        z: Math.min(plane.bottom, Math.max(plane.top, this.#pointer.z + way[1])),
      };
      this.draw();
    } else if (event.key === "Enter") {
      this.#put({ ...this.#pointer });
    } else {
      return;
    }
    // The arrows and Enter are the tool's, and not the picture's.
    event.preventDefault();
    event.stopPropagation();
  }

  async #put(point) {
    this.#begun.push(point);
    if (this.#begun.length === TOOLS[this.#tool].points) {
      const mark = { number: ++this.#number, kind: this.#tool, points: this.#begun, text: "" };
      this.use(null);
      if (mark.kind === "note") {
        mark.text = ((await this.#ask("Note")) ?? "").trim().slice(0, NOTE_LIMIT);
        if (!mark.text) return;
      }
      this.#marks.push(mark);
    }
    this.#tell();
  }

  /** The point of the plane under the pointer; null outside the picture. */
  #at(event) {
    if (!this.#layout) return null;
    const { plane, rect } = this.#layout;
    const { x, y } = this.#pixel(event);
    const across = (x - rect.x) / rect.width;
    const down = (y - rect.y) / rect.height;
    if (across < 0 || across > 1 || down < 0 || down > 1) return null;
    return {
      x: plane.left + across * (plane.right - plane.left),
      z: plane.top + down * (plane.bottom - plane.top),
    };
  }

  #pixel(event) {
    const box = this.#canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) * this.#canvas.width) / box.width,
      y: ((event.clientY - box.top) * this.#canvas.height) / box.height,
    };
  }

  #nearest(event, grip) {
    const { x, y } = this.#pixel(event);
    let found = null;
    let least = grip;
    for (const mark of this.#marks) {
      mark.points.forEach((point, index) => {
        const at = this.#on(point);
        const away = Math.hypot(at.x - x, at.y - y);
        if (away <= least) [found, least] = [{ mark, index }, away];
      });
    }
    return found;
  }

  // -- on the screen ------------------------------------------------------------------------------------------------

  #on(point) {
    const { plane, rect } = this.#layout;
    return {
      x: rect.x + ((point.x - plane.left) / (plane.right - plane.left)) * rect.width,
      y: rect.y + ((point.z - plane.top) / (plane.bottom - plane.top)) * rect.height,
    };
  }

  #drawMark(kind, points, words) {
    points.forEach((point) => this.#cross(point));
    if (kind === "ellipse") this.#ellipse(points);
    else if (points.length > 1) this.#path(points);
    const at = this.#on(kind === "angle" ? points[1] : points.at(-1));
    this.#write(words, at.x + 10 * this.#layout.ratio, at.y - 10 * this.#layout.ratio);
  }

  #cross(point, size = 1) {
    const { x, y } = this.#on(point);
    const arm = ARM * size * this.#layout.ratio;
    this.#stroke(() => {
      this.#context.moveTo(x - arm, y);
      this.#context.lineTo(x + arm, y);
      this.#context.moveTo(x, y - arm);
      this.#context.lineTo(x, y + arm);
    });
  }

  #path(points) {
    this.#context.setLineDash([4 * this.#layout.ratio, 4 * this.#layout.ratio]);
    this.#stroke(() => points.map((point) => this.#on(point)).forEach(({ x, y }) => this.#context.lineTo(x, y)));
    this.#context.setLineDash([]);
  }

  #ellipse(points) {
    const { plane, rect } = this.#layout;
    const { centre, a, b, turn } = axes(points);
    const scale = rect.width / (plane.right - plane.left);
    const { x, y } = this.#on(centre);
    this.#stroke(() => this.#context.ellipse(x, y, a * scale, b * scale, turn, 0, 2 * Math.PI));
  }

  #stroke(path) {
    const context = this.#context;
    for (const [colour, width] of [[SHADOW, 3.5], [INK, 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = width * this.#layout.ratio;
      context.beginPath();
      path();
      context.stroke();
    }
  }

  #write(words, x, y) {
    const context = this.#context;
    const { rect, ratio } = this.#layout;
    const width = context.measureText(words).width;
    const left = Math.max(rect.x + 4 * ratio, Math.min(x, rect.x + rect.width - width - 4 * ratio));
    const base = Math.max(rect.y + (TEXT_SIZE + 4) * ratio, y);
    context.lineWidth = 4 * ratio;
    context.strokeStyle = SHADOW;
    context.strokeText(words, left, base);
    context.fillStyle = INK;
    context.fillText(words, left, base);
  }

  #tell() {
    this.draw();
    this.#changed();
  }
}

function label(mark) {
  const value = measured(mark.kind, mark.points, mark.text);
  return mark.kind === "note" ? value : `${mark.number}: ${value.split(",")[0]}`;
}

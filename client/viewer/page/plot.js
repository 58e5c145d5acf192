// A small plot of a few lines over the last seconds, drawn as SVG.

import { ticks } from "./plane.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 100;

export class Plot {
  #kept;
  #names;
  #words;
  #rows = [];
  #paths;
  #values;
  #top;

  /** `names` of the lines; `words(value)` says a value with its unit; `kept` rows are shown, one a second. */
  constructor(box, names, words, kept) {
    this.#names = names;
    this.#words = words;
    this.#kept = kept;
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    this.#paths = names.map((_, index) => {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("class", `line-${index}`);
      return path;
    });
    svg.append(...this.#paths);
    this.#top = document.createElement("span");
    const first = Object.assign(document.createElement("span"), { textContent: `${kept} s ago` });
    const last = Object.assign(document.createElement("span"), { textContent: "now" });
    this.#values = names.map((_, index) => Object.assign(document.createElement("li"), { className: `line-${index}` }));
    const list = document.createElement("ul");
    list.append(...this.#values);
    box.append(line(this.#top), svg, line(first, last), list);
    this.#draw();
  }

  /** The next second: a value of each line, null where there is none. */
  add(values) {
    this.#rows.push(values);
    if (this.#rows.length > this.#kept) this.#rows.shift();
    this.#draw();
  }

  #draw() {
    const largest = Math.max(0, ...this.#rows.flat().filter((value) => value !== null));
    const top = largest > 0 ? Math.ceil(largest / ticks(0, largest, 4).step) * ticks(0, largest, 4).step : 1;
    this.#top.textContent = this.#words(top);
    this.#paths.forEach((path, index) => path.setAttribute("d", this.#outline(index, top)));
    this.#names.forEach((name, index) => {
      const value = this.#rows.at(-1)?.[index] ?? null;
      this.#values[index].textContent = `${name} ${value === null ? "–" : this.#words(value)}`;
    });
  }

  /** A line with gaps where nothing is known. */
  #outline(index, top) {
    const before = this.#kept - this.#rows.length;
    let pen = "M";
    return this.#rows
      .map((row, at) => {
        if (row[index] === null) {
          pen = "M";
          return "";
        }
        const x = ((before + at) / (this.#kept - 1)) * WIDTH;
        const y = 2 + (1 - row[index] / top) * (HEIGHT - 4);
        const part = `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
        pen = "L";
        return part;
      })
      .join("");
  }
}

function line(...parts) {
  const element = Object.assign(document.createElement("p"), { className: "axis" });
  element.append(...parts);
  return element;
}

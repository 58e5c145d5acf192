// Scrolling through the kept pictures while the probe is frozen.

import { secondsBetween } from "./cine.js";

/** `show(frame, words)` is called with the picture to look at; words are empty for the newest. */
export class Review {
  #cine;
  #show;
  #bar;
  #slider;
  #label;
  #place = null;

  constructor(cine, elements, show) {
    this.#cine = cine;
    this.#show = show;
    this.#bar = elements.bar;
    this.#slider = elements.slider;
    this.#label = elements.label;
    this.#slider.addEventListener("input", () => this.go(this.#slider.valueAsNumber));
    elements.back.addEventListener("click", () => this.step(-1));
    elements.on.addEventListener("click", () => this.step(1));
  }

  /** Whether pictures can be scrolled now. */
  get open() {
    return !this.#bar.hidden;
  }

  /** Words about the picture that is looked at, when it is not the newest. */
  get words() {
    if (!this.open || this.#place === null || this.#place === this.#cine.length - 1) return "";
    const frame = this.#cine.at(this.#place);
    const before = secondsBetween(frame, this.#cine.at(this.#cine.length - 1));
    return `frame ${frame.header.frame}, ${before.toFixed(2)} s before the last`;
  }

  /** Offer scrolling, or take it away when pictures move again. */
  offer(frozen) {
    const open = frozen && this.#cine.length > 1;
    if (open === this.open) return;
    this.#bar.hidden = !open;
    this.#place = null;
    if (!open) return;
    this.#slider.max = this.#cine.length - 1;
    this.#tell(this.#cine.length - 1);
  }

  /** Look at the picture at a place, 0 = the oldest. */
  go(place) {
    if (!this.open) return;
    this.#place = Math.min(this.#cine.length - 1, Math.max(0, place));
    this.#tell(this.#place);
    this.#show(this.#cine.at(this.#place));
  }

  step(pictures) {
    this.go((this.#place ?? this.#cine.length - 1) + pictures);
  }

  #tell(place) {
    const last = this.#cine.length - 1;
    const before = secondsBetween(this.#cine.at(place), this.#cine.at(last));
    const words = `${place + 1} of ${last + 1}, ${place === last ? "the last" : `−${before.toFixed(2)} s`}`;
    this.#slider.value = place;
    this.#slider.setAttribute("aria-valuetext", words);
    this.#label.textContent = words;
  }
}

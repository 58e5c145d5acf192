// The bar below the picture: calipers and their list, and files to keep.

import { Marks } from "./marks.js";
import { animation, download, fileName, framePng, screenPng } from "./save.js";

const CLIP_S = 10;

export class Tools {
  #elements;
  #stage;
  #cine;
  #failed;
  marks;

  /** `failed(message)` is called when a file could not be made. */
  constructor(elements, stage, cine, failed) {
    this.#elements = elements;
    this.#stage = stage;
    this.#cine = cine;
    this.#failed = failed;
    this.marks = new Marks(elements.marks, () => this.#list(), (question) => this.#ask(question));
    this.marks.use(null);
    for (const button of this.#buttons) {
      button.addEventListener("click", () => this.toggle(button.dataset.tool));
    }
    elements.clear.addEventListener("click", () => this.marks.clear());
    elements.save.addEventListener("change", () => {
      const what = elements.save.value;
      elements.save.value = "";
      this.save(what);
    });
  }

  /** Follow the picture on the screen. */
  place() {
    const { width, height } = this.#stage.size;
    this.marks.place(this.#stage.layout, width, height);
    for (const button of this.#buttons) button.disabled = this.#stage.layout === null;
  }

  /** Take up a tool, or put it down. */
  toggle(tool) {
    if (this.#stage.layout === null && this.marks.tool !== tool) return;
    this.marks.use(this.marks.tool === tool ? null : tool);
    if (this.marks.tool) this.marks.canvas.focus();
  }

  /** Keep a file: `frame`, `screen` or `clip`. */
  async save(what) {
    const frame = this.#stage.shown;
    try {
      if (!frame || !this.#stage.layout) throw new Error("there is no picture to save");
      const { header } = frame;
      if (what === "frame") download(await framePng(frame), fileName(header, "", "png"));
      if (what === "screen") {
        const { picture, overlay, marks } = this.#elements;
        download(await screenPng([picture, overlay, marks], header), fileName(header, "_screen", "png"));
      }
      if (what === "clip") await this.#saveClip();
    } catch (error) {
      this.#failed(`Not saved: ${error.message}`);
    }
  }

  async #saveClip() {
    const frames = this.#cine.last(CLIP_S);
    if (frames.length < 2) throw new Error("there are no pictures to make a clip of yet");
    const { save } = this.#elements;
    const words = save.options[0].textContent;
    save.disabled = true;
    try {
      const blob = await animation(frames, (share) => (save.options[0].textContent = `${Math.round(100 * share)} %`));
      download(blob, fileName(frames.at(-1).header, "_clip", "webp"));
    } finally {
      save.options[0].textContent = words;
      save.disabled = false;
    }
  }

  get #buttons() {
    return [...this.#elements.bar.querySelectorAll("[data-tool]")];
  }

  #list() {
    for (const button of this.#buttons) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === this.marks.tool));
    }
    const { list, box } = this.#elements;
    const marks = this.marks.list;
    box.hidden = marks.length === 0;
    const texts = JSON.stringify(marks.map(({ number, value }) => [number, value]));
    if (list.dataset.texts === texts) return;
    list.dataset.texts = texts;
    list.replaceChildren(
      ...marks.map(({ number, words, value }) => {
        const item = Object.assign(document.createElement("li"), { value: number });
        const away = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
        away.ariaLabel = `Remove ${words} ${number}`;
        away.addEventListener("click", () => this.marks.remove(number));
        item.append(`${words} ${value}`, away);
        return item;
      }),
    );
  }

  #ask(question) {
    const { dialog, question: label, answer } = this.#elements;
    label.textContent = question;
    answer.value = "";
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((done) => {
      dialog.addEventListener("close", () => done(dialog.returnValue === "yes" ? answer.value : null), { once: true });
    });
  }
}

// The last seconds, saved by the daemon on its own disk, and what was going on in them.

import { ask, post } from "./control.js";

const BEFORE_S = 10;
const AFTER_S = 2;
// Events tell how a clip ended; one that was missed is made up for by asking.
const POLL_MS = 1000;
const NO_FOLDER = "no folder for clips is configured. Start the daemon with `sonod run --record-folder clips`, "
  + "or set record.folder.";

export class Clip {
  #elements;
  #path = null;
  #asking = false;
  #saved = null;

  /** `elements`: button, phase, site, side, note, result, download. */
  constructor(elements) {
    this.#elements = elements;
    elements.button.addEventListener("click", () => this.save());
    elements.download.addEventListener("click", () => this.#download());
    elements.phase.addEventListener("change", () => this.#offer());
    this.#offer();
    setInterval(() => this.#look(), POLL_MS);
  }

  /** Begin a clip of now, and mark it as the fields say. */
  async save() {
    const { button, phase, site, side, note } = this.#elements;
    if (button.disabled) return;
    const mark = { phase: phase.value, site: word(site.value), side: side.value, text: note.value.trim() };
    button.disabled = true;
    this.#tell("saving", "Asking the daemon …");
    const clip = ask("clip", { before_s: BEFORE_S, after_s: AFTER_S });
    // At once, and not when saving has begun, which may take longer than the clip lasts: the mark is of this moment.
    const marking = mark.phase === "" ? null : this.#mark(mark);
    try {
      this.#begin((await clip).path);
    } catch (error) {
      button.disabled = false;
      this.#tell("failed", `Not saved: ${error.message.includes("record.folder") ? NO_FOLDER : error.message}`);
      return;
    }
    const refused = await marking;
    if (refused) this.#tell("failed", `Saving ${name(this.#path ?? this.#saved)}, but without the mark: ${refused.message}`);
    // The next clip is of something else.
    else if (marking) note.value = "";
  }

  /** Why the mark was refused; null when it was not. */
  async #mark(mark) {
    try {
      await ask("mark", Object.fromEntries(Object.entries(mark).filter(([, value]) => value !== "")));
      return null;
    } catch (error) {
      return error;
    }
  }

  /** An event of the daemon: clips of other programs are shown, too. */
  heard({ event, facts }) {
    if (event === "clip_started") this.#begin(facts.path);
    if (event === "clip_ended" || event === "clip_failed") this.#end(facts);
  }

  /** A daemon of another session knows nothing of a clip of the last one. */
  forget() {
    this.#offerDownload(null);
    if (this.#path !== null) this.#lose();
  }

  #begin(path) {
    if (this.#path === path) return;
    this.#path = path;
    this.#offerDownload(null);
    this.#elements.button.disabled = true;
    this.#tell("saving", `Saving ${name(path)} …`, path);
  }

  #end({ path, failed, complete, reason, frames, pictures }) {
    this.#path = null;
    this.#elements.button.disabled = false;
    this.#offerDownload(failed ? null : path);
    if (failed) this.#tell("failed", `Not saved: ${reason}`, path);
    else if (!complete) this.#tell("failed", `Saved as ${name(path)}, but incomplete: ${reason}`, path);
    else this.#tell("saved", `Saved as ${name(path)}: ${pictures} pictures, ${frames} raw frames`, path);
  }

  async #look() {
    if (this.#path === null || this.#asking) return;
    this.#asking = true;
    const path = this.#path;
    try {
      const { clip } = await ask("status");
      if (this.#path !== path || clip.active) return;
      if (clip.last?.path === path) this.#end(clip.last);
      else this.#lose();
    } catch {
      // Without a daemon the page says so; it is asked again.
    } finally {
      this.#asking = false;
    }
  }

  #lose() {
    const path = this.#path;
    this.#path = null;
    this.#elements.button.disabled = false;
    this.#tell("failed", `Not saved: the daemon ended while it saved ${name(path)}`, path);
  }

  #offerDownload(path) {
    this.#saved = path;
    this.#elements.download.hidden = path === null;
  }

  /** The saved folder as one file, from the daemon's machine. */
  async #download() {
    const { download } = this.#elements;
    download.disabled = true;
    try {
      const { url, name: file, bytes } = await post("/download", { path: this.#saved });
      Object.assign(document.createElement("a"), { href: url, download: file }).click();
      this.#tell("saved", `${file}, ${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB, goes to this browser's downloads`, this.#saved);
    } catch (error) {
      this.#tell("failed", `Not downloaded: ${error.message}`, this.#saved);
    } finally {
      download.disabled = false;
    }
  }

  #offer() {
    const { phase, site, side, note } = this.#elements;
    for (const field of [site, side, note]) field.disabled = phase.value === "";
  }

  #tell(state, words, path = "") {
    const { result } = this.#elements;
    result.dataset.state = state;
    result.textContent = words;
    result.title = path;
  }
}

/** A site as the protocol has it: one word of small letters, digits and hyphens. */
function word(text) {
  return text.trim().toLowerCase().replaceAll(/\s+/g, "-");
}

/** The last part of a path. */
function name(path) {
  return (path ?? "").replace(/\/+$/, "").split("/").at(-1);
}

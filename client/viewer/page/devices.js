// The devices of this machine, looked for when somebody asks, and the way to another one.

import { Refused, ask, post } from "./control.js";

const COLUMNS = ["product", "serial", "firmware", "state"];
// Scenes of the simulated probe, each with the probe that suits it.
export const SCENES = ["carpal-tunnel", "contrast", "cyst", "hip", "knee", "needle", "vessel", "wires"];
const READY = "ready";

export class Devices {
  #elements;
  #status = null;
  #wanted = null;

  /** `elements`: button, table, words (what came of it), cures (a list), scene, sceneUse, dialog, question. */
  constructor(elements) {
    this.#elements = elements;
    const { button, scene, sceneUse } = elements;
    button.addEventListener("click", () => this.#look());
    scene.append(...SCENES.map((name) => Object.assign(document.createElement("option"), { value: name, textContent: name })));
    sceneUse.addEventListener("click", () => this.#switch(`sim:${scene.value}`, `the simulated probe, scene ${scene.value}`));
  }

  /** What the daemon says of itself; null when it says nothing. */
  heard(status) {
    this.#status = status;
    this.#mark();
    if (!status || !this.#wanted || status.session === this.#wanted.session || !status.switch) return;
    const { from, to, problems } = status.switch;
    this.#wanted = null;
    this.#tell(problems.length ? `${to} cannot be used; ${from} is back: ${problems.join("; ")}` : `Now uses ${to}.`, problems.length > 0);
  }

  async #look() {
    const { button, table } = this.#elements;
    button.disabled = true;
    this.#tell("Looking …");
    try {
      const { devices } = await post("/devices", {});
      table.replaceChildren(row("th", ["", ...COLUMNS, "driver"]), ...devices.map((device) => this.#found(device)));
      this.#mark();
      const attached = devices.filter((device) => !device.emulated).length;
      this.#tell(attached === 0 ? "No USB device is attached; emulated boards are always there." : "");
      this.#cures(devices);
    } catch (error) {
      this.#tell(error instanceof Refused ? `Not known: ${error.message}` : String(error), true);
    } finally {
      button.disabled = false;
    }
  }

  #cures(devices) {
    const cures = new Set(devices.map(({ cure }) => cure).filter(Boolean));
    this.#elements.cures.textContent = [...cures].sort().join("\n");
  }

  #found(device) {
    const made = row("td", ["", ...COLUMNS.map((name) => device[name] || "–"), device.uri || "none"]);
    made.dataset.uri = device.uri ?? "";
    made.dataset.serial = device.emulated ? "" : device.serial ?? "";
    if (device.uri && device.state === READY) {
      const use = Object.assign(document.createElement("button"), { type: "button", textContent: "Use" });
      use.ariaLabel = `Use ${device.product}`;
      use.addEventListener("click", () => this.#switch(device.uri, device.product));
      made.cells[0].append(use);
    }
    return made;
  }

  /** Say which device the daemon uses now. */
  #mark() {
    const { driver = "", serial = "" } = this.#status ?? {};
    for (const one of this.#elements.table.rows) {
      const { uri, serial: own } = one.dataset;
      const same = uri !== undefined && uri !== "" && (uri === driver || (own && own === serial && uri.split(":")[0] === driver.split(":")[0]));
      one.classList.toggle("used", Boolean(same));
      const use = one.querySelector("button");
      if (use) use.disabled = this.#wanted !== null || this.#status === null || Boolean(same);
      if (use) use.textContent = same ? "In use" : "Use";
    }
    this.#elements.sceneUse.disabled = this.#wanted !== null || this.#status === null;
  }

  async #switch(uri, words) {
    const { dialog, question } = this.#elements;
    question.textContent = `Use ${words} (${uri}) in place of ${this.#status.driver}? Frames stop for a moment and a new session begins; `
      + "a probe that is not frozen transmits at once. If it cannot be used, the present one comes back.";
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
    if (dialog.returnValue !== "yes") return;
    try {
      const { session } = await ask("switch", { driver: uri });
      this.#wanted = { session };
      this.#mark();
      this.#tell(`Switching to ${uri} …`);
    } catch (error) {
      this.#tell(`Not switched: ${error.message}`, true);
    }
  }

  #tell(words, bad = false) {
    this.#elements.words.textContent = words;
    this.#elements.words.classList.toggle("bad", bad);
  }
}

function row(tag, values) {
  const made = document.createElement("tr");
  made.append(...values.map((value) => Object.assign(document.createElement(tag), { textContent: value })));
  return made;
}

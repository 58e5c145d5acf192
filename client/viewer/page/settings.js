// The settings as this page sees them: what was confirmed, what is asked for, one request at a time.

import { ask } from "./control.js";

/** `listener` has changed(name, value, pending) and refused(error); values are SI. `proof()` gives what a request needs
    beside its changes, such as the token of a lease. */
export class Settings {
  #listener;
  #confirmed = new Map();
  #waiting = new Map();
  #flying = new Map();
  #revision = -1;
  #proof;

  constructor(listener, proof = () => ({})) {
    this.#listener = listener;
    this.#proof = proof;
  }

  /** The value to show: what was asked for last, else what the daemon confirmed. */
  value(name) {
    return this.#waiting.get(name) ?? this.#flying.get(name) ?? this.#confirmed.get(name);
  }

  /** A daemon has described its knobs: start from their values. */
  reset(knobs, revision) {
    this.#confirmed = new Map(knobs.map((knob) => [knob.name, knob.value ?? knob.default]));
    this.#waiting.clear();
    this.#revision = revision ?? -1;
    for (const name of this.#confirmed.keys()) this.#tell(name);
  }

  /** The daemon says which settings are in force. */
  confirm(values, revision) {
    if (revision < this.#revision) return;
    this.#revision = revision;
    for (const [name, value] of Object.entries(values)) {
      if (!this.#confirmed.has(name) || same(this.#confirmed.get(name), value)) continue;
      this.#confirmed.set(name, value);
      this.#tell(name);
    }
  }

  /** Ask for a value; shown at once, and corrected by the reply. While a request is under way the newest wins. */
  change(name, value) {
    this.#waiting.set(name, value);
    this.#tell(name);
    if (this.#flying.size === 0) this.#send();
  }

  async #send() {
    while (this.#waiting.size > 0) {
      this.#flying = this.#waiting;
      this.#waiting = new Map();
      const names = [...this.#flying.keys()];
      try {
        const reply = await ask("set", { changes: Object.fromEntries(this.#flying), ...this.#proof() });
        this.#flying = new Map();
        this.confirm(reply.applied ?? {}, reply.revision);
        this.#listener.refused(null);
      } catch (error) {
        this.#flying = new Map();
        this.#listener.refused(error);
      }
      names.forEach((name) => this.#tell(name));
    }
  }

  #tell(name) {
    this.#listener.changed(name, this.value(name), this.#waiting.has(name) || this.#flying.has(name));
  }
}

function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}

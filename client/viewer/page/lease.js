// Who may change acoustic output and geometry, and how this page becomes the one.

import { Refused, ask } from "./control.js";

const TTL_S = 10;
const RENEW_MS = 2500;
const HOLDER_LIMIT = 60;

/** `changed({mine, holder, required})` is called when who holds the lease has changed; `failed(error)` on a refusal. */
export class Lease {
  #token = null;
  #known = null;
  #changed;
  #failed;

  constructor(changed, failed) {
    this.#changed = changed;
    this.#failed = failed;
    setInterval(() => this.look(), RENEW_MS);
  }

  /** What a request needs beside its arguments. */
  get proof() {
    return this.#token === null ? {} : { lease: this.#token };
  }

  get mine() {
    return this.#token !== null;
  }

  /** Whether somebody else alone may change what needs the lease. */
  get viewOnly() {
    return this.#token === null && this.#known !== null && (this.#known.holder !== null || this.#known.required);
  }

  /** Prolong the lease that we hold, or see who holds it. */
  async look() {
    try {
      const reply = this.#token === null
        ? await ask("lease", { action: "status" })
        : await ask("lease", { action: "acquire", token: this.#token, holder: me(), ttl_s: TTL_S });
      this.#tell(reply);
    } catch (error) {
      if (this.#token !== null && error.code !== "unavailable") {
        this.#token = null;
        this.#failed(new Refused({ code: error.code, message: "Control was lost: somebody took over, or it ran out." }));
        this.look();
      }
    }
  }

  /** Become the holder; whoever holds it now loses it. */
  async take() {
    const action = (this.#known?.holder ?? null) === null ? "acquire" : "takeover";
    try {
      const reply = await ask("lease", { action, holder: me(), ttl_s: TTL_S });
      this.#token = reply.token;
      this.#tell(reply);
    } catch (error) {
      this.#failed(error);
      this.look();
    }
  }

  async release() {
    const token = this.#token;
    this.#token = null;
    try {
      this.#tell(await ask("lease", { action: "release", token }));
    } catch (error) {
      this.#failed(error);
      this.look();
    }
  }

  #tell({ holder = null, required = false }) {
    const mine = this.#token !== null;
    const known = this.#known;
    if (known && mine === known.mine && holder === known.holder && required === known.required) return;
    this.#known = { mine, holder, required };
    this.#changed(this.#known);
  }
}

/** How this browser is called in the daemon's log and on other pages. */
function me() {
  const system = navigator.userAgentData?.platform || navigator.platform || "browser";
  return `viewer on ${system}`.slice(0, HOLDER_LIMIT);
}

// The devices of this machine, looked for when somebody asks.

import { Refused, post } from "./control.js";

const COLUMNS = ["product", "serial", "firmware", "state"];

/** `elements`: button, table, words (what came of it), cures (a list). */
export function offerDevices({ button, table, words, cures }) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    words.textContent = "Looking …";
    try {
      const { devices } = await post("/devices", {});
      table.replaceChildren(row("th", ["to start with", ...COLUMNS]), ...devices.map(found));
      const attached = devices.filter((device) => !device.emulated).length;
      words.textContent = attached === 0 ? "No USB device is attached; emulated boards are always there." : "";
      const rules = new Set(devices.filter(({ driver, permission }) => driver && permission).map((one) => one.permission));
      const cure = "For the missing permission, put into /etc/udev/rules.d/70-sonod.rules, then plug in again:";
      cures.textContent = rules.size ? [cure, ...[...rules].sort()].join("\n") : "";
    } catch (error) {
      words.textContent = error instanceof Refused ? `Not known: ${error.message}` : String(error);
    } finally {
      button.disabled = false;
    }
  });
}

function found(device) {
  const start = device.uri ? `sonod run --driver '${device.uri}'` : "–";
  return row("td", [start, ...COLUMNS.map((name) => device[name] || "–")]);
}

function row(tag, values) {
  const made = document.createElement("tr");
  made.append(...values.map((value) => Object.assign(document.createElement(tag), { textContent: value })));
  return made;
}

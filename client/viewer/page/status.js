// The status page: what the daemon says of itself, once a second.

import { ask } from "./control.js";
import { Devices } from "./devices.js";
import { Plot } from "./plot.js";

const PERIOD_MS = 1000;
const KEPT = 120;
const CAUSES = { device: "device", ring: "too slow", processing: "failed" };
const LEGS = {
  transmit_to_first_byte: "transmission to first byte",
  first_to_last_byte: "first to last byte",
  last_byte_to_dequeued: "last byte to processing",
  dequeued_to_processed: "processing",
  processed_to_published: "processed to published",
  transmit_to_published: "all",
};

const by = (id) => document.getElementById(id);
const rate = new Plot(by("plot-rate"), ["acquired"], (value) => `${value.toFixed(1)} Hz`, KEPT);
const latency = new Plot(by("plot-latency"), ["50 %", "99 %"], (value) => `${value.toFixed(1)} ms`, KEPT);
const losses = new Plot(by("plot-losses"), Object.values(CAUSES), (value) => `${value.toFixed(1)} /s`, KEPT);
let before = null;

const devices = new Devices({
  button: by("devices-look"), table: by("devices"), words: by("devices-words"), cures: by("devices-cures"),
  scene: by("scene"), sceneUse: by("scene-use"), dialog: by("ask"), question: by("ask-question"),
});
look();

async function look() {
  let status = null;
  try {
    status = await ask("status");
    show(status);
  } catch (error) {
    write("state", "no daemon");
    by("state").dataset.state = "lost";
    write("reason", error.message);
  }
  document.body.dataset.there = String(status !== null);
  devices.heard(status);
  plot(status);
  before = status;
  setTimeout(look, PERIOD_MS);
}

function plot(status) {
  const whole = status?.ledger?.transmit_to_published;
  rate.add([status ? status.frame_rate_hz : null]);
  latency.add(whole ? [whole.p50_ns / 1e6, whole.p99_ns / 1e6] : [null, null]);
  losses.add(Object.keys(CAUSES).map((cause) => lostPerSecond(status, cause)));
}

/** Since the last look; null across a gap or a restart of the daemon. */
function lostPerSecond(status, cause) {
  if (!status || !before || status.session !== before.session) return null;
  const seconds = (status.now_ns - before.now_ns) / 1e9;
  return seconds > 0 ? Math.max(0, status.losses[cause] - before.losses[cause]) / seconds : null;
}

function show(status) {
  write("probe", status.probe || "no probe yet");
  write("state", status.state);
  by("state").dataset.state = status.state;
  write("reason", status.reason || (status.health === "good" ? "" : status.health_reason));
  const { device, losses: lost } = status;
  const temperature = device.temperature_c ?? null;
  table("device", [
    ["driver", status.driver],
    ["serial", status.serial || "–"],
    ["version of sonod", status.version],
    ["health", [status.health, status.health_reason].filter(Boolean).join(": ")],
    ["frames", device.frames],
    ["megabytes", (device.bytes / 1e6).toFixed(1)],
    ["timeouts", device.timeouts],
    ["errors", device.errors],
    ["opened again", status.recoveries],
    ["last failure", status.last_failure || "none"],
    ["temperature", temperature === null ? "not reported" : `${temperature.toFixed(1)} °C`],
  ]);
  table("link", [
    ...Object.entries(CAUSES).map(([cause, words]) => [`frames lost: ${words}`, lost[cause]]),
    ...Object.entries(device.link ?? {}).map(([name, count]) => [name.replaceAll("_", " "), count]),
  ]);
  const legs = Object.entries(LEGS).filter(([leg]) => status.ledger?.[leg]);
  table(
    "ledger",
    legs.map(([leg, words]) => [words, ...["p50_ns", "p99_ns", "max_ns"].map((key) => milliseconds(status.ledger[leg][key]))]),
    legs.length ? ["ms", "50 %", "99 %", "longest"] : ["No product was published yet: nobody watches."],
  );
}

function table(id, rows, head = []) {
  const made = rows.map(([name, ...values]) => tr(cell("th", name, "row"), ...values.map((value) => cell("td", value))));
  if (head.length) made.unshift(tr(...head.map((words) => cell("th", words, "col"))));
  by(id).replaceChildren(...made);
}

function tr(...cells) {
  const row = document.createElement("tr");
  row.append(...cells);
  return row;
}

function cell(tag, words, scope = "") {
  const element = Object.assign(document.createElement(tag), { textContent: String(words) });
  if (scope) element.scope = scope;
  return element;
}

function milliseconds(ns) {
  return (ns / 1e6).toFixed(2);
}

function write(id, words) {
  if (by(id).textContent !== words) by(id).textContent = words;
}

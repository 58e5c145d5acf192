// Wires the page together.

import { Cine } from "./cine.js";
import { Clip } from "./clip.js";
import { Refused, ask } from "./control.js";
import { freshness, silent } from "./freshness.js";
import { Knobs } from "./knobs.js";
import { Lease } from "./lease.js";
import { Link } from "./link.js";
import { Numbers } from "./numbers.js";
import { Presets } from "./presets.js";
import { RawChoice } from "./raw.js";
import { Review } from "./review.js";
import { Settings } from "./settings.js";
import { Stage } from "./stage.js";
import { Tools } from "./tools.js";

const LOOK_MS = 100;
const NUMBERS_MS = 250;
// When a view has had no frame at all for so long while the probe runs, the other one is tried.
const OTHER_VIEW_MS = 2000;
const DESCRIBE_RETRY_MS = 1000;
// States in which the button starts the probe again.
const START_AGAIN = { ended: "Play again", stopped: "Start" };

const by = (id) => document.getElementById(id);

const seen = { connected: false, frames: "", heardMs: null, frameMs: null, lastByteNs: 0, state: null, raw: false };
const stage = new Stage(by("picture"), by("overlay"));
const numbers = new Numbers();
const lease = new Lease(showLease, showRefusal);
const settings = new Settings({ changed: showSetting, refused: showRefusal }, () => lease.proof);
const knobs = new Knobs(by("knobs"), (name, value) => settings.change(name, value));
const presets = new Presets(by("preset"), choosePreset);
const cine = new Cine();
const clip = new Clip({
  button: by("clip-save"), phase: by("clip-phase"), site: by("clip-site"), side: by("clip-side"), note: by("clip-note"),
  result: by("clip-result"), download: by("clip-download"),
});
const raw = new RawChoice(
  {
    bar: by("raw"), transmit: by("raw-transmit"), transmitShown: by("raw-transmit-shown"), channel: by("raw-channel"),
    channelShown: by("raw-channel-shown"), words: by("raw-words"),
  },
  (trace) => link.want(stage.products, trace),
);
const review = new Review(
  cine,
  { bar: by("cine"), slider: by("cine-place"), label: by("cine-label"), back: by("cine-back"), on: by("cine-on") },
  lookAt,
);
const tools = new Tools(
  {
    bar: by("tools"), save: by("save"), marks: by("marks"), picture: by("picture"), overlay: by("overlay"),
    list: by("measures-list"), box: by("measures"), clear: by("measures-clear"),
    dialog: by("ask"), question: by("ask-question"), answer: by("ask-answer"),
  },
  stage,
  cine,
  (message) => showRefusal(new Refused({ code: "save", message })),
);

let session = null;
let probe = null;
let lastFrame = null;
let described = false;
let describing = false;
let viewSinceMs = performance.now();
let unpainted = null;

const link = new Link({
  opened() {
    seen.connected = true;
    described = false;
  },
  closed() {
    seen.connected = false;
    seen.heardMs = null;
    seen.state = null;
    look();
  },
  hello(message) {
    seen.frames = message.frames;
  },
  notice(notice, ageS) {
    enter(notice.session, notice.probe);
    if (notice.product !== "event") heard(ageS * 1e3);
    if (notice.product === "state") {
      const before = seen.state?.state;
      seen.state = notice;
      numbers.state(notice);
      // A probe that came back may have other knobs.
      if (before && before !== notice.state && notice.state === "running") described = false;
      look();
    }
    if (notice.product === "event" && notice.event.startsWith("lease_")) lease.look();
    if (notice.product === "settings") {
      numbers.settings(notice);
      settings.confirm(notice.settings, notice.revision);
    }
    const ofClip = notice.product === "event" && notice.event.startsWith("clip_");
    if (ofClip) clip.heard(notice);
    // Said beside the button already.
    if (notice.product === "event" && notice.level === "error" && !ofClip) {
      showRefusal(new Refused({ code: notice.event, message: notice.message || notice.event }));
    }
  },
  frame(frame) {
    const nowMs = performance.now();
    const { header } = frame;
    enter(header.session, header.probe);
    heard(0);
    if (header.product === "bmode" && header.shape[1] === 1 && by("view").value === "auto") {
      show("motion");
      return;
    }
    stage.put(frame);
    if (header.product !== stage.main || header.frame === lastFrame) return;
    lastFrame = header.frame;
    if (stage.view === "image") cine.put(frame);
    review.offer(false);
    seen.frameMs = nowMs;
    seen.lastByteNs = header.times.last_byte_ns;
    numbers.frame(header, nowMs);
    numbers.lookAt(null);
    unpainted = header;
    offerTruth(header);
  },
  problem(message) {
    showRefusal(new Refused({ code: "frame", message }));
  },
});

show("image");
requestAnimationFrame(paint);
setInterval(look, LOOK_MS);
setInterval(() => numbers.show(performance.now(), by("stage").dataset.freshness !== "lost"), NUMBERS_MS);
setInterval(describe, DESCRIBE_RETRY_MS);

function heard(ageMs) {
  const atMs = performance.now() - ageMs;
  if (seen.heardMs === null || atMs > seen.heardMs) seen.heardMs = atMs;
  if (!described) describe();
}

/** A message of another session or probe: everything known before belongs to the past. */
function enter(newSession, newProbe) {
  if (newSession === session && newProbe === probe) return;
  if (newSession !== session) clip.forget();
  session = newSession;
  probe = newProbe;
  described = false;
  lastFrame = null;
  seen.frameMs = null;
  seen.state = null;
  unpainted = null;
  numbers.restart();
  stage.clear();
  cine.clear();
  raw.forget();
  link.want(stage.products, raw.trace);
  if (by("view").value === "auto") show("image");
}

/** Show a view and ask for its products. */
function show(view) {
  if (view !== stage.view) {
    lastFrame = null;
    seen.frameMs = null;
    unpainted = null;
    numbers.restart();
    cine.clear();
  }
  stage.view = view;
  viewSinceMs = performance.now();
  seen.raw = view === "rf";
  raw.open(seen.raw);
  link.want(stage.products, raw.trace);
}

function paint(nowMs) {
  const drawn = stage.paint(nowMs);
  if (drawn) tools.place();
  if (drawn && stage.view === "rf") raw.shown(drawn.header.geometry, stage.echoWords);
  if (drawn && unpainted === drawn.header) {
    const paintedMs = performance.now();
    numbers.painted(unpainted, paintedMs, link.daemonTime(paintedMs, unpainted.times.utc));
    by("stage").dataset.frame = unpainted.frame;
    by("stage").dataset.revision = unpainted.revision;
    unpainted = null;
    if (by("stage").dataset.freshness !== "live") look();
  }
  requestAnimationFrame(paint);
}

/** Say whether the picture is live, and try the other view when this one stays empty. */
function look() {
  const nowMs = performance.now();
  const { kind, text: reason } = freshness(seen, nowMs);
  review.offer(kind === "frozen" || kind === "idle" || kind === "lost");
  const text = [reason, review.words].filter(Boolean).join(" · ");
  const element = by("stage");
  if (element.dataset.freshness !== kind) {
    element.dataset.freshness = kind;
    // Spoken once, not ten times a second.
    by("spoken").textContent = kind === "live" ? "Live" : text;
  }
  if (by("banner").textContent !== text) by("banner").textContent = text;
  showState(nowMs);
  const running = seen.state?.state === "running" && seen.state.frame > 0;
  const empty = kind === "stale" && seen.frameMs === null && nowMs - viewSinceMs > OTHER_VIEW_MS;
  if (by("view").value === "auto" && running && empty) {
    show(stage.view === "image" ? "motion" : "image");
  }
}

function showState(nowMs) {
  const absent = !seen.connected ? "no viewer" : silent(seen, nowMs) ? "no daemon" : null;
  const known = absent ?? seen.state?.state ?? "waiting";
  const state = by("state");
  if (state.textContent !== known) state.textContent = known;
  state.dataset.state = absent ? "lost" : known;
  const button = by("freeze");
  const frozen = known === "frozen";
  const words = START_AGAIN[known] ?? (frozen ? "Unfreeze" : "Freeze");
  button.disabled = absent !== null;
  button.setAttribute("aria-pressed", String(frozen));
  if (button.firstChild.textContent !== `${words} `) button.firstChild.textContent = `${words} `;
}

async function describe() {
  if (describing || described || !seen.connected || seen.heardMs === null) return;
  describing = true;
  const asked = session;
  try {
    const reply = await ask("describe");
    const list = reply.knobs ?? [];
    const name = reply.probe?.name ?? "no probe yet";
    by("probe").textContent = name;
    document.title = `${name} – sonod`;
    stage.probeHz = reply.probe?.center_frequency_hz ?? null;
    by("no-knobs").hidden = list.length > 0;
    knobs.build(list);
    presets.build(reply.presets ?? []);
    settings.reset(list, reply.revision);
    knobs.lock(lease.viewOnly);
    lease.look();
    described = list.length > 0 && asked === session;
  } catch (error) {
    if (error.code !== "unavailable") showRefusal(error);
  } finally {
    describing = false;
  }
}

function showSetting(name, value, pending) {
  knobs.show(name, value, pending);
  presets.show((each) => settings.value(each));
}

/** Show an older picture, in place of the newest. */
function lookAt(frame) {
  stage.put(frame);
  numbers.lookAt(frame.header);
  unpainted = null;
  by("stage").dataset.frame = frame.header.frame;
  by("stage").dataset.revision = frame.header.revision;
  look();
}

function showLease({ mine, holder, required }) {
  const button = by("lease");
  button.hidden = false;
  button.textContent = mine ? "Release control" : holder === null ? "Take control" : "Take over";
  const words = mine ? "you have control" : holder ? `view only: ${holder} has control` : required ? "view only" : "";
  by("lease-holder").textContent = words;
  by("lease-holder").hidden = words === "";
  by("lease-holder").classList.toggle("foreign", !mine);
  knobs.lock(lease.viewOnly);
}

async function choosePreset(name) {
  try {
    const reply = await ask("preset", { name, ...lease.proof });
    settings.confirm(reply.applied ?? {}, reply.revision);
    showRefusal(null);
  } catch (error) {
    showRefusal(error);
  }
  presets.show((each) => settings.value(each));
}

async function toggleFreeze() {
  if (by("freeze").disabled) return;
  const state = seen.state?.state;
  const command = START_AGAIN[state] ? "start" : state === "frozen" ? "unfreeze" : "freeze";
  try {
    const reply = await ask(command, command === "freeze" ? {} : lease.proof);
    if (seen.state && reply.state) seen.state = { ...seen.state, state: reply.state };
    showRefusal(null);
  } catch (error) {
    showRefusal(error);
  }
  look();
}

function showRefusal(error) {
  by("refusal").hidden = error === null;
  if (error === null) return;
  const lines = error.problems?.length ? error.problems : [error.message];
  by("refusal-text").textContent = lines.join("\n");
}

function offerTruth(header) {
  const box = by("layer-truth");
  const available = Boolean(header.truth?.needle);
  if (box.disabled === available) box.disabled = !available;
}

function step(name, steps) {
  const value = knobs.stepped(name, settings.value(name), steps);
  if (value !== null && value !== settings.value(name)) settings.change(name, value);
}

/** Whether the arrows scroll: while frozen never anything else, also before there is something to scroll through. */
function scrolls() {
  return review.open || seen.state?.state === "frozen";
}

const KEYS = {
  " ": () => toggleFreeze(),
  ArrowUp: () => step("gain_db", 1),
  ArrowDown: () => step("gain_db", -1),
  ArrowRight: () => (scrolls() ? review.step(1) : step("depth_m", 1)),
  ArrowLeft: () => (scrolls() ? review.step(-1) : step("depth_m", -1)),
  d: () => tools.toggle("distance"),
  e: () => tools.toggle("ellipse"),
  a: () => tools.toggle("angle"),
  n: () => tools.toggle("note"),
  p: () => tools.save("frame"),
  k: () => clip.save(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const action = by("ask").open ? null : KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  // The space bar freezes wherever the focus is, except where it opens a list or ticks a box.
  const own = event.key === " " ? "select, input:not([type=range])" : "select, input";
  if (!action || event.target.closest(own)) return;
  event.preventDefault();
  if (event.key !== " " || !event.repeat) action();
});
// A focused button would take the space bar as a click when it is let go.
document.addEventListener("keyup", (event) => {
  if (event.key === " " && event.target.closest("button")) event.preventDefault();
});

by("freeze").addEventListener("click", toggleFreeze);
by("lease").addEventListener("click", () => (lease.mine ? lease.release() : lease.take()));
by("refusal-close").addEventListener("click", () => showRefusal(null));
by("view").addEventListener("change", (event) => {
  show({ motion: "motion", rf: "rf" }[event.target.value] ?? "image");
});
by("raw-zoom").addEventListener("change", (event) => (stage.echoZoom = Number(event.target.value)));
for (const layer of ["scales", "smooth", "truth"]) {
  by(`layer-${layer}`).addEventListener("change", (event) => {
    stage.layers[layer] = event.target.checked;
    stage.refresh();
  });
}

// Whether the picture is live, and if not, why: pure functions of what was heard and when.

// A picture older than this is not live, whatever the daemon says.
export const STALE_MS = 500;
// Of raw frames five a second are asked for.
const RAW_STALE_MS = 1500;
// The daemon repeats its state every second; after more than two it is not there.
const SILENT_MS = 2500;

const NO_RAW = "NO RAW DATA · none came yet; what delivers finished pictures, as some recordings do, has none";

const STATES = {
  starting: "STARTING THE PROBE",
  recovering: "NO PROBE",
  ended: "RECORDING ENDED",
  stopped: "STOPPED",
  leaving: "THE DAEMON ENDS",
};

/** Whether the daemon has said nothing for longer than it ever does. */
export function silent(seen, nowMs) {
  return seen.heardMs === null || nowMs - seen.heardMs > SILENT_MS;
}

/**
 * `{kind, text}`; kind is live, frozen, stale, idle or lost.
 *
 * `seen`: connected, frames (the address), heardMs and frameMs (when anything, and a new frame, came; null = never),
 * lastByteNs of that frame, state, the newest state notice or null, and raw: whether raw frames are looked at.
 */
export function freshness(seen, nowMs) {
  if (!seen.connected) return { kind: "lost", text: "NO CONNECTION TO THE VIEWER" };
  if (silent(seen, nowMs)) return { kind: "lost", text: `NO DAEMON at ${seen.frames}` };
  const staleMs = seen.raw ? RAW_STALE_MS : STALE_MS;
  const ageMs = seen.frameMs === null ? Infinity : nowMs - seen.frameMs;
  const state = seen.state?.state ?? "";
  // A frame younger than the notice of the state contradicts it.
  const overtaken = ageMs <= staleMs && seen.lastByteNs > (seen.state?.since_ns ?? 0);
  if (!overtaken && state === "frozen") return { kind: "frozen", text: "FROZEN" };
  if (!overtaken && STATES[state]) {
    const kind = state === "recovering" || state === "leaving" ? "lost" : "idle";
    return { kind, text: [STATES[state], seen.state.reason].filter(Boolean).join(" · ") };
  }
  if (ageMs === Infinity) return { kind: "stale", text: seen.raw ? NO_RAW : "NO FRAME YET" };
  if (ageMs > staleMs) return { kind: "stale", text: `NO NEW FRAME ${seconds(ageMs)}` };
  return { kind: "live", text: "" };
}

function seconds(ageMs) {
  const age = ageMs / 1e3;
  return age < 10 ? `${age.toFixed(1)} s` : age < 120 ? `${Math.floor(age)} s` : `${Math.floor(age / 60)} min`;
}

// SI on the wire, what people read on the screen.

const SUFFIXES = ["_m_s", "_m", "_db", "_hz", "_rad", "_s"];
const LARGE_HZ = 1e5;
const LARGE_M = 1;

/** Unit and factor in which lengths up to `largestM` are shown: a sonar's depths are metres. */
export function lengthUnit(largestM) {
  return largestM > LARGE_M ? { unit: "m", factor: 1 } : { unit: "mm", factor: 1e3 };
}

/** Unit and factor in which a knob is shown: millimetres, megahertz, degrees; what people read as it is stays. */
export function displayUnit(knob) {
  const largest = Math.max(Math.abs(knob.maximum ?? 0), Math.abs(knob.default ?? 0));
  if (knob.unit === "m") return lengthUnit(largest);
  if (knob.unit === "rad") return { unit: "°", factor: 180 / Math.PI };
  if (knob.unit === "Hz" && largest >= LARGE_HZ) return { unit: "MHz", factor: 1e-6 };
  return { unit: knob.unit, factor: 1 };
}

/** A value in display units with as many decimals as its step has, and up to two more where the value has them. */
export function formatNumber(value, step = 1) {
  const fewest = decimals(step);
  for (let digits = fewest; digits < fewest + 2; digits++) {
    const rounded = Number(value.toFixed(digits));
    if (Math.abs(rounded - value) < 1e-6 * Math.max(1, Math.abs(value))) return rounded.toFixed(digits);
  }
  return trim(value.toFixed(fewest + 2), fewest);
}

/** A knob's value with its unit. */
export function formatValue(knob, value) {
  if (typeof value !== "number") return String(value);
  const { unit, factor } = displayUnit(knob);
  const number = formatNumber(value * factor, (knob.step || 0.01) * factor);
  return (number + (unit === "°" ? "" : " ") + unit).trim();
}

/** The name of a knob as people say it. */
export function knobLabel(name) {
  const special = { tgc_db: "Time gain (TGC)", f_number: "F-number" }[name];
  if (special) return special;
  const suffix = SUFFIXES.find((end) => name.endsWith(end)) ?? "";
  const words = name.slice(0, name.length - suffix.length).replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Minus as typographers write it, so that -5 dB does not break or vanish. */
export function signed(text) {
  return text.replace(/^-/, "−");
}

function decimals(step) {
  for (let digits = 0; digits < 4; digits++) {
    if (Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) < 1e-6 * step * 10 ** digits) return digits;
  }
  return 2;
}

function trim(text, fewest) {
  let end = text.length;
  const point = text.indexOf(".");
  while (point >= 0 && end - 1 - point > fewest && text[end - 1] === "0") end--;
  return text.slice(0, text[end - 1] === "." ? end - 1 : end);
}

// Sliders and lists made from what the daemon describes; a knob that nobody here has heard of appears too.

import { displayUnit, formatNumber, formatValue, knobLabel, lengthUnit, signed } from "./units.js";

const FIRST = ["depth_m", "gain_db", "dynamic_range_db"];
const STEPS_WITHOUT_STEP = 200;

/** Builds controls into `form`; `change(name, value)` is called with SI values. */
export class Knobs {
  #form;
  #change;
  #knobs = new Map();
  #show = new Map();

  constructor(form, change) {
    this.#form = form;
    this.#change = change;
    form.addEventListener("submit", (event) => event.preventDefault());
    // After the mouse or a finger has moved a slider, the arrow keys are for the picture again.
    form.addEventListener("pointerup", (event) => event.target.type === "range" && event.target.blur());
  }

  get(name) {
    return this.#knobs.get(name);
  }

  /** Make the controls for these knobs, in place of those before. */
  build(knobs) {
    this.#knobs = new Map(knobs.map((knob) => [knob.name, knob]));
    this.#show.clear();
    const first = FIRST.map((name) => this.#knobs.get(name)).filter(Boolean);
    const curves = knobs.filter((knob) => knob.kind === "curve");
    const rest = knobs.filter((knob) => !first.includes(knob) && knob.kind !== "curve");
    const parts = [group("", first.map((knob) => this.#single(knob, true)))];
    for (const knob of curves) parts.push(this.#curve(knob));
    const picture = rest.filter((knob) => !knob.acoustic_output);
    const transmit = rest.filter((knob) => knob.acoustic_output);
    if (picture.length) parts.push(group("Picture", picture.map((knob) => this.#single(knob))));
    if (transmit.length) {
      parts.push(group("Transmit (affects acoustic output)", transmit.map((knob) => this.#single(knob))));
    }
    this.#form.replaceChildren(...parts);
  }

  /** Lock the knobs that the lease guards, while somebody else alone may turn them. */
  lock(locked) {
    for (const [name, knob] of this.#knobs) {
      if (!knob.needs_lease) continue;
      const own = `#knob-${CSS.escape(name)}, [id^="knob-${CSS.escape(name)}-"]`;
      for (const element of this.#form.querySelectorAll(own)) element.disabled = locked;
    }
  }

  /** Show a value; `pending` = asked for, not yet confirmed. */
  show(name, value, pending) {
    this.#show.get(name)?.(value, pending);
    if (name === "depth_m") for (const refresh of this.#show.values()) refresh.depth?.(value);
  }

  /** The value one or more steps further, inside the range; null when the knob is not there or has no steps. */
  stepped(name, value, steps) {
    const knob = this.#knobs.get(name);
    if (!knob || typeof value !== "number") return null;
    const scale = slots(knob);
    return scale ? scale.value(Math.min(scale.last, Math.max(scale.first, scale.slot(value) + steps))) : null;
  }

  #single(knob, primary = false) {
    const id = `knob-${knob.name}`;
    const row = make("div", { className: primary ? "knob primary" : "knob" });
    const label = make("label", { htmlFor: id, textContent: knobLabel(knob.name), title: knob.description ?? "" });
    const output = make("output", { htmlFor: id });
    const input = knob.kind === "choice" ? this.#list(knob) : this.#number(knob);
    input.element.id = id;
    row.append(label, output, input.element);
    this.#show.set(knob.name, (value, pending) => {
      input.show(value);
      output.textContent = knob.kind === "choice" ? "" : signed(formatValue(knob, value));
      row.classList.toggle("pending", pending);
    });
    return row;
  }

  #list(knob) {
    const element = make("select");
    element.append(...knob.choices.map((choice) => make("option", { value: choice, textContent: choice })));
    element.addEventListener("change", () => this.#change(knob.name, element.value));
    return { element, show: (value) => (element.value = value) };
  }

  #number(knob) {
    const scale = slots(knob);
    if (!scale) return this.#typed(knob);
    const element = make("input", { type: "range", min: scale.first, max: scale.last, step: 1 });
    element.addEventListener("input", () => this.#change(knob.name, scale.value(element.valueAsNumber)));
    return {
      element,
      show: (value) => {
        element.value = scale.slot(value);
        element.setAttribute("aria-valuetext", formatValue(knob, value));
      },
    };
  }

  // Without bounds there is no slider.
  #typed(knob) {
    const { factor } = displayUnit(knob);
    const element = make("input", { type: "number", step: "any" });
    element.addEventListener("change", () => {
      if (Number.isFinite(element.valueAsNumber)) this.#change(knob.name, element.valueAsNumber / factor);
    });
    return { element, show: (value) => (element.value = formatNumber(value * factor, 0.01)) };
  }

  #curve(knob) {
    const scale = slots(knob) ?? slots({ ...knob, minimum: -40, maximum: 40 });
    let points = [...knob.default];
    const rows = points.map((_, index) => {
      const id = `knob-${knob.name}-${index}`;
      const label = make("label", { htmlFor: id });
      const input = make("input", { type: "range", id, min: scale.first, max: scale.last, step: 1 });
      const output = make("output", { htmlFor: id });
      input.addEventListener("input", () => {
        points = points.map((point, at) => (at === index ? scale.value(input.valueAsNumber) : point));
        this.#change(knob.name, points);
      });
      return { label, input, output };
    });
    const reset = make("button", { type: "button", textContent: "Reset" });
    reset.addEventListener("click", () => this.#change(knob.name, [...knob.default]));
    const head = make("div", { className: "legend-row" });
    head.append(make("legend", { textContent: knobLabel(knob.name), title: knob.description ?? "" }), reset);
    const table = make("div", { className: "curve" });
    for (const { label, input, output } of rows) table.append(label, input, output);
    const part = group("", [head, table]);
    part.setAttribute("aria-label", knobLabel(knob.name));
    const show = (value, pending) => {
      if (!Array.isArray(value) || value.length !== rows.length) return;
      points = [...value];
      rows.forEach(({ input, output }, index) => {
        input.value = scale.slot(points[index]);
        output.textContent = signed(formatValue(knob, points[index]));
        input.setAttribute("aria-valuetext", formatValue(knob, points[index]));
      });
      part.classList.toggle("pending", pending);
    };
    show.depth = (depth) => {
      rows.forEach(({ label }, index) => {
        const { unit, factor } = lengthUnit(depth);
        const at = (depth * factor * index) / Math.max(1, rows.length - 1);
        label.textContent = knob.name === "tgc_db" ? `${at.toFixed(at < 9.95 ? 1 : 0)} ${unit}` : String(index + 1);
      });
    };
    show.depth(this.#knobs.get("depth_m")?.value ?? 0);
    this.#show.set(knob.name, show);
    return part;
  }
}

/** Whole slots of a slider and their values: multiples of the step, and the ends of the range; null without bounds. */
function slots(knob) {
  const { minimum, maximum } = knob;
  if (typeof minimum !== "number" || typeof maximum !== "number") return null;
  const step = knob.step > 0 ? knob.step : (maximum - minimum) / STEPS_WITHOUT_STEP || 1;
  return {
    first: Math.floor(minimum / step + 1e-9),
    last: Math.ceil(maximum / step - 1e-9),
    slot: (value) => Math.round(value / step),
    value: (slot) => {
      const value = Number(Math.min(maximum, Math.max(minimum, slot * step)).toPrecision(12));
      return knob.kind === "int" ? Math.round(value) : value;
    },
  };
}

function group(words, children) {
  const part = make("fieldset");
  if (words) part.append(make("legend", { textContent: words }));
  part.append(...children);
  return part;
}

function make(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

// Named sets of settings; the list names the preset that is in force, if one is.

export class Presets {
  #select;
  #presets = [];

  /** `choose(name)` is called when somebody picks one. */
  constructor(select, choose) {
    this.#select = select;
    select.addEventListener("change", () => select.value && choose(select.value));
  }

  build(presets) {
    this.#presets = presets.filter(({ fits }) => fits !== false);
    const options = [["", "–"], ...this.#presets.map(({ name }) => [name, name])].map(([value, words]) => {
      const option = document.createElement("option");
      option.value = value;
      option.textContent = words;
      return option;
    });
    this.#select.replaceChildren(...options);
    this.#select.closest("label").hidden = this.#presets.length === 0;
  }

  /** `value(name)` is the setting in force. */
  show(value) {
    const holds = ([name, wanted]) => {
      const present = value(name);
      if (typeof wanted !== "number") return JSON.stringify(present) === JSON.stringify(wanted);
      return Math.abs(present - wanted) <= 1e-9 * Math.max(1, Math.abs(wanted));
    };
    const found = this.#presets.find(({ settings }) => Object.entries(settings).every(holds));
    this.#select.value = found?.name ?? "";
    this.#select.title = found?.description ?? "";
  }
}

// Which trace of the raw frames is looked at.

export class RawChoice {
  #elements;
  #choose;
  #touched = false;

  /** `elements`: bar, transmit, transmitShown, channel, channelShown, words; `choose([transmission, channel])` is called
      when another one is wanted. */
  constructor(elements, choose) {
    this.#elements = elements;
    this.#choose = choose;
    for (const slider of [elements.transmit, elements.channel]) {
      slider.addEventListener("input", () => {
        this.#touched = true;
        this.#tell();
        choose(this.trace);
      });
    }
  }

  /** Transmission and channel, from 0 on; channel -1 = the middle one, before anybody has chosen. */
  get trace() {
    const { transmit, channel } = this.#elements;
    return this.#touched ? [transmit.valueAsNumber, channel.valueAsNumber] : [0, -1];
  }

  /** Another probe: begin with its middle again. */
  forget() {
    this.#touched = false;
    this.#elements.words.textContent = "";
  }

  open(open) {
    this.#elements.bar.hidden = !open;
  }

  /** A frame of geometry `trace` is on the screen; `words` say what it is. */
  shown({ transmits, transmit, channels, channel }, words) {
    const { transmit: first, channel: second, words: line } = this.#elements;
    first.max = transmits - 1;
    second.max = channels - 1;
    first.disabled = transmits < 2;
    second.disabled = channels < 2;
    if (!this.#touched) {
      first.value = transmit;
      second.value = channel;
    }
    this.#tell();
    if (line.textContent !== words) line.textContent = words;
  }

  #tell() {
    const { transmit, transmitShown, channel, channelShown } = this.#elements;
    for (const [slider, output] of [[transmit, transmitShown], [channel, channelShown]]) {
      const words = `${slider.valueAsNumber + 1} of ${Number(slider.max) + 1}`;
      if (output.textContent !== words) output.textContent = words;
      slider.setAttribute("aria-valuetext", words);
    }
  }
}

// The A-mode plot: one line's echo level over depth, beside the M-mode picture and on its depth scale.

// The largest echo fades from memory by half in this time, so that the plot settles after a change.
const HALF_LIFE_MS = 5000;

export class Trace {
  #largest = 0;
  #atMs = 0;

  /** Level in dB re the largest recent echo for each device row of `rect`; the strongest sample of a row counts. */
  levels(samples, geometry, plane, rect, nowMs) {
    const { first_m: first, spacing_m: spacing } = geometry;
    this.#largest *= 0.5 ** ((nowMs - this.#atMs) / HALF_LIFE_MS);
    this.#atMs = nowMs;
    for (const sample of samples) if (Math.abs(sample) > this.#largest) this.#largest = Math.abs(sample);
    const levels = new Float64Array(rect.height);
    const rowM = (plane.bottom - plane.top) / rect.height;
    for (let row = 0; row < rect.height; row++) {
      const from = (plane.top + row * rowM - first) / spacing;
      const begin = Math.max(0, Math.ceil(from - 0.5));
      const end = Math.min(samples.length, Math.max(begin + 1, Math.ceil(from + rowM / spacing - 0.5)));
      let strongest = 0;
      for (let index = begin; index < end; index++) strongest = Math.max(strongest, Math.abs(samples[index]));
      levels[row] = strongest > 0 ? 20 * Math.log10(strongest / this.#largest) : -Infinity;
    }
    return levels;
  }
}

// What a trace of echoes consists of: pure functions of its samples.

// Widths of usual converters, in bits: none says which it has.
const CONVERTER_BITS = [8, 10, 12, 14, 16, 24, 32];
const SHORTEST_SEGMENT = 64;
const LONGEST_SEGMENT = 1024;
// With fewer segments than this in a trace, segments are made shorter: a mean of few says little.
const SEGMENTS = 8;
export const BAND_DB = 6;
// Nothing but zeros.
const SILENT_DB = -250;

/** Bits of the smallest usual converter that gives whole numbers up to `largest`; null for numbers that are not whole. */
export function converterBits(dtype, largest) {
  if (!/^u?int/.test(dtype)) return null;
  const widest = Number(dtype.replace(/\D+/, ""));
  if (dtype.startsWith("u")) return CONVERTER_BITS.find((bits) => largest < 2 ** bits) ?? widest;
  return CONVERTER_BITS.find((bits) => largest <= 2 ** (bits - 1)) ?? widest;
}

/** Least and greatest number that a converter gives; null without one. */
export function converterLimits(dtype, bits) {
  if (bits === null) return null;
  return dtype.startsWith("u") ? [0, 2 ** bits - 1] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
}

/** Places of the samples at a converter's limits. */
export function clipped(samples, limits) {
  const places = [];
  if (limits) samples.forEach((value, place) => (value <= limits[0] && limits[0] < 0) || value >= limits[1] ? places.push(place) : 0);
  return places;
}

/**
 * Mean spectrum by P. D. Welch's method (1967): segments that overlap by half, Hann window, mean of the powers, without
 * each segment's mean. `real`, `imaginary` (null for RF); `full` is the amplitude of 0 dB: a sine that large.
 * Gives `{hertz, decibels}`: RF from 0 to half the sampling rate, IQ around `centreHz`.
 */
export function spectrum(real, imaginary, samplingHz, centreHz, full) {
  let size = LONGEST_SEGMENT;
  while (size > SHORTEST_SEGMENT && real.length < (size * (SEGMENTS + 1)) / 2) size /= 2;
  const taken = Math.min(size, real.length);
  const window = new Float64Array(taken).map((_, place) => 0.5 - 0.5 * Math.cos((2 * Math.PI * (place + 0.5)) / taken));
  const sum = window.reduce((total, weight) => total + weight, 0);
  const power = new Float64Array(size);
  let count = 0;
  for (let begin = 0; begin + taken <= real.length; begin += taken / 2) {
    const a = segment(real, begin, window, size);
    const b = imaginary ? segment(imaginary, begin, window, size) : new Float64Array(size);
    transform(a, b);
    for (let place = 0; place < size; place++) power[place] += a[place] ** 2 + b[place] ** 2;
    count += 1;
    if (taken < 2) break;
  }
  // Half of a real sine's amplitude is at the negative frequency.
  const scale = ((imaginary ? 1 : 2) / (sum * full)) ** 2 / Math.max(1, count);
  const places = imaginary
    ? Array.from({ length: size }, (_, place) => place - size / 2)
    : Array.from({ length: size / 2 + 1 }, (_, place) => place);
  return {
    hertz: places.map((place) => centreHz + (place * samplingHz) / size),
    decibels: places.map((place) => 10 * Math.log10(power[(place + size) % size] * scale + 1e-30)),
  };
}

/** The strongest frequency, and the lowest and highest that are 6 dB weaker, between the points of the spectrum; null
    without echoes. */
export function band({ hertz, decibels }) {
  // What lies at 0 Hz is the converter's offset, spread by the window.
  const first = hertz[0] === 0 ? Math.min(3, decibels.length - 1) : 0;
  let peak = first;
  for (let place = first; place < decibels.length; place++) if (decibels[place] > decibels[peak]) peak = place;
  const level = decibels[peak] - BAND_DB;
  if (!(decibels[peak] > SILENT_DB)) return null;
  let low = first;
  let high = decibels.length - 1;
  while (decibels[low] < level) low++;
  while (decibels[high] < level) high--;
  const edge = (inside, outside) => {
    if (outside < first || outside >= decibels.length) return hertz[inside];
    const share = (decibels[inside] - level) / (decibels[inside] - decibels[outside]);
    return hertz[inside] + share * (hertz[outside] - hertz[inside]);
  };
  return { peakHz: hertz[peak], lowHz: edge(low, low - 1), highHz: edge(high, high + 1), levelDb: decibels[peak] };
}

function segment(samples, begin, window, size) {
  let mean = 0;
  for (let place = 0; place < window.length; place++) mean += samples[begin + place];
  mean /= window.length;
  const made = new Float64Array(size);
  for (let place = 0; place < window.length; place++) made[place] = (samples[begin + place] - mean) * window[place];
  return made;
}

/** Discrete Fourier transform in place, of a length that is a power of two (J. W. Cooley and J. W. Tukey, 1965). */
function transform(a, b) {
  const size = a.length;
  for (let from = 1, to = 0; from < size; from++) {
    let bit = size >> 1;
    for (; to & bit; bit >>= 1) to ^= bit;
    to ^= bit;
    if (from < to) {
      [a[from], a[to]] = [a[to], a[from]];
      [b[from], b[to]] = [b[to], b[from]];
    }
  }
  for (let half = 1; half < size; half *= 2) {
    for (let place = 0; place < half; place++) {
      const turn = (-Math.PI * place) / half;
      const [cosine, sine] = [Math.cos(turn), Math.sin(turn)];
      for (let even = place; even < size; even += 2 * half) {
        const odd = even + half;
        const x = a[odd] * cosine - b[odd] * sine;
        const y = a[odd] * sine + b[odd] * cosine;
        [a[odd], b[odd]] = [a[even] - x, b[even] - y];
        a[even] += x;
        b[even] += y;
      }
    }
  }
}

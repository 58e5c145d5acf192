// What calipers say: pure functions of points in metres.

// A sonar sees metres, and nobody reads them in millimetres.
const LARGE_M = 1;

/** How many points a tool takes, and what it is called. */
export const TOOLS = {
  distance: { points: 2, words: "Distance" },
  ellipse: { points: 3, words: "Ellipse" },
  angle: { points: 3, words: "Angle" },
  note: { points: 1, words: "Note" },
};

/** What a finished mark measures, as a text; points are {x, z}. */
export function measured(kind, points, text = "") {
  if (kind === "distance") return length(distance(points[0], points[1]));
  if (kind === "angle") return `${degrees(points).toFixed(1)}°`;
  if (kind === "note") return text;
  const { a, b } = axes(points);
  return `${length(2 * a)} × ${length(2 * b)}, ${area(Math.PI * a * b)}, around ${length(girth(a, b))}`;
}

export function distance(p, q) {
  return Math.hypot(p.x - q.x, p.z - q.z);
}

/** An ellipse through the ends of one axis and as wide as a third point is away from that axis: centre, half axes,
    and the direction of the first axis. */
export function axes([p, q, side]) {
  const centre = { x: (p.x + q.x) / 2, z: (p.z + q.z) / 2 };
  const a = distance(p, q) / 2;
  const turn = Math.atan2(q.z - p.z, q.x - p.x);
  const b = Math.abs(-(side.x - centre.x) * Math.sin(turn) + (side.z - centre.z) * Math.cos(turn));
  return { centre, a, b, turn };
}

/** Circumference of an ellipse, by S. Ramanujan's second approximation (1914): exact to a millionth for usual shapes. */
export function girth(a, b) {
  if (a + b === 0) return 0;
  const h = ((a - b) / (a + b)) ** 2;
  return Math.PI * (a + b) * (1 + (3 * h) / (10 + Math.sqrt(4 - 3 * h)));
}

/** The angle at the second of three points. */
function degrees([p, corner, q]) {
  const first = Math.atan2(p.z - corner.z, p.x - corner.x);
  const second = Math.atan2(q.z - corner.z, q.x - corner.x);
  const turn = Math.abs(first - second) % (2 * Math.PI);
  return (Math.min(turn, 2 * Math.PI - turn) * 180) / Math.PI;
}

/** Metres in words: mm to a hundredth, from 1 m on metres to a millimetre. */
function length(metres) {
  return metres < LARGE_M ? `${(metres * 1e3).toFixed(2)} mm` : `${metres.toFixed(3)} m`;
}

function area(squareMetres) {
  return squareMetres < LARGE_M ** 2 ? `${(squareMetres * 1e6).toFixed(1)} mm²` : `${squareMetres.toFixed(3)} m²`;
}

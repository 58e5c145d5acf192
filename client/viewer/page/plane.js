// Where samples lie: from the geometry block to places in a rectangle of the screen.

/** A picture in millimetres: its edges are half a pixel outside the centres of the outer pixels. */
export function imagePlane(geometry) {
  const [rows, columns] = geometry.shape;
  const [rowM, columnM] = geometry.spacing_m;
  const [firstX, , firstZ] = geometry.first_pixel_m;
  return {
    rows,
    columns,
    left: firstX - columnM / 2,
    right: firstX + (columns - 0.5) * columnM,
    top: firstZ - rowM / 2,
    bottom: firstZ + (rows - 0.5) * rowM,
    y: geometry.first_pixel_m[1],
  };
}

/** An M-mode history: depth down, time to the right, 0 = the newest column; without a known period, columns. */
export function motionPlane(geometry) {
  const [rows, columns] = geometry.shape;
  const period = geometry.column_period_s;
  const column = period > 0 ? period : 1;
  return {
    rows,
    columns,
    timed: period > 0,
    left: -(columns - 0.5) * column,
    right: 0.5 * column,
    top: geometry.first_z_m - geometry.spacing_m / 2,
    bottom: geometry.first_z_m + (rows - 0.5) * geometry.spacing_m,
  };
}

/** The largest rectangle of the plane's proportions inside the room, whole device pixels, centred to the left or middle. */
export function fitted(plane, room) {
  const proportion = (plane.right - plane.left) / (plane.bottom - plane.top);
  const width = Math.max(1, Math.round(Math.min(room.width, room.height * proportion)));
  const height = Math.max(1, Math.round(Math.min(room.height, room.width / proportion)));
  return {
    x: Math.round(room.x + (room.width - width) / 2),
    y: Math.round(room.y + (room.height - height) / 2),
    width,
    height,
  };
}

/** Functions from the plane's coordinates to device pixels of the rectangle. */
export function mapping(plane, rect) {
  return {
    x: (value) => rect.x + ((value - plane.left) / (plane.right - plane.left)) * rect.width,
    y: (value) => rect.y + ((value - plane.top) / (plane.bottom - plane.top)) * rect.height,
  };
}

/** Values at steps of 1, 2 or 5 times a power of ten between first and last, at most `most` of them. */
export function ticks(first, last, most) {
  const rough = Math.max((last - first) / Math.max(most, 1), Number.MIN_VALUE);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * (1 - 1e-9));
  const values = [];
  for (let index = Math.ceil(first / step - 1e-9); index * step <= last + 1e-9 * step; index++) values.push(index * step);
  return { step, values, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

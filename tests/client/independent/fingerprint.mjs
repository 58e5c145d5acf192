// The fingerprint of a geometry, written from docs/geometry.md alone: node fingerprint.mjs VECTORS.json

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const DERIVED = new Set([
  "fingerprint", "array_order", "image_to_transducer", "transducer_origin_pixel", "orientation", "transforms",
]);

function canonical(value) {
  if (Array.isArray(value)) return "[" + value.map(canonical).join(",") + "]";
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number") {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(value + 0);
    return bytes.toString("hex");
  }
  const keys = Object.keys(value).filter((key) => value[key] !== null).sort();
  return "{" + keys.map((key) => JSON.stringify(key) + ":" + canonical(value[key])).join(",") + "}";
}

function fingerprint(block) {
  const kept = Object.fromEntries(Object.entries(block).filter(([key]) => !DERIVED.has(key)));
  return "sha256:" + createHash("sha256").update(canonical(kept)).digest("hex").slice(0, 32);
}

const cases = JSON.parse(readFileSync(process.argv[2], "utf8"));
const result = {};
for (const [name, { block }] of Object.entries(cases)) result[name] = fingerprint(block);
process.stdout.write(JSON.stringify(result));

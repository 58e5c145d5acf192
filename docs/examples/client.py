"""A client of the sonod daemon in Python, without sonod: pyzmq and NumPy, and docs/wire-protocol.md.

    python client.py FRAMES_ENDPOINT CONTROL_ENDPOINT

Prints a line of JSON for every B-mode or envelope frame, and changes the depth to 30 mm after the first one. Ends when
it is told to. What it prints is what `sonod conformance client` asks for (docs/conformance.md).
"""

import json
import math
import signal
import sys

import numpy as np
import zmq

PREFIXES = (b"sonod.1.bmode.", b"sonod.1.envelope.")
TYPES = {
    "uint8": "u1", "int8": "i1", "uint16": "u2", "int16": "i2", "uint32": "u4", "int32": "i4",
    "float32": "f4", "float64": "f8", "complex64": "c8",
}  # fmt: skip


def optional(values, key, default):
    """An optional key may be missing or null."""
    value = values.get(key)
    return default if value is None else value


def samples_of(header, payload):
    """The payload as an array, or None for an encoding that this client does not know."""
    if optional(header, "encoding", "raw") != "raw":
        return None
    order = ">" if optional(header, "byte_order", "little") == "big" else "<"
    kind = np.dtype(order + TYPES[header["dtype"]])
    if len(payload) != math.prod(header["shape"]) * kind.itemsize:
        raise ValueError(f"frame {header['frame']}: payload of {len(payload)} bytes")
    return np.frombuffer(payload, kind).reshape(header["shape"])


def lost(header):
    """Frames before this one that were never published, whatever the reason."""
    return sum(value for value in optional(header, "losses", {}).values() if isinstance(value, int))


def missed_between(before, header):
    """Frames of one product that were published and did not reach us."""
    if before is None or before["session"] != header["session"]:
        return 0
    return max(0, header["frame"] - before["frame"] - 1 - (lost(header) - lost(before)))


def place_of(geometry, row, column):
    """(x, z) of the centre of a pixel, in metres."""
    x = geometry["first_pixel_m"][0] + column * geometry["spacing_m"][1]
    z = geometry["first_pixel_m"][2] + row * geometry["spacing_m"][0]
    return x, z


def tell(values):
    """One line; flushed, because somebody may wait for it."""
    print(json.dumps(values), flush=True)  # noqa: T201


def main(frames, control):
    context = zmq.Context()
    subscriber = context.socket(zmq.SUB)
    subscriber.setsockopt(zmq.RCVHWM, 8)
    for prefix in PREFIXES:
        subscriber.subscribe(prefix)
    subscriber.connect(frames)
    dealer = context.socket(zmq.DEALER)
    dealer.connect(control)
    poller = zmq.Poller()
    poller.register(subscriber, zmq.POLLIN)
    poller.register(dealer, zmq.POLLIN)
    last = {}
    asked = False
    while True:
        ready = dict(poller.poll())
        if dealer in ready:
            reply = json.loads(dealer.recv())
            if reply.get("id") == "depth":
                if not reply["ok"]:
                    raise SystemExit(f"refused: {reply['error']['message']}")
                tell({key: reply[key] for key in ("applied", "revision", "first_frame")})
        if subscriber in ready:
            _topic, header, payload = subscriber.recv_multipart()
            header = json.loads(header)
            if header["sonod"] != 1:
                continue
            samples = samples_of(header, payload)
            if samples is None:
                continue
            stream = header["product"], header["probe"]
            rows, columns = header["shape"]
            tell(
                {
                    "product": header["product"],
                    "frame": header["frame"],
                    "revision": header["revision"],
                    "shape": header["shape"],
                    "sum": float(samples.sum(dtype=np.float64)),
                    "last_pixel_m": place_of(header["geometry"], rows - 1, columns - 1),
                    "missed": missed_between(last.get(stream), header),
                }
            )
            last[stream] = header
            if not asked:
                asked = True
                dealer.send(json.dumps({"id": "depth", "command": "set", "changes": {"depth_m": 0.03}}).encode())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python client.py FRAMES_ENDPOINT CONTROL_ENDPOINT")
    # Whoever reads our lines may have seen enough.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main(sys.argv[1], sys.argv[2])

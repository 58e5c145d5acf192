"""A message of every product, notice and command, with its golden bytes in `tests/client/golden/`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import wire_messages as base

from sonod.client.wire.control import Reply, Request, decode_reply, decode_request, encode_reply, encode_request
from sonod.client.wire.geometry import (
    ChannelGeometry,
    Geometry,
    ImageGeometry,
    LinesGeometry,
    MotionGeometry,
    Sector,
)
from sonod.client.wire.header import FrameHeader, Truth, decode_header, encode_header
from sonod.client.wire.notices import EventNotice, decode_notice, encode_notice

LINES = LinesGeometry((2, 3), ((-0.001, 0.0, 0.0), (0.001, 0.0, 0.0)), ((0.0, 0.0, 1.0), (0.0, 0.0, 1.0)), 0.0, 2.5e-5)
SECTOR = ImageGeometry(
    (3, 2),
    (0.0004, 0.0004),
    (-0.0002, 0.0, -0.008),
    Sector((0.0, 0.0, -0.06), 0.06, 0.14, -0.5, 0.5),
    sound_speed_m_s=1540.0,
    transducer="sha256:0123456789abcdef0123456789abcdef",
)
CHANNELS = ChannelGeometry(
    shape=(1, 2, 3),
    transmit_kind="plane",
    element_positions_m=((-0.0001, 0.0, 0.0), (0.0001, 0.0, 0.0)),
    transmit_elements=((0, 1),),
    delays_s=((0.0, 1e-08),),
    origins_m=((0.0, 0.0, 0.0),),
    angles_rad=(0.1,),
    receive_elements=((0, -1),),
    t0_s=(1e-06,),
    sampling_hz=4e7,
    demodulation_hz=0.0,
    sound_speed_m_s=1540.0,
    pulse_delay_s=2e-07,
    sample_scale=1.0,
    sample_unit="counts",
)


def frame(product: str, dtype: str, geometry: Geometry, *more: int) -> FrameHeader:
    """A header of a product; `more` axes behind those of the geometry."""
    shape = (*geometry.shape, *more)
    return replace(base.HEADER, product=product, dtype=dtype, geometry=geometry, shape=shape, truth=None)


HEADERS = {
    "bmode": replace(base.HEADER, geometry=SECTOR, shape=SECTOR.shape),
    "preview": replace(base.HEADER, product="preview", geometry=SECTOR, shape=SECTOR.shape),
    "mmode": frame("mmode", "uint8", MotionGeometry((3, 2), 0.0001, 0.0, 0.05)),
    "envelope": frame("envelope", "float32", SECTOR),
    "lines": frame("lines", "float32", LINES),
    "iq": frame("iq", "float32", LINES, 2),
    "rf": replace(frame("rf", "int16", CHANNELS), byte_order="big"),
    "labels": replace(
        base.HEADER,
        product="labels",
        geometry=SECTOR,
        shape=SECTOR.shape,
        truth=Truth(0.25, labels=("tissue", "tendon", "bone")),
    ),
}
EVENTS = {
    "state_changed": {"state": "frozen"},
    "recording_ended": {"paths": ["/data/a.h5"], "frames": 90, "complete": True, "reason": ""},
    "clip_started": {"path": "/data/knee"},
    "clip_ended": {
        "path": "/data/knee", "frames": 360, "pictures": 359, "complete": True, "reason": "", "failed": False
    },
    "clip_failed": {
        "path": "/data/knee", "frames": 0, "pictures": 0, "complete": False, "reason": "disk full", "failed": True
    },
    "mark": {
        "phase": "guidance", "site": "knee", "side": "left", "frame": 1041, "monotonic_ns": 8_123_463_190_000,
        "utc_ns": 1_790_000_000_000_000_000,
    },
}  # fmt: skip
TOKEN = "00112233445566778899aabbccddeeff"
# Command -> arguments and what a daemon may answer.
COMMANDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "describe": (
        {},
        {
            "sonod": 1,
            "version": "0.1.0",
            "session": base.SESSION,
            "driver": "sim:",
            "serial": "",
            "probe": {
                "name": "L", "kind": "linear", "elements": 2, "center_frequency_hz": None, "radius_m": 0.0
            },
            "state": "running",
            "revision": 2,
            "knobs": [
                {
                    "name": "depth_m", "kind": "float", "unit": "m", "value": 0.05, "default": 0.05, "minimum": 0.01,
                    "maximum": None, "step": 0.001, "choices": [], "points": 0, "description": "Depth",
                    "acoustic_output": False, "applied_by": "device",
                }
            ],
            "products": ["bmode", "rf"],
            "presets": [{"name": "shallow", "description": "Shallow", "settings": {"depth_m": 0.03}}],
            "commands": ["describe", "set"],
            "frames": ["tcp://127.0.0.1:5555"],
            "control": "tcp://127.0.0.1:5556",
            "viewer": None,
        },
    ),
    "get": ({"keys": ["depth_m"]}, {"revision": 2, "settings": {"depth_m": 0.05, "tgc_db": [0.0, 1.0]}}),
    "set": (
        {"changes": {"depth_m": 0.04}, "expected_revision": 2, "lease": TOKEN},
        {"revision": 3, "first_frame": 1049, "applied": {"depth_m": 0.04}},
    ),
    "preset": ({"name": "shallow"}, {"revision": 4, "first_frame": None, "applied": {"depth_m": 0.03}}),
    "save": ({}, {"revision": 4, "file": "[settings]\ndepth_m = 0.03\n"}),
    "load": (
        {"file": "depth_m = 0.03"},
        {"revision": 5, "first_frame": 7, "applied": {"depth_m": 0.03}, "pending": True},
    ),
    "freeze": ({}, {"state": "frozen"}),
    "unfreeze": ({"lease": TOKEN}, {"state": "running"}),
    "start": ({}, {"state": "recovering"}),
    "stop": ({}, {"state": "stopped"}),
    "status": (
        {},
        {
            "version": "0.1.0",
            "session": base.SESSION,
            "driver": "sim:",
            "serial": "",
            "probe": "L",
            "state": "running",
            "reason": "",
            "health": "ok",
            "health_reason": "",
            "since_ns": 1,
            "now_ns": 2,
            "uptime_s": 0.5,
            "revision": 2,
            "frame": 1041,
            "frame_rate_hz": 30.0,
            "recoveries": 0,
            "processed": 1041,
            "losses": {"device": 0, "ring": 2, "processing": 0},
            "last_failure": None,
            "device": {"frames": 1041, "bytes": 9, "lost": 0, "timeouts": 0, "errors": 0},
            "stages": {"beamform": {"last_ns": 3, "mean_ns": 3, "max_ns": 4, "count": 5}},
            "wanted": ["bmode"],
            "recording": {
                "active": False, "path": None, "frames": 0, "flushed": 0, "waiting": 0, "unrecorded": 0, "last": None
            },
            "clip": {"active": False, "path": None, "last": None},
            "cine": {
                "rf_s": 6.2, "rf_bytes": 805306368, "rf_frames": 450, "image_s": 30.0, "image_bytes": 9,
                "image_frames": 900,
            },
            "lease": {"holder": None, "expires_in_s": None},
        },
    ),
    "record": ({"action": "start", "path": "/data/a.h5", "seconds": 3.0}, {"path": "/data/a.h5"}),
    "clip": (
        {"path": "/data/knee", "before_s": 10.0, "after_s": 2.0},
        {"path": "/data/knee", "before_s": 10.0, "after_s": 2.0, "rf_held_s": 6.2, "image_held_s": 10.0},
    ),
    "mark": (
        {"phase": "guidance", "site": "knee", "side": "left", "text": "needle at the capsule"},
        {"frame": 1041, "monotonic_ns": 8_123_463_190_000},
    ),
    "shared_memory": ({"product": "rf", "ttl_s": 10.0}, {"name": "sonod-0123-rf-1", "expires_in_s": 10.0}),
    "lease": (
        {"action": "acquire", "holder": "needle", "ttl_s": 10.0},
        {"token": TOKEN, "holder": "needle", "expires_in_s": 10.0},
    ),
}  # fmt: skip

Case = tuple[Any, Callable[[Any], bytes], Callable[[bytes], Any]]
CASES: dict[str, Case] = {
    **{f"header_{product}": (header, encode_header, decode_header) for product, header in HEADERS.items()},
    **{
        f"event_{name}": (
            EventNotice(base.SESSION, "linear-128", name, "a line", "info", facts, 8_123_463_190_000),
            encode_notice,
            decode_notice,
        )
        for name, facts in EVENTS.items()
    },
    **{
        f"request_{name}": (Request(7, name, asked), encode_request, decode_request)
        for name, (asked, _) in COMMANDS.items()
    },
    **{f"reply_{name}": (Reply(7, answer), encode_reply, decode_reply) for name, (_, answer) in COMMANDS.items()},
}

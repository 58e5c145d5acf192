"""One good message of each kind, for the tests of the wire format."""

from __future__ import annotations

from sonod.client.wire.control import Problem, Reply, Request
from sonod.client.wire.geometry import ImageGeometry
from sonod.client.wire.header import Acoustic, AcousticIndex, FrameHeader, Losses, NeedleTruth, Truth
from sonod.client.wire.notices import ClockNotice, EventNotice, SettingsNotice, StateNotice
from sonod.client.wire.times import DeviceClock, Times, UtcMapping

SESSION = "0123456789abcdef0123456789abcdef"

HEADER = FrameHeader(
    product="bmode",
    frame=1041,
    session=SESSION,
    revision=2,
    probe="linear-128",
    shape=(3, 2),
    dtype="uint8",
    geometry=ImageGeometry((3, 2), (0.0001, 0.0002), (-0.0001, 0.0, 0.00005)),
    times=Times(
        first_byte_ns=8_123_456_210_000,
        last_byte_ns=8_123_456_390_000,
        dequeued_ns=8_123_456_402_000,
        processed_ns=8_123_463_100_000,
        published_ns=8_123_463_190_000,
        utc=UtcMapping(8_120_000_000_000, 1_795_359_735_000_000_000, 300, 1, True),
        transmit_ns=8_123_456_000_000,
        transmit_uncertainty_ns=1000,
        device_ticks=81_234_560,
        device_clock=DeviceClock(81_000_000, 8_100_000_000_000, 100.0021, 900, 1e-7, 250, 0),
    ),
    losses=Losses(device=1, ring=2, processing=3, unsubscribed=4, skipped=5),
    settings={"depth_m": 0.0512, "angle_count": 3, "grey_map": "linear", "tgc_db": (0.0, 1.5)},
    acoustic=Acoustic(AcousticIndex("estimated", 0.4)),
    truth=Truth(0.25, NeedleTruth((0.001, 0.0, 0.02), (-0.01, 0.0, 0.01), 0.0007), 8_123_456_000_100),
    message=1026,
)
SETTINGS = SettingsNotice(SESSION, "linear-128", 3, {"depth_m": 0.04}, 1049, 8_123_463_190_000)
STATE = StateNotice(
    session=SESSION,
    probe="linear-128",
    state="running",
    driver="sim:",
    since_ns=8_120_000_000_000,
    published_ns=8_123_463_190_000,
    frame=1041,
    frame_rate_hz=30.0,
    losses=Losses(ring=2),
    version="0.1.0",
    health="good",
)
CLOCK = ClockNotice(
    SESSION,
    "linear-128",
    UtcMapping(8_120_000_000_000, 1_795_359_735_000_000_000, 300, 1, True),
    1.0000021,
    150,
    250_000,
    40_000,
    DeviceClock(81_000_000, 8_100_000_000_000, 100.0021, 900, 1e-7, 250, 0),
    8_123_463_190_000,
)
EVENT = EventNotice(SESSION, "linear-128", "lease_expired", "gone", "warning", {"holder": "needle"}, 8_123_463_190_000)
REQUEST = Request("a", "set", {"changes": {"depth_m": 0.04}, "expected_revision": 2})
REPLY = Reply("a", {"revision": 3, "first_frame": 1049, "applied": {"depth_m": 0.04}})
REFUSAL = Reply(8, error=Problem("refused", "depth_m: must be in 0.01..0.06 m; got 9", ("depth_m: ...",)))

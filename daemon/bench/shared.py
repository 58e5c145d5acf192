"""Raw frames through shared memory: as fast as both sides go, and at the rate of a USB 3 front-end."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any, cast

import numpy as np

from sonod.client.control import Control
from sonod.client.shared import SharedFrames
from sonod.client.wire.fields import Fields
from sonod.client.wire.geometry import ChannelGeometry
from sonod.client.wire.header import FrameHeader
from sonod.client.wire.times import Times, UtcMapping
from sonod.daemon.session import Session
from sonod.daemon.shared_memory import RAW, SharedMemory

# One frame of 3 transmissions, 128 channels and 2048 samples of 16 bits.
SHAPE = (3, 128, 2048)
# What a USB 3 front-end sends at most; 0 = as fast as it goes.
RATES_MB_S = (350.0, 0.0)
SLOTS = 8
START_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class SharedResult:
    """`asked_mb_s` 0 = as fast as the writer goes; `written` frames of which `read` were read whole and `lost` not."""

    asked_mb_s: float
    payload_bytes: int
    seconds: float
    written_mb_s: float
    read_mb_s: float
    written: int
    read: int
    lost: int
    age_p50_ms: float
    age_p99_ms: float


class _NoControl:
    """The writer is this measurement's own: there is nobody to ask."""

    def __init__(self, name: str) -> None:
        self._name = name

    def request(self, command: str, arguments: Mapping[str, Any]) -> Fields:
        return Fields({"name": self._name}, command)


def measure_shared(rate_mb_s: float, seconds: float) -> SharedResult:
    """A writer in a process of its own, a reader in this one that copies and decodes every frame."""
    context = multiprocessing.get_context("spawn")
    ready: Queue[Any] = context.Queue()
    leaving = context.Event()
    process = context.Process(target=_write, args=(rate_mb_s, ready, leaving), daemon=True)
    process.start()
    ages: list[int] = []
    size = 0
    try:
        name = ready.get(timeout=START_TIMEOUT_S)
        with SharedFrames(cast(Control, _NoControl(name))) as frames:
            first = frames.next(START_TIMEOUT_S)
            begun = time.monotonic()
            last = first
            while time.monotonic() - begun < seconds:
                last = frames.next(START_TIMEOUT_S)
                ages.append(last.received_ns - last.header.times.published_ns)
                size = last.data.nbytes
            elapsed = time.monotonic() - begun
            written = last.header.frame - first.header.frame
            lost = frames.losses.queue
    finally:
        leaving.set()
        process.join(10)
    return SharedResult(
        asked_mb_s=rate_mb_s,
        payload_bytes=size,
        seconds=round(elapsed, 2),
        written_mb_s=round(written * size / elapsed / 1e6, 1),
        read_mb_s=round(len(ages) * size / elapsed / 1e6, 1),
        written=written,
        read=len(ages),
        lost=lost,
        age_p50_ms=round(float(np.percentile(ages, 50)) / 1e6, 3),
        age_p99_ms=round(float(np.percentile(ages, 99)) / 1e6, 3),
    )


def _write(rate_mb_s: float, ready: Queue[Any], leaving: Event) -> None:
    """Frames at the rate, never more than one behind."""
    session = Session()
    shared = SharedMemory(session, SLOTS, 0o600)
    name = shared.open(RAW, 3600)["name"]
    data = np.random.default_rng(1).integers(-2000, 2000, SHAPE, dtype=np.int16)
    header = _header(session)
    period_s = data.nbytes / (rate_mb_s * 1e6) if rate_mb_s else 0.0
    ready.put(name)
    frame, due = 0, time.monotonic()
    while not leaving.is_set():
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due + period_s, time.monotonic() - period_s)
        frame += 1
        shared.write(replace(header, frame=frame), data)
    shared.close()


def _header(session: Session) -> FrameHeader:
    transmits, channels, _ = SHAPE
    now_ns = session.monotonic_ns()
    elements = tuple(range(channels))
    return FrameHeader(
        product=RAW,
        frame=1,
        session=session.id,
        revision=1,
        probe="bench",
        shape=SHAPE,
        dtype="int16",
        geometry=ChannelGeometry(
            shape=SHAPE,
            sampling_hz=40e6,
            t0_s=(0.0,) * transmits,
            transmit_kind="plane",
            origins_m=((0.0, 0.0, 0.0),) * transmits,
            angles_rad=(0.0,) * transmits,
            delays_s=((0.0,) * channels,) * transmits,
            transmit_elements=(elements,) * transmits,
            receive_elements=(elements,) * transmits,
            demodulation_hz=0.0,
            sound_speed_m_s=1540.0,
            pulse_delay_s=0.0,
            sample_scale=1.0,
            sample_unit="counts",
            element_positions_m=tuple((3e-4 * element, 0.0, 0.0) for element in elements),
        ),
        times=Times(now_ns, now_ns, now_ns, now_ns, now_ns, UtcMapping(now_ns, now_ns, 200, 0, True)),
    )

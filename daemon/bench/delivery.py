"""From published to in hands: sonod's publisher and client beside a bare ZeroMQ pair with the same bytes."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Event

import numpy as np
import zmq

from sonod.client.frame import Frame
from sonod.client.subscriber import Subscriber
from sonod.client.wire.geometry import ImageGeometry
from sonod.client.wire.header import FrameHeader, encode_header
from sonod.client.wire.notices import Notice
from sonod.client.wire.times import Times, UtcMapping
from sonod.daemon.log import configure_logging
from sonod.daemon.publisher import Limits, Publisher
from sonod.daemon.runner import Outgoing
from sonod.daemon.session import Session
from sonod.daemon.sockets import LINGER_MS

ROWS, COLUMNS = 1024, 1024
RATE_HZ = 60.0
# Taken in turns, so that what else the machine does meets both alike.
TURN_S = 2.0
START_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class DeliveryResult:
    """Milliseconds from the time in the message, taken before it is handed to the socket, to the array in the client's
    hands; `p99_ratio` and `p50_ratio` are sonod's over the bare pair's."""

    endpoint: str
    rate_hz: float
    payload_bytes: int
    frames: int
    sonod_p50_ms: float
    sonod_p99_ms: float
    bare_p50_ms: float
    bare_p99_ms: float
    p50_ratio: float
    p99_ratio: float
    missed: int


def measure_delivery(seconds: float, endpoint: str = "ipc") -> DeliveryResult:
    """`seconds` of each, in turns; over `ipc` or `tcp`."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        bare_at, own_at = (
            (f"ipc://{folder}/bare", f"ipc://{folder}/sonod") if endpoint == "ipc" else ("tcp://127.0.0.1:*",) * 2
        )
        ready, leaving = context.Queue(), context.Event()
        turns = [context.Event(), context.Event()]
        process = context.Process(target=_publish, args=(bare_at, own_at, ready, turns, leaving), daemon=True)
        process.start()
        try:
            bare_endpoint, own_endpoint = ready.get(timeout=START_TIMEOUT_S)
            return _receive(bare_endpoint, own_endpoint, endpoint, turns, seconds)
        finally:
            leaving.set()
            process.join(10)


def _receive(
    bare_endpoint: str, own_endpoint: str, endpoint: str, turns: Sequence[Event], seconds: float
) -> DeliveryResult:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    bare = context.socket(zmq.SUB)
    bare.setsockopt(zmq.RCVHWM, 8)
    bare.subscribe(b"sonod.1.")
    bare.connect(bare_endpoint)
    durations: dict[str, list[int]] = {"bare": [], "sonod": []}
    missed = 0
    with Subscriber(own_endpoint) as subscriber:
        frames = subscriber.frames("bmode", timeout_s=START_TIMEOUT_S)

        def take_bare() -> int:
            _, header, payload = bare.recv_multipart(copy=False)
            now_ns = time.monotonic_ns()
            sent_ns = int.from_bytes(bytes(header.buffer[:8]), "little")
            assert len(payload.buffer) == ROWS * COLUMNS
            return now_ns - sent_ns

        def take_own() -> int:
            nonlocal missed
            frame: Frame = next(frames)
            now_ns = time.monotonic_ns()
            missed += frame.missed
            return now_ns - frame.header.times.published_ns

        for _ in range(max(1, round(seconds / TURN_S))):
            _turn(turns[0], take_bare, durations["bare"])
            _turn(turns[1], take_own, durations["sonod"])
    context.destroy(linger=0)
    p50, p99 = ({name: _percentile(own, share) for name, own in durations.items()} for share in (50, 99))
    return DeliveryResult(
        endpoint=endpoint,
        rate_hz=RATE_HZ,
        payload_bytes=ROWS * COLUMNS,
        frames=len(durations["sonod"]),
        sonod_p50_ms=p50["sonod"],
        sonod_p99_ms=p99["sonod"],
        bare_p50_ms=p50["bare"],
        bare_p99_ms=p99["bare"],
        p50_ratio=round(p50["sonod"] / p50["bare"], 2),
        p99_ratio=round(p99["sonod"] / p99["bare"], 2),
        missed=missed,
    )


def _turn(turn: Event, take: Callable[[], int], durations: list[int]) -> None:
    """One side sends for a while; its first frames only warm up."""
    turn.set()
    count = round(RATE_HZ * TURN_S)
    try:
        taken = [take() for _ in range(count)]
    finally:
        turn.clear()
    durations += taken[5:]


def _percentile(durations_ns: list[int], share: float) -> float:
    return round(float(np.percentile(durations_ns, share)) / 1e6, 3)


def _publish(
    bare_at: str, own_at: str, ready: multiprocessing.Queue[tuple[str, str]], turns: Sequence[Event], leaving: Event
) -> None:
    """The sending process: a bare PUB socket and sonod's own publisher."""
    # Standard output is the measurement's.
    configure_logging("warning")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    bare = context.socket(zmq.PUB)
    bare.setsockopt(zmq.SNDHWM, 16)
    bare.bind(bare_at)
    session = Session()
    publisher = Publisher((own_at,), Limits(), session, _nothing)
    publisher.set_probe("bench")
    publisher.start()
    ready.put((bare.getsockopt_string(zmq.LAST_ENDPOINT), publisher.endpoints[0]))
    payload = os.urandom(ROWS * COLUMNS)
    header = _header(session)
    length = len(encode_header(header))
    frame = 0
    due = time.monotonic()
    while not leaving.is_set():
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due + 1 / RATE_HZ, time.monotonic() - 1 / RATE_HZ)
        # A new object each time, as the daemon makes one.
        image = bytes(bytearray(payload))
        if turns[0].is_set():
            stamp = time.monotonic_ns().to_bytes(8, "little")
            bare.send_multipart([b"sonod.1.bmode.bench", stamp.ljust(length), image], zmq.NOBLOCK, copy=False)
        elif turns[1].is_set():
            frame += 1
            publisher.put(Outgoing(replace(header, frame=frame), image))
        else:
            time.sleep(0.001)
    publisher.leave(2.0)
    context.destroy(linger=LINGER_MS)


def _nothing() -> Sequence[Notice]:
    return ()


def _header(session: Session) -> FrameHeader:
    """As long as that of the simulated linear probe."""
    now_ns = session.monotonic_ns()
    settings = {f"knob_{index:02d}": float(index) for index in range(16)}
    return FrameHeader(
        product="bmode",
        frame=1,
        session=session.id,
        revision=1,
        probe="bench",
        shape=(ROWS, COLUMNS),
        dtype="uint8",
        geometry=ImageGeometry((ROWS, COLUMNS), (5e-5, 5e-5), (-0.0256, 0.0, 2.5e-5)),
        times=Times(now_ns, now_ns, now_ns, now_ns, now_ns, UtcMapping(now_ns, now_ns, 200, 0, True)),
        settings={**settings, "tgc_db": (0.0,) * 8},
    )

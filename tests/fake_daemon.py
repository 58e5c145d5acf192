"""A daemon's outside, made from the wire functions alone: publishes scenes and answers requests, on a thread."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from sonod.client.wire.control import Problem, Reply, Request, decode_request, encode_reply
from sonod.client.wire.geometry import ChannelGeometry, Geometry, ImageGeometry, LinesGeometry, MotionGeometry, Sector
from sonod.client.wire.header import FrameHeader, Losses, NeedleTruth, Truth, encode_header
from sonod.client.wire.notices import Notice, SettingsNotice, StateNotice, encode_notice, product_of
from sonod.client.wire.times import Times, UtcMapping
from sonod.client.wire.topic import Topic
from sonod.daemon.sockets import LINGER_MS

Product = tuple[str, NDArray[Any], Geometry]
Scene = Callable[[int, Mapping[str, Any]], list[Product]]

TICK_MS = 5
PRESETS = [
    {"name": "shallow", "description": "Shallow", "settings": {"depth_m": 0.03, "dynamic_range_db": 55.0}},
    {"name": "deep", "description": "Deep", "settings": {"depth_m": 0.07}},
]


def knob(name: str, kind: str, unit: str, value: Any, minimum: float, maximum: float, step: float, **more: Any) -> Any:
    """A knob as `describe` gives it."""
    return {
        "name": name,
        "kind": kind,
        "unit": unit,
        "value": value,
        "default": value,
        "minimum": minimum,
        "maximum": maximum,
        "step": step,
        "choices": [],
        "points": 0,
        "description": name,
        "acoustic_output": False,
        "applied_by": "processing",
        **more,
    }


def linear_knobs() -> list[dict[str, Any]]:
    """What a linear probe describes."""
    return [
        knob("sound_speed_m_s", "float", "m/s", 1540.0, 1400, 1700, 1),
        knob("depth_m", "float", "m", 0.04, 0.01, 0.08, 0.001),
        knob("gain_db", "float", "dB", 0.0, -40, 40, 1),
        knob("tgc_db", "curve", "dB", [0.0] * 8, -40, 40, 1, points=8),
        knob("dynamic_range_db", "float", "dB", 60.0, 20, 100, 1),
        knob("grey_map", "choice", "", "linear", 0, 0, 0, choices=["linear", "s-curve", "gamma", "inverted"]),
        knob("transmit_frequency_hz", "float", "Hz", 9e6, 5e6, 15e6, 1e5, acoustic_output=True, applied_by="device"),
        knob("angle_count", "int", "", 3, 1, 31, 1, acoustic_output=True, applied_by="device"),
        knob("angle_span_rad", "float", "rad", 0.3490658503988659, 0, 0.7, 0.017453292519943295, acoustic_output=True),
        knob("f_number", "float", "", 1.5, 0, 10, 0.1),
        knob("frame_rate_hz", "float", "Hz", 20.0, 0.1, 100, 1, acoustic_output=True, applied_by="device"),
    ]


@dataclass
class FakeDaemon:
    """Binds ephemeral ports (or those given, to come back at the same place); everything is one thread's."""

    scene: Scene
    frames: str = "tcp://127.0.0.1:*"
    control: str = "tcp://127.0.0.1:*"
    probe: str = "fake-linear"
    session: str = "session-1"
    knobs: list[dict[str, Any]] = field(default_factory=linear_knobs)
    frame_rate_hz: float = 20.0
    requests: list[Request] = field(default_factory=list)
    subscribed: set[bytes] = field(default_factory=set)
    # Set: the probe delivers nothing, and nobody says why.
    stalled: threading.Event = field(default_factory=threading.Event)
    # Set: requests are read and never answered.
    mute: threading.Event = field(default_factory=threading.Event)
    # Set after every frame.
    published: threading.Event = field(default_factory=threading.Event)
    state: str = "running"
    reason: str = ""
    truth: Truth | None = None
    revision: int = 1
    frame: int = 0
    holder: str | None = None
    token: str | None = None
    # As `status` has it; a clip lasts until the test ends it.
    clip: dict[str, Any] = field(default_factory=lambda: {"active": False, "path": None, "last": None})
    clip_refusal: Problem | None = None
    # What else `status` says.
    status: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> FakeDaemon:
        self._leaving = threading.Event()
        self._context = zmq.Context[zmq.Socket[bytes]]()
        self._publisher = self._context.socket(zmq.XPUB)
        self._publisher.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._publisher.setsockopt(zmq.SNDHWM, 4)
        self._router = self._context.socket(zmq.ROUTER)
        self.frames = self._bind(self._publisher, self.frames)
        self.control = self._bind(self._router, self.control)
        self._thread = threading.Thread(target=self._run, name="fake-daemon")
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._leaving.set()
        self._thread.join()
        for socket in (self._publisher, self._router):
            socket.close(linger=LINGER_MS)
        self._context.term()

    @property
    def values(self) -> dict[str, Any]:
        """The settings by name."""
        return {knob["name"]: knob["value"] for knob in self.knobs}

    def change(self, changes: Mapping[str, Any]) -> None:
        """New values, as if another client had set them; told with the next notice."""
        self.knobs = [replace_value(knob, changes) for knob in self.knobs]
        self.revision += 1

    def _bind(self, socket: zmq.Socket[bytes], endpoint: str) -> str:
        socket.bind(endpoint)
        return str(socket.getsockopt_string(zmq.LAST_ENDPOINT))

    def _run(self) -> None:
        next_frame_s = next_notice_s = time.monotonic()
        while not self._leaving.is_set():
            if self._router.poll(TICK_MS):
                self._answer()
                next_notice_s = 0.0
            while self._publisher.poll(0):
                message = self._publisher.recv()
                (self.subscribed.add if message[:1] == b"\x01" else self.subscribed.discard)(message[1:])
                next_notice_s = 0.0
            now_s = time.monotonic()
            if now_s >= next_notice_s:
                next_notice_s = now_s + 1.0
                self._notify()
            if now_s >= next_frame_s and self.state == "running" and not self.stalled.is_set():
                # On the mean at its rate, however late this thread was woken.
                next_frame_s = max(next_frame_s + 1 / self.frame_rate_hz, now_s)
                self.frame += 1
                self._publish()
                self.published.set()

    def _publish(self) -> None:
        now_ns = time.monotonic_ns()
        begun_ns = now_ns - 9_000_000
        times = Times(begun_ns - 1_000_000, begun_ns, begun_ns, now_ns, now_ns, UtcMapping(now_ns, time.time_ns()))
        for product, data, geometry in self.scene(self.frame, self.values):
            header = FrameHeader(
                product=product,
                frame=self.frame,
                session=self.session,
                revision=self.revision,
                probe=self.probe,
                shape=data.shape,
                dtype=data.dtype.name,
                geometry=geometry,
                times=times,
                losses=Losses(ring=2),
                settings=self.values,
                truth=self.truth,
            )
            # Raw frames as who asks for five a second gets them.
            topic = Topic(product, self.probe, "rate-5" if product == "rf" else "")
            self._publisher.send_multipart([topic.encode(), encode_header(header), data.tobytes()])

    def _notify(self) -> None:
        now_ns = time.monotonic_ns()
        notices: list[Notice] = [
            StateNotice(
                self.session,
                self.probe,
                self.state,
                reason=self.reason,
                driver="fake:",
                since_ns=now_ns,
                published_ns=now_ns,
                frame=self.frame,
                frame_rate_hz=self.frame_rate_hz,
                losses=Losses(ring=2),
            ),
            SettingsNotice(self.session, self.probe, self.revision, self.values, published_ns=now_ns),
        ]
        for notice in notices:
            self._publisher.send_multipart([Topic(product_of(notice), self.probe).encode(), encode_notice(notice), b""])

    def _answer(self) -> None:
        address, data = self._router.recv_multipart()
        request = decode_request(data)
        self.requests.append(request)
        if not self.mute.is_set():
            self._router.send_multipart([address, encode_reply(self._reply(request))])

    def _reply(self, request: Request) -> Reply:
        if request.command == "describe":
            probe = {"name": self.probe, "kind": "linear"}
            result = {"probe": probe, "revision": self.revision, "knobs": self.knobs, "session": self.session}
            return Reply(request.id, result | {"presets": PRESETS})
        if request.command == "preset":
            [changes] = [preset["settings"] for preset in PRESETS if preset["name"] == request.arguments["name"]]
            return self._set(Request(request.id, "set", {"changes": changes}))
        if request.command in ("freeze", "unfreeze"):
            self.state = "frozen" if request.command == "freeze" else "running"
            return Reply(request.id, {"state": self.state})
        if request.command == "set":
            return self._set(request)
        if request.command == "clip":
            return self._clip(request)
        if request.command == "switch":
            return Reply(request.id, {"from": "fake:", "to": request.arguments["driver"], "session": self.session})
        if request.command == "mark":
            return Reply(request.id, {"frame": self.frame, "monotonic_ns": time.monotonic_ns()})
        if request.command == "status":
            return Reply(request.id, {"clip": self.clip, **self.status})
        if request.command == "lease":
            return self._lease(request)
        return Reply(request.id, error=Problem("unknown_command", f"{request.command}: no such command"))

    def _clip(self, request: Request) -> Reply:
        if self.clip_refusal is not None:
            return Reply(request.id, error=self.clip_refusal)
        path = "/data/clip-1"
        self.clip = {"active": True, "path": path, "last": None}
        held = {"rf_held_s": 10.0, "image_held_s": 10.0}
        return Reply(request.id, {"path": path, "before_s": 10.0, "after_s": 2.0, **held})

    def _lease(self, request: Request) -> Reply:
        """As the daemon does, but that a lease lasts until it is released or taken over."""
        action = request.arguments["action"]
        if action == "release":
            self.holder = self.token = None
        elif action == "takeover" or (action == "acquire" and self.token is None):
            self.holder, self.token = request.arguments["holder"], f"token {request.id}"
        elif action == "acquire" and request.arguments.get("token") != self.token:
            line = f"{self.holder!r} holds the lease"
            return Reply(request.id, error=Problem("lease_held", line, (line,)))
        told = {"holder": self.holder, "expires_in_s": None if self.holder is None else 10.0, "required": False}
        return Reply(request.id, told | ({} if action in ("status", "release") else {"token": self.token}))

    def _set(self, request: Request) -> Reply:
        changes = request.arguments["changes"]
        if self.token is not None and request.arguments.get("lease") != self.token:
            line = f"{self.holder!r} holds the lease"
            return Reply(request.id, error=Problem("lease_held", line, (line,)))
        for name, value in changes.items():
            # The fake's own rule, for a refusal that no slider could foresee.
            if name == "angle_count" and value > 20:
                line = f"angle_count: must be in 1..20; got {value}"
                return Reply(request.id, error=Problem("refused", line, (line,)))
        self.change(changes)
        return Reply(request.id, {"revision": self.revision, "first_frame": self.frame + 1, "applied": changes})


def replace_value(described: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The knob with the value that `changes` may have for it."""
    return {**described, "value": changes.get(described["name"], described["value"])}


def linear_scene(frame: int, settings: Mapping[str, Any]) -> list[Product]:
    """Pixels twice as wide as high; wires every 10 mm at x = 0 and -10 mm, one at +15 mm, and one that moves."""
    spacing_z, spacing_x = 1e-4, 2e-4
    rows = round(settings["depth_m"] / spacing_z)
    geometry = ImageGeometry((rows, 192), (spacing_z, spacing_x), (-191 * spacing_x / 2, 0.0, spacing_z / 2))
    picture = speckle(rows, 192)
    wires = [(x, z / 1e3) for x in (0.0, -0.01) for z in range(10, 80, 10)]
    wires += [(0.015, 0.01), (0.01 * math.sin(frame / 10), 0.025)]
    draw(picture, geometry, wires)
    return [("bmode", picture, geometry)]


def sector_scene(frame: int, settings: Mapping[str, Any]) -> list[Product]:
    """A curvilinear probe of 60 mm radius and 60 degrees."""
    spacing, radius, half = 4e-4, 0.06, math.radians(30)
    deepest = radius + settings["depth_m"]
    top = radius * math.cos(half) - radius
    rows, columns = round((settings["depth_m"] - top) / spacing), 2 * round(deepest * math.sin(half) / spacing)
    apex = (0.0, 0.0, -radius)
    geometry = ImageGeometry(
        (rows, columns),
        (spacing, spacing),
        (-(columns - 1) * spacing / 2, 0.0, top + spacing / 2),
        Sector(apex, radius, deepest, -half, half),
    )
    picture = speckle(rows, columns)
    draw(picture, geometry, [(0.0, 0.02), (0.0, 0.04), (0.02 * math.sin(frame / 10), 0.03)], 1e-3)
    x = geometry.first_pixel_m[0] + np.arange(columns) * spacing
    z = geometry.first_pixel_m[2] + np.arange(rows)[:, None] * spacing + radius
    distance, angle = np.hypot(x, z), np.arctan2(x, z)
    picture[(distance < radius) | (distance > deepest) | (abs(angle) > half)] = 0
    return [("bmode", picture, geometry)]


def motion_scene(frame: int, settings: Mapping[str, Any]) -> list[Product]:
    """One line of sight: a wall at 20 mm, one that moves around 30 mm."""
    rows, columns, spacing = 400, 256, 1e-4
    times = frame - np.arange(columns)[::-1]
    depths = (np.arange(rows) * spacing)[:, None]
    moving = 0.03 + 0.004 * np.sin(times / 15)
    picture = (60 * np.exp(-(((depths - 0.02) / 4e-4) ** 2)) + 220 * np.exp(-(((depths - moving) / 3e-4) ** 2))).clip(0)
    depth = np.arange(rows * 4) * spacing / 4
    envelope = 0.02 + 8 * np.exp(-(((depth - 0.02) / 3e-4) ** 2)) + 90 * np.exp(-(((depth - moving[-1]) / 2e-4) ** 2))
    a_scan = np.uint8(20 * np.log10(envelope / envelope.max()).clip(-60, 0) * 4.25 + 255)[:, None]
    motion = MotionGeometry((rows, columns), spacing, 0.0, 0.05)
    lines = LinesGeometry((1, rows * 4), ((0.0, 0.0, 0.0),), ((0.0, 0.0, 1.0),), 0.0, spacing / 4)
    column = ImageGeometry((rows * 4, 1), (spacing / 4, spacing / 4), (0.0, 0.0, 0.0))
    return [
        ("bmode", a_scan, column),
        ("mmode", picture.astype(np.uint8), motion),
        ("lines", envelope.astype(np.float32)[None], lines),
    ]


def raw_scene(frame: int, settings: Mapping[str, Any]) -> list[Product]:
    """The linear probe's picture, and its raw frame: in channel c of transmission t a sine of 5 + c MHz and
    1000 (t + 1) counts, the last channel cut off at the limits of 12 bits."""
    transmits, channels, samples, sampling_hz = 2, 4, 2000, 40e6
    time_s = np.arange(samples) / sampling_hz
    rf = np.empty((transmits, channels, samples), np.int16)
    for transmit, channel in np.ndindex(transmits, channels):
        wave = 1000 * (transmit + 1) * np.sin(2 * np.pi * (5 + channel) * 1e6 * time_s)
        rf[transmit, channel] = np.clip(wave * (3 if channel == channels - 1 else 1), -2048, 2047).round()
    return [*linear_scene(frame, settings), ("rf", rf, raw_geometry(rf.shape, sampling_hz))]


def raw_geometry(shape: tuple[int, ...], sampling_hz: float, demodulation_hz: float = 0.0) -> ChannelGeometry:
    """Plane waves that begin with the record, an element for each channel."""
    transmits, channels = shape[:2]
    elements = tuple(range(channels))
    return ChannelGeometry(
        shape=(shape[0], shape[1], shape[2]),
        transmit_kind="plane",
        element_positions_m=tuple((3e-4 * element, 0.0, 0.0) for element in elements),
        transmit_elements=(elements,) * transmits,
        delays_s=((0.0,) * channels,) * transmits,
        origins_m=((0.0, 0.0, 0.0),) * transmits,
        angles_rad=tuple(0.1 * transmit for transmit in range(transmits)),
        receive_elements=(elements,) * transmits,
        t0_s=(0.0,) * transmits,
        sampling_hz=sampling_hz,
        demodulation_hz=demodulation_hz,
        sound_speed_m_s=1540.0,
        pulse_delay_s=0.0,
        sample_scale=1.0,
        sample_unit="counts",
    )


def speckle(rows: int, columns: int) -> NDArray[np.uint8]:
    """A dim background, the same each time."""
    return np.random.default_rng(1).integers(10, 70, (rows, columns)).astype(np.uint8)


def draw(
    picture: NDArray[np.uint8], geometry: ImageGeometry, points: list[tuple[float, float]], radius_m: float = 3e-4
) -> None:
    """White discs at (x, z)."""
    x = geometry.first_pixel_m[0] + np.arange(geometry.shape[1]) * geometry.spacing_m[1]
    z = geometry.first_pixel_m[2] + np.arange(geometry.shape[0]) * geometry.spacing_m[0]
    for at_x, at_z in points:
        picture[np.hypot(x - at_x, (z - at_z)[:, None]) < radius_m] = 255


def needle(tip: tuple[float, float, float], shaft: tuple[float, float, float]) -> Truth:
    """Ground truth with a needle of 0.7 mm."""
    return Truth(0.0, NeedleTruth(tip, shaft, 7e-4))

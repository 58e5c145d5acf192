"""What a client under test is shown, step by step, and what it must report of each step."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.client.wire.geometry import Geometry, ImageGeometry, LinesGeometry, Sector
from sonod.client.wire.header import FrameHeader, Losses, encode_header
from sonod.client.wire.notices import EventNotice, SettingsNotice, StateNotice, encode_notice, product_of
from sonod.client.wire.times import Times, UtcMapping
from sonod.client.wire.topic import Topic

PROBE, OTHER_PROBE = "conformance-linear", "conformance-curved"
DEPTH_M, NEW_DEPTH_M = 0.04, 0.03
Parts = tuple[bytes, bytes, bytes]


@dataclass(frozen=True)
class Step:
    """Messages to publish, and the report that is due for them; None = these must not be reported."""

    rule: str
    messages: tuple[Parts, ...]
    due: dict[str, Any] | None = None


@dataclass
class Show:
    """Makes the messages of one session; numbers run on."""

    session: str
    frame: int = 0
    losses: Losses = field(default_factory=Losses)
    revision: int = 1
    settings: dict[str, Any] = field(default_factory=lambda: {"depth_m": DEPTH_M, "gain_db": 0.0})
    started_ns: int = 1_000_000_000_000

    def header(self, product: str, pixels: NDArray[Any], geometry: Geometry, probe: str = PROBE) -> FrameHeader:
        """The header of the present frame."""
        now_ns = self.started_ns + self.frame * 33_000_000
        number = self.frame - self.losses.total
        return FrameHeader(
            product=product,
            frame=self.frame,
            session=self.session,
            revision=self.revision,
            probe=probe,
            shape=pixels.shape,
            dtype=pixels.dtype.name,
            geometry=geometry,
            times=Times(
                first_byte_ns=now_ns + 1_000_000,
                last_byte_ns=now_ns + 2_000_000,
                dequeued_ns=now_ns + 2_100_000,
                processed_ns=now_ns + 9_000_000,
                published_ns=now_ns + 9_100_000,
                utc=UtcMapping(self.started_ns, 1_800_000_000_000_000_000),
                transmit_ns=now_ns,
                transmit_uncertainty_ns=1000,
            ),
            losses=self.losses,
            settings=dict(self.settings),
            byte_order="big" if pixels.dtype.byteorder == ">" else "little",
            message=number,
        )


def script() -> Iterator[Step]:
    """Every step, in order; the client is subscribed to `bmode` and `envelope` of any probe."""
    show = Show("c0ffee00c0ffee00c0ffee00c0ffee01")
    yield _plain(show, "a B-mode frame is read: pixels, geometry, revision")
    yield _plain(show, "the next frame is read")
    yield _step(show, "keys that a later version adds are ignored, at every depth", change=_with_later_keys)
    yield Step("products, events and states that a later version adds are ignored", tuple(_later_messages(show)))
    yield _step(show, "optional keys may be missing", change=_without_optional_keys)
    yield _step(show, "optional keys may be null", change=_with_null_optional_keys)
    yield _plain(show, "pixels need not be square", spacing=(1e-4, 2.5e-4), shape=(40, 17))
    yield _plain(
        show,
        "a sector lies where its geometry says",
        spacing=(4e-4, 4e-4),
        shape=(60, 80),
        first=(-0.0158, 0.0, -0.008),
        sector=Sector((0.0, 0.0, -0.06), 0.06, 0.08, -0.5, 0.5),
    )
    yield _plain(show, "a picture of a megabyte is read", shape=(1024, 1024), spacing=(3e-5, 4e-5))
    yield _plain(show, "a single column is read", shape=(50, 1))
    yield _step(show, "floating point samples are read (envelope)", product="envelope", dtype="<f4")
    yield _step(show, "big-endian samples are read", product="envelope", dtype=">f4")
    yield _step(show, "an encoding that is not known is not used", change=_with_later_encoding, reported=False)
    yield _plain(show, "the frame after it is read")
    show.losses = Losses(device=1, ring=2, processing=1)
    show.frame += 4
    yield _plain(show, "a gap that the losses explain is not the client's own", missed=0)
    show.frame += 3
    yield _plain(show, "a gap that the losses do not explain is the client's own", missed=3)
    show.revision, show.settings["depth_m"] = 2, NEW_DEPTH_M
    yield Step(
        "a settings message disturbs nothing",
        (_notice(SettingsNotice(show.session, PROBE, 2, dict(show.settings), show.frame + 1, 1)),),
    )
    yield _plain(show, "a frame with a new revision and another depth is read", spacing=(7.5e-5, 2e-4), shape=(40, 20))
    show = Show("c0ffee00c0ffee00c0ffee00c0ffee02", started_ns=5_000_000_000)
    yield _plain(show, "a new session starts its numbers and its clock anew", missed=0)
    yield _plain(show, "a frame of another probe is read", probe=OTHER_PROBE)


def pixels_of(shape: tuple[int, ...], dtype: str, seed: int) -> NDArray[Any]:
    """Samples whose sum is exact in a double."""
    values = np.random.default_rng(seed).integers(0, 256, shape)
    return values.astype(dtype)


def _plain(show: Show, rule: str, **more: Any) -> Step:
    return _step(show, rule, **more)


def _step(
    show: Show,
    rule: str,
    *,
    product: str = "bmode",
    dtype: str = "u1",
    shape: tuple[int, int] = (40, 20),
    spacing: tuple[float, float] = (1e-4, 2e-4),
    first: tuple[float, float, float] = (-0.0019, 0.0, 5e-5),
    sector: Sector | None = None,
    probe: str = PROBE,
    change: Any = None,
    reported: bool = True,
    missed: int | None = None,
) -> Step:
    show.frame += 1
    geometry = ImageGeometry(shape, spacing, first, sector, sound_speed_m_s=1540.0, transducer="sha256:" + "0" * 32)
    pixels = pixels_of(shape, dtype, show.frame)
    header = encode_header(show.header(product, pixels, geometry, probe))
    if change is not None:
        header = json.dumps(change(json.loads(header))).encode()
    message = (Topic(product, probe).encode(), header, pixels.tobytes())
    x, _, z = geometry.point_m(shape[0] - 1, shape[1] - 1)
    due = {
        "product": product,
        "frame": show.frame,
        "revision": show.revision,
        "shape": list(shape),
        "sum": float(pixels.astype(np.float64).sum()),
        "last_pixel_m": [x, z],
    }
    if missed is not None:
        due["missed"] = missed
    return Step(rule, (message,), due if reported else None)


def _with_later_keys(values: dict[str, Any]) -> dict[str, Any]:
    later = {"anything": [1, {"geometry": "}{"}], "text": 'with "quotes", \\ and {braces]', "none": None}
    for inner in ("times", "losses", "geometry", "acoustic"):
        values[inner] = {"later_first": later, **values[inner], "later": later}
    return {"later_first": later, **values, "later": later}


def _without_optional_keys(values: dict[str, Any]) -> dict[str, Any]:
    for key in ("losses", "settings", "acoustic", "truth", "byte_order", "encoding", "message", "repeated"):
        values.pop(key, None)
    return values


def _with_null_optional_keys(values: dict[str, Any]) -> dict[str, Any]:
    optional = ("losses", "settings", "acoustic", "truth", "byte_order", "encoding")
    values["times"] |= {"transmit_ns": None, "transmit_uncertainty_ns": None}
    return values | dict.fromkeys(optional)


def _with_later_encoding(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"encoding": "later"}


def _later_messages(show: Show) -> Iterator[Parts]:
    lines = LinesGeometry((1, 4), ((0.0, 0.0, 0.0),), ((0.0, 0.0, 1.0),), 0.0, 1e-4)
    pixels = np.zeros((1, 4), np.float32)
    values = json.loads(encode_header(show.header("lines", pixels, lines)))
    yield Topic("later", PROBE).encode(), json.dumps({**values, "product": "later"}).encode(), b"later"
    yield _notice(StateNotice(show.session, PROBE, "a_later_state", reason="why not"))
    yield _notice(EventNotice(show.session, PROBE, "a_later_event", facts={"deep": {"er": [math.pi]}}))


def _notice(notice: SettingsNotice | StateNotice | EventNotice) -> Parts:
    return Topic(product_of(notice), PROBE).encode(), encode_notice(notice), b""

"""A driver for tests of the daemon: small finished pictures at once, and every fault on request."""

from __future__ import annotations

import queue
from collections.abc import Mapping

import numpy as np

from sonod.drivers.base import Driver, Uri
from sonod.drivers.errors import DriverTimeout
from sonod.drivers.frame import Acquisition, Configuration, DataKind, PixelGrid, SampleFormat, Slot
from sonod.drivers.probe import Probe
from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind
from sonod.drivers.settings import KNOBS, Knob, Settings

ROWS, COLUMNS = 6, 4


class PictureDriver(Driver):
    """Delivers a picture for each token that the test puts into `tokens`; an exception as token is raised instead.

    The rows of the picture grow with depth_m (6 at the default of 50 mm), its pixels hold the frame number.
    """

    summary = "small pictures for tests"
    uri_form = "picture:"
    needs = "nothing"

    def __init__(self, uri: Uri | str = "picture:") -> None:
        super().__init__(uri)
        self.uri.reject_unknown(())
        self.tokens: queue.Queue[Exception | None] = queue.Queue()
        self.open_errors: list[Exception] = []
        self.apply_errors: list[Exception] = []
        self.columns = COLUMNS
        self.deepest_m = 0.1
        self.opens = 0
        self.transmitting = False

    @property
    def probe(self) -> Probe:
        return Probe.linear("Test Picture", 2, 1e-3, 5e6)

    def deliver(self, count: int = 1) -> None:
        for _ in range(count):
            self.tokens.put(None)

    def _open(self) -> None:
        self.opens += 1
        if self.open_errors:
            raise self.open_errors.pop(0)

    def _close(self) -> None:
        self.transmitting = False

    def _knobs(self) -> Mapping[str, Knob]:
        names = ("gain_db", "tgc_db", "grey_map", "output_level", "frame_rate_hz")
        return {
            "depth_m": KNOBS["depth_m"].on_device(minimum=0.02, maximum=self.deepest_m, default=0.05),
            **{name: KNOBS[name].on_device() for name in names},
        }

    def _prepare(self, settings: Settings) -> Configuration:
        rows = round(settings.depth_m / 0.05 * ROWS)
        event = TransmitEvent(TransmitKind.PLANE, np.zeros(2), np.zeros(3), np.arange(2, dtype=np.int32))
        acquisition = Acquisition(
            probe=self.probe,
            sequence=Sequence((event,)),
            kind=DataKind.IMAGE,
            sample_format=SampleFormat.LOG8,
            shape=(rows, self.columns),
            dtype=np.dtype(np.uint8),
            sampling_hz=20e6,
            sound_speed_m_s=1540.0,
            image=PixelGrid(rows, self.columns, -1.5e-3, 0.0, 1e-3, 1e-3),
        )
        return Configuration(settings, acquisition)

    def _apply(self, configuration: Configuration) -> None:
        if self.apply_errors:
            raise self.apply_errors.pop(0)

    def _start(self) -> None:
        self.transmitting = True

    def _stop(self) -> None:
        self.transmitting = False

    def _read_into(self, slot: Slot, timeout_s: float) -> None:
        try:
            token = self.tokens.get(timeout=timeout_s)
        except queue.Empty:
            raise DriverTimeout(f"{self.uri.text}: no picture within {timeout_s:g} s") from None
        if token is not None:
            raise token
        slot.data[:] = (self._number + 1) % 256

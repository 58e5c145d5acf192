"""A device with registers that keeps a log of its own: which registers held when it made each frame."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from picture_driver import PictureDriver

from sonod.drivers.base import Uri
from sonod.drivers.frame import Configuration, Slot
from sonod.drivers.settings import Settings, Value

FRAME_PERIOD_S = 0.004
# What a pixel can hold of a count of changes.
CODES = 251


@dataclass(frozen=True)
class Logged:
    """The registers that held while one frame was made, and the code that its pixels carry."""

    registers: Mapping[str, Value]
    code: int


class LoggedDriver(PictureDriver):
    """Free-running; registers are written one by one, and every row of a frame shows how often they had been written
    when the row was made. `log` has an entry for each frame number, made of registers alone."""

    uri_form = "logged:"

    def __init__(self, uri: Uri | str = "logged:") -> None:
        super().__init__(uri)
        self.log: dict[int, Logged] = {}
        self._registers: dict[str, Value] = {}
        self._writes = 0
        self._pause = threading.Event()

    def _prepare(self, settings: Settings) -> Configuration:
        made = super()._prepare(settings)
        return replace(made, detail=tuple((name, settings.value(name)) for name in self._knobs()))

    def _apply(self, configuration: Configuration) -> None:
        assert isinstance(configuration.detail, tuple)
        for name, value in configuration.detail:
            self._registers[name] = value
            self._writes += 1

    def _read_into(self, slot: Slot, timeout_s: float) -> None:
        for row in range(slot.data.shape[0]):
            slot.data[row] = self._writes % CODES
        self.log[self._number + 1] = Logged(dict(self._registers), self._writes % CODES)
        self._pause.wait(FRAME_PERIOD_S)

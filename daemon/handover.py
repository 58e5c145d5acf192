"""A prepared configuration on its way to the thread that reads the device."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

from sonod.drivers.errors import DriverError
from sonod.drivers.frame import Configuration


class DeviceAway(DriverError):
    """No device is open that could take a configuration."""


@dataclass(eq=False)
class Handover:
    """`applied` is done when the device has taken the configuration, or carries why it did not; `flowing` then tells
    whether frames were coming. `first_frame` is done when the first frame made with it has been read, with its number,
    or with None when another configuration came before one."""

    configuration: Configuration
    flowing: bool = False
    applied: Future[None] = field(default_factory=Future)
    first_frame: Future[int | None] = field(default_factory=Future)

    def fail(self, error: Exception) -> None:
        """The device did not take it."""
        if not self.applied.done():
            self.applied.set_exception(error)
        if not self.first_frame.done():
            self.first_frame.set_result(None)

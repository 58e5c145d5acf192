"""What drivers of boards with a USB serial port have in common: finding the port, or an emulated board behind it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sonod.drivers.base import Driver, Uri
from sonod.drivers.errors import DeviceNotFound, DriverError
from sonod.drivers.options import choice_option
from sonod.drivers.pacing import Clock, MonotonicClock
from sonod.drivers.probe import Probe
from sonod.drivers.probe_file import ProbeFile, load_board
from sonod.drivers.settings import KNOBS, Knob
from sonod.drivers.transports.byte_port import BytePort, Identity
from sonod.drivers.transports.cdc_acm import open_cdc_acm
from sonod.drivers.transports.tty import TtyPort

if TYPE_CHECKING:
    from sonod.drivers.emulated.device import EmulatedDevice

# Options of every such driver.
COMMON_OPTIONS = ("probe", "emulated")
EMULATED = "emulated "


class SerialBoard(Driver):
    """A board behind a byte port.

    `rest` of the URI is a serial number ('' = the first board) or the path of a device file. With `emulated=1` the
    board is a model in this process; it stays the same from one `open` to the next, as a real one would.
    """

    baud = 115200
    opens_harmlessly = True

    def __init__(self, uri: Uri | str, clock: Clock | None = None, backend: Any = None) -> None:
        super().__init__(uri)
        self._clock: Clock = clock or MonotonicClock()
        self._backend = backend
        self.emulated = choice_option(self.uri, "emulated", "0", ("0", "1")) == "1"
        self.board: EmulatedDevice | None = None
        self._port: BytePort | None = None
        self._file: ProbeFile | None = None

    # -- what a board implements -------------------------------------------------------------------------------------

    @abstractmethod
    def _make_emulated(self) -> EmulatedDevice:
        """The model behind `emulated=1`."""

    @abstractmethod
    def _identify(self, port: BytePort) -> None:
        """Make sure by harmless requests that this is the board; leave it quiet. Raises DriverError when it is not."""

    # -- for the board -------------------------------------------------------------------------------------------------

    @property
    def serial(self) -> str:
        return self._port.identity.serial if self._port is not None else ""

    @property
    def firmware(self) -> str:
        """What runs on the board, or '' when it does not say."""
        return ""

    @property
    def probe(self) -> Probe:
        return self._opened.probe

    @property
    def port(self) -> BytePort:
        """The open port; DriverError when the driver is closed."""
        if self._port is None:
            raise DriverError(f"{self.uri.text}: must be open, is {self.state}")
        return self._port

    @property
    def _opened(self) -> ProbeFile:
        if self._file is None:
            raise DriverError(f"{self.uri.text}: must be open, is {self.state}")
        return self._file

    def _open_board(
        self,
        file: str,
        usb_ids: Iterable[tuple[int, int]],
        wanted: str,
        is_ours: Callable[[Identity], bool] = lambda identity: True,
    ) -> None:
        """Read the probe's file (`file` unless the URI names another), open the port and identify the board."""
        said = load_board(self.uri.options.get("probe", file))
        self._file = _renamed(said) if self.emulated else said
        self._port = self._open_port(usb_ids, wanted, is_ours)
        try:
            self._identify(self._port)
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        port, self._port = self._port, None
        self._file = None
        if port is not None:
            port.close()

    def _open_port(
        self, usb_ids: Iterable[tuple[int, int]], wanted: str, is_ours: Callable[[Identity], bool]
    ) -> BytePort:
        rest = self.uri.rest
        if rest.startswith("/"):
            if self.emulated:
                raise DeviceNotFound(f"driver URI {self.uri.text!r}: emulated=1 and a device file exclude each other")
            return TtyPort(rest, self.baud, self._clock)
        backend = self._backend
        if self.emulated and backend is None:
            # Only those who ask for an emulated board pay for its import.
            from sonod.drivers.emulated.memory import Bus, MemoryBackend

            bus = Bus()
            self.board = self._make_emulated()
            bus.attach(self.board)
            backend = self._backend = MemoryBackend(bus)
        return open_cdc_acm(
            usb_ids,
            wanted=wanted,
            serial=rest,
            is_ours=is_ours,
            baud=self.baud,
            backend=backend,
            clock=self._clock,
        )


def device_knob(file: ProbeFile, name: str, minimum: float, maximum: float, **changes: Any) -> Knob:
    """The knob as the probe's file has it, within what the board can do, applied by the board."""
    knob = file.ranges.get(name) or KNOBS[name].narrowed(
        minimum=minimum, maximum=maximum, default=_within(KNOBS[name].default, minimum, maximum)
    )
    low, high = max(knob.minimum, minimum), min(knob.maximum, maximum)
    if low > high:
        low, high = minimum, maximum
    return knob.on_device(minimum=low, maximum=high, default=_within(knob.default, low, high), **changes)


def _within(value: object, low: float, high: float) -> float:
    assert isinstance(value, int | float)
    return min(max(float(value), low), high)


def _renamed(file: ProbeFile) -> ProbeFile:
    """The same file for a probe whose name says that it is emulated."""
    return replace(file, probe=replace(file.probe, name=EMULATED + file.probe.name))

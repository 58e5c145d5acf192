"""The contract between a probe and the daemon.

A driver does three things, kept apart: configure (what to fire and receive), run (start, stop), data (`read_into`).

    driver = SomeDriver("name:rest?key=value")
    driver.open()                          find and identify the device; knobs() and probe are known from here on
    configuration = driver.prepare(settings)   slow, any thread, touches no device: check, compute tables
    driver.apply(configuration)            fast, on the reader's thread, between frames, also while running
    driver.start()
    driver.read_into(slot, timeout_s)      again and again, one thread, allocates nothing
    driver.stop(); driver.close()

A driver must implement `_open`, `_close`, `_knobs`, `_prepare`, `_apply`, `_start`, `_stop` and `_read_into`;
the base class owns the state checks, the frame numbers and the counters. It may implement `_settling_frames` and
`link_counters`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import parse_qsl

from sonod.drivers.errors import DeviceNotFound, Disconnected, DriverError, DriverTimeout, SettingsRefused
from sonod.drivers.frame import Configuration, Slot
from sonod.drivers.link_counters import LinkCounters
from sonod.drivers.probe import Probe
from sonod.drivers.settings import AppliedBy, Knob, Settings


class DriverState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    RUNNING = "running"


@dataclass(frozen=True)
class Uri:
    """`name:rest?key=value&key=value`; `rest` may hold any character but `?`."""

    name: str
    rest: str
    options: Mapping[str, str]
    text: str

    @classmethod
    def parse(cls, text: str) -> Uri:
        """DeviceNotFound when the text is not of this form."""
        name, colon, remainder = text.partition(":")
        if not colon or not name.replace("-", "").replace("_", "").isalnum():
            raise DeviceNotFound(
                f"driver URI {text!r}: must be NAME:REST, for example sim: or replay:FILE; see `sonod drivers`"
            )
        rest, _, query = remainder.partition("?")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError as error:
            raise DeviceNotFound(f"driver URI {text!r}: options must be key=value&key=value ({error})") from error
        return cls(name, rest, dict(pairs), text)

    def reject_unknown(self, allowed: tuple[str, ...]) -> None:
        """DeviceNotFound naming every option that is not in `allowed`."""
        unknown = sorted(set(self.options) - set(allowed))
        if unknown:
            known = ", ".join(allowed) or "none"
            raise DeviceNotFound(
                f"driver URI {self.text!r}: unknown option {', '.join(unknown)}; {self.name}: takes {known}"
            )


@dataclass(frozen=True)
class DriverCounters:
    """What happened since open. `frames` were delivered; `lost` were lost by the device or its transport."""

    frames: int = 0
    bytes: int = 0
    lost: int = 0
    timeouts: int = 0
    errors: int = 0


class Driver(ABC):
    """One probe. Every method may raise DriverError."""

    # One line each for `sonod drivers`.
    summary: str = ""
    uri_form: str = ""
    needs: str = ""
    # (vendor, product) pairs of USB devices that may be this driver's; empty for drivers without USB.
    usb_ids: tuple[tuple[int, int], ...] = ()
    # Whether opening a device with these ids does no harm even when it is another one that shares them; then
    # `sonod devices` opens it to learn who it is.
    opens_harmlessly: bool = False

    def __init__(self, uri: Uri | str) -> None:
        self.uri = Uri.parse(uri) if isinstance(uri, str) else uri
        self._state = DriverState.CLOSED
        self._configuration: Configuration | None = None
        self._counters = DriverCounters()
        self._number = 0
        self._settling_left = 0

    # -- identity ------------------------------------------------------------------------------------------------

    @property
    def state(self) -> DriverState:
        return self._state

    @property
    def counters(self) -> DriverCounters:
        return self._counters

    @property
    def configuration(self) -> Configuration | None:
        """What the next frame will be made with; None before the first `apply`."""
        return self._configuration

    @property
    def serial(self) -> str:
        """The device's serial number, or '' when it has none."""
        return ""

    @property
    def firmware(self) -> str:
        """What runs on the device, or '' when it does not say."""
        return ""

    @property
    def temperature_c(self) -> float | None:
        """The board's temperature, or None when it does not report one; any thread may ask."""
        return None

    @property
    def link_counters(self) -> LinkCounters:
        """What went wrong between driver and device since `open`: zeros where a driver has no such link; any thread."""
        return LinkCounters()

    @property
    @abstractmethod
    def probe(self) -> Probe:
        """The probe as the defaults see it; known after `open`."""

    def knobs(self) -> Mapping[str, Knob]:
        """The settings this driver supports, with its own ranges; only after `open`."""
        self._require(DriverState.OPEN, DriverState.RUNNING)
        return self._knobs()

    # -- life ----------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Find and identify the device. When it raises, nothing stays open."""
        self._require(DriverState.CLOSED)
        self._counters = DriverCounters()
        self._configuration = None
        self._settling_left = 0
        self._open()
        self._state = DriverState.OPEN

    def close(self) -> None:
        """Stop if running, and let go of the device; transmit is off afterwards. Twice is allowed."""
        if self._state is DriverState.CLOSED:
            return
        try:
            if self._state is DriverState.RUNNING:
                self._stop()
        except DriverError:
            self._counters = replace(self._counters, errors=self._counters.errors + 1)
        finally:
            self._state = DriverState.CLOSED
            self._close()

    def prepare(self, settings: Settings) -> Configuration:
        """What the driver would deliver under `settings`; touches no device. SettingsRefused lists every problem."""
        self._require(DriverState.OPEN, DriverState.RUNNING)
        knobs = self._knobs()
        problems = []
        for name, knob in knobs.items():
            try:
                knob.accept(settings.value(name))
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise SettingsRefused(problems)
        applied = frozenset(name for name, knob in knobs.items() if knob.applied_by is AppliedBy.DEVICE)
        return replace(self._prepare(settings), applied=applied)

    def apply(self, configuration: Configuration) -> None:
        """Use `configuration` from the next frame on. When it raises, the previous one stays in force."""
        self._require(DriverState.OPEN, DriverState.RUNNING)
        self._apply(configuration)
        settling = self._settling_frames(self._configuration, configuration)
        self._settling_left = max(self._settling_left, settling)
        self._configuration = configuration

    def start(self) -> None:
        """Begin to fire and receive; needs a configuration."""
        self._require(DriverState.OPEN)
        if self._configuration is None:
            raise DriverError(f"{self.uri.text}: apply a configuration before start")
        self._start()
        self._state = DriverState.RUNNING

    def stop(self) -> None:
        """Stop firing; frames not yet read are gone. Twice is allowed."""
        self._require(DriverState.OPEN, DriverState.RUNNING)
        if self._state is DriverState.RUNNING:
            self._state = DriverState.OPEN
            self._stop()

    # -- data ----------------------------------------------------------------------------------------------------

    def read_into(self, slot: Slot, timeout_s: float) -> None:
        """Fill `slot` with the next raw frame.

        Blocks at most `timeout_s`, then DriverTimeout. Before start and after stop: DriverError. On unplug:
        Disconnected, and every later call too until `close`. At the end of a recording: EndOfRecording.
        """
        if self._state is not DriverState.RUNNING or self._configuration is None:
            raise DriverError(f"{self.uri.text}: read before start")
        slot.prepare(self._configuration)
        slot.truth = None
        slot.lost = 0
        slot.device_ticks = -1
        slot.device_clock = None
        slot.transmit_ns = 0
        slot.transmit_uncertainty_ns = -1
        slot.first_byte_ns = 0
        counters = self._counters
        try:
            self._read_into(slot, timeout_s)
        except DriverTimeout:
            self._counters = replace(counters, timeouts=counters.timeouts + 1)
            raise
        except Disconnected:
            self._counters = replace(counters, errors=counters.errors + 1)
            raise
        slot.last_byte_ns = slot.last_byte_ns if slot.last_byte_ns > slot.first_byte_ns > 0 else time.monotonic_ns()
        slot.first_byte_ns = slot.first_byte_ns or slot.last_byte_ns
        self._number += 1 + slot.lost
        slot.number = self._number
        slot.settling = self._settling_left > slot.lost
        self._settling_left = max(0, self._settling_left - slot.lost - 1)
        self._counters = replace(
            counters,
            frames=counters.frames + 1,
            bytes=counters.bytes + slot.data.nbytes,
            lost=counters.lost + slot.lost,
        )

    # -- what a driver implements ----------------------------------------------------------------------------------

    @abstractmethod
    def _open(self) -> None:
        """Find and identify the device; leave nothing open when it raises."""

    @abstractmethod
    def _close(self) -> None:
        """Let go of the device; must not raise."""

    @abstractmethod
    def _knobs(self) -> Mapping[str, Knob]:
        """The supported settings with the driver's own ranges."""

    @abstractmethod
    def _prepare(self, settings: Settings) -> Configuration:
        """Compute everything that `apply` needs; touch no device; may take long; may run beside `_read_into`."""

    @abstractmethod
    def _apply(self, configuration: Configuration) -> None:
        """Hand the prepared configuration to the device; short."""

    @abstractmethod
    def _start(self) -> None:
        """Arm and fire."""

    @abstractmethod
    def _stop(self) -> None:
        """Stop firing."""

    @abstractmethod
    def _read_into(self, slot: Slot, timeout_s: float) -> None:
        """Fill `slot.data`; set times, truth and losses on the slot."""

    # -- what a driver may implement ---------------------------------------------------------------------------------

    def _settling_frames(self, before: Configuration | None, after: Configuration) -> int:
        """How many frames after `apply` the device still needs to come to rest, such as a high-voltage supply that
        moves; they are delivered, and flagged. `before` is None for the first configuration."""
        return 0

    def _require(self, *states: DriverState) -> None:
        if self._state not in states:
            raise DriverError(f"{self.uri.text}: must be {' or '.join(states)}, is {self._state}")

"""The thread that owns the device: opens it, reads it into the ring, and brings it back when it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum

import structlog

from sonod.daemon.errors import ConfigError
from sonod.daemon.handover import DeviceAway, Handover
from sonod.daemon.log import say_always
from sonod.daemon.rate import FrameRate
from sonod.daemon.ring import SlotRing
from sonod.daemon.state import State, StateKeeper
from sonod.drivers.base import Driver, DriverState
from sonod.drivers.errors import (
    AccessDenied,
    DeviceNotFound,
    Disconnected,
    DriverError,
    DriverTimeout,
    EndOfRecording,
    RecordingError,
)
from sonod.drivers.frame import Configuration, Slot

# How often a thread that waits shows that it is alive.
LONGEST_WAIT_S = 1.0


class Wish(StrEnum):
    """What the users want of the device; the state is what came of it."""

    RUN = "run"
    FREEZE = "freeze"
    STOP = "stop"


@dataclass(frozen=True)
class Patience:
    """How long to wait: for one frame, for any frame before the device counts as stalled (0 = for ever), and between
    attempts to open a lost device, the pause doubling from the first to the longest. A USB device that is not there, or
    may not be opened yet, is tried again after `absent_s` at the latest: looking costs next to nothing, and once
    plugged in again it is soon used.
    """

    read_timeout_s: float = 0.5
    stall_s: float = 30.0
    retry_first_s: float = 0.5
    retry_longest_s: float = 10.0
    absent_s: float = 0.5


class Reader:
    """Runs the device on its own thread from `start` to `leave`.

    `configure` gives the configuration for a device just opened to the function that comes with it; it is called on
    this thread while no frames flow. `tap` sees every raw frame on this thread and must be short. `begin` is called
    once as the thread begins, `alive` at every turn of its loop, at least once a second while it waits. A device that
    fails is closed and opened again with
    growing pauses; nothing that a driver raises ends the thread. `opened` is done after the first attempt to open, and
    carries a ConfigError when trying again would be of no use.
    """

    def __init__(
        self,
        driver: Driver,
        ring: SlotRing,
        states: StateKeeper,
        configure: Callable[[Driver, Callable[[Configuration], Future[int | None]]], None],
        *,
        patience: Patience = Patience(),
        tap: Callable[[Slot], None] | None = None,
        alive: Callable[[], None] = lambda: None,
        begin: Callable[[], None] = lambda: None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.opened: Future[None] = Future()
        self.rate = FrameRate()
        self.frame = 0
        self.recoveries = 0
        self._driver = driver
        self._ring = ring
        self._states = states
        self._configure = configure
        self._patience = patience
        self._tap = tap
        self._alive = alive
        self._begin = begin
        self._monotonic_ns = monotonic_ns
        self._log = structlog.get_logger()
        self._changed = threading.Condition()
        self._woken = False
        self._leaving = False
        self._wish = Wish.RUN
        self._ended = False
        # An open device takes offers only after its first configuration, which the planner makes on this thread.
        self._configured = False
        self._askers: list[tuple[Wish, Future[State]]] = []
        self._pending: Handover | None = None
        self._expected: Handover | None = None
        self._pause_s = patience.retry_first_s
        self._last_frame_ns = 0
        self._thread = threading.Thread(target=self._run, name="sonod-reader")

    # -- any thread ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    @property
    def last_frame_ns(self) -> int:
        """When the newest frame came, or the device was started."""
        return self._last_frame_ns

    def leave(self, timeout_s: float) -> bool:
        """Stop transmitting, release the device and end the thread; False when that took longer than allowed."""
        with self._changed:
            self._leaving = True
            self._wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def ask(self, wish: Wish) -> Future[State]:
        """The future gives the state that came of it; that is `recovering` when the device is away."""
        future: Future[State] = Future()
        with self._changed:
            self._wish = wish
            if wish is Wish.RUN:
                self._ended = False
            self._askers.append((wish, future))
            self._wake()
        return future

    def offer(self, configuration: Configuration) -> Handover:
        """Use the configuration from the next frame on; DeviceAway when no device is open."""
        handover = Handover(configuration)
        with self._changed:
            if not self._configured or self._leaving:
                raise DeviceAway(f"{self._driver.uri.text}: not open (state {self._states.state})")
            if self._pending is not None:
                self._pending.fail(DriverError("replaced by newer settings"))
            self._pending = handover
            self._wake()
        return handover

    @property
    def configured(self) -> bool:
        """Whether a device is open that takes offers."""
        return self._configured and not self._leaving

    def _wake(self) -> None:
        self._woken = True
        self._changed.notify_all()

    # -- the reader's thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._begin()
        while not self._leaving:
            self._alive()
            try:
                self._step()
            except EndOfRecording:
                self._release()
                self._ended = True
                self._states.enter(State.ENDED, "the recording has been played; `start` plays it again")
                self._log.info("recording_ended", frame=self.frame)
            except Exception as error:  # noqa: BLE001  a driver's bug must not end acquisition for good
                self._lost(error)
        self._release()
        self._states.enter(State.LEAVING)
        self._settle()
        if not self.opened.done():
            self.opened.set_result(None)

    def _step(self) -> None:
        """One thing: whatever stands between the present state and the wish, or one frame."""
        driver = self._driver
        if self._wish is Wish.STOP:
            self._release()
            if self._states.state is not State.STOPPED:
                self._states.enter(State.STOPPED, "stopped on request; `start` opens the device again")
            self._settle(Wish.STOP)
            self._wait(None)
        elif self._ended:
            self._settle()
            self._wait(None)
        elif driver.state is DriverState.CLOSED:
            self._open()
        elif self._wish is Wish.FREEZE:
            driver.stop()
            self._states.enter(State.FROZEN, "frozen on request; the probe does not transmit")
            self._apply_pending()
            self._settle(Wish.FREEZE)
            self._wait(None)
        elif driver.state is DriverState.OPEN:
            self._apply_pending()
            driver.start()
            self._last_frame_ns = self._monotonic_ns()
            self._states.enter(State.RUNNING)
            self._settle(Wish.RUN)
        else:
            self._read()

    def _read(self) -> None:
        if self._pending is not None:
            self._apply_pending()
        if self._askers:
            self._settle(Wish.RUN)
        place = self._ring.free()
        try:
            self._driver.read_into(place.slot, self._patience.read_timeout_s)
        except DriverTimeout as error:
            self._ring.give_back(place)
            self._check_stall(error)
            return
        except BaseException:
            self._ring.give_back(place)
            raise
        slot = place.slot
        self.frame = slot.number
        self._last_frame_ns = slot.last_byte_ns
        self._pause_s = self._patience.retry_first_s
        self.rate.add(slot.last_byte_ns)
        if self._expected is not None and slot.configuration is self._expected.configuration:
            self._expected.first_frame.set_result(slot.number)
            self._expected = None
        if self._tap is not None:
            self._tap(slot)
        self._ring.put(place)

    def _check_stall(self, error: DriverTimeout) -> None:
        silent_s = (self._monotonic_ns() - self._last_frame_ns) / 1e9
        if 0 < self._patience.stall_s < silent_s:
            raise DriverError(f"no frame for {silent_s:.0f} s; the device is opened again") from error

    def _open(self) -> None:
        first = not self.opened.done()
        if self._states.state in (State.STOPPED, State.ENDED):
            self._states.enter(State.STARTING)
        try:
            self._driver.open()
            say_always(serial=self._driver.serial)
            self._alive()
            self._configure(self._driver, self._take)
        except (ConfigError, RecordingError, DeviceNotFound) as error:
            # What needs no device to be plugged in will not turn up by waiting.
            if first and not (isinstance(error, DeviceNotFound) and self._driver.usb_ids):
                self._driver.close()
                self._leaving = True
                self.opened.set_exception(error if isinstance(error, ConfigError) else ConfigError([str(error)]))
                return
            raise
        self._log.info("device_opened", probe=self._driver.probe.name, serial=self._driver.serial)
        if first:
            self.opened.set_result(None)

    def _take(self, configuration: Configuration) -> Future[int | None]:
        """The first configuration of a device just opened; from here on it takes offers."""
        self._driver.apply(configuration)
        self._configured = True
        self._expected = Handover(configuration)
        self._expected.applied.set_result(None)
        return self._expected.first_frame

    def _apply_pending(self) -> None:
        with self._changed:
            handover, self._pending = self._pending, None
        if handover is None or not handover.applied.set_running_or_notify_cancel():
            return
        try:
            self._driver.apply(handover.configuration)
        except DriverError as error:
            # Its traceback holds this frame and the handover, which would stay until the garbage collector runs.
            handover.fail(error.with_traceback(None))
            return
        if self._expected is not None:
            self._expected.first_frame.set_result(None)
        self._expected = handover
        handover.flowing = self._driver.state is DriverState.RUNNING
        handover.applied.set_result(None)

    def _lost(self, error: Exception) -> None:
        """Close what failed, say so, and wait a little before the next attempt."""
        self.recoveries += 1
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, self._patience.retry_longest_s)
        if self._driver.usb_ids and isinstance(error, DeviceNotFound | AccessDenied | Disconnected):
            pause_s = self._pause_s = min(pause_s, self._patience.absent_s)
        self._release()
        reason = str(error) if isinstance(error, DriverError | ConfigError) else f"{type(error).__name__}: {error}"
        # Said once for each reason, not at every look.
        level = "debug" if self._states.situation.reason == reason else "warning"
        self._states.enter(State.RECOVERING, reason)
        getattr(self._log, level)(
            "device_lost",
            reason=reason,
            retry_s=pause_s,
            exc_info=None if isinstance(error, DriverError | ConfigError) else error,
        )
        if not self.opened.done():
            self.opened.set_result(None)
        deadline_ns = self._monotonic_ns() + int(pause_s * 1e9)
        while not self._leaving and self._wish is not Wish.STOP:
            self._settle()
            remaining_s = (deadline_ns - self._monotonic_ns()) / 1e9
            if remaining_s <= 0:
                return
            self._wait(remaining_s)

    def _release(self) -> None:
        """Close the device; whoever waits for a configuration to be applied learns that it was not."""
        self._configured = False
        try:
            self._driver.close()
        except Exception as error:  # noqa: BLE001  a driver's bug must not end acquisition for good
            self._log.error("close_failed", reason=str(error), exc_info=error)
        with self._changed:
            handovers = [handover for handover in (self._pending, self._expected) if handover is not None]
            self._pending = self._expected = None
        for handover in handovers:
            handover.fail(DeviceAway(f"{self._driver.uri.text}: the device was closed before it took the settings"))

    def _settle(self, fulfilled: Wish | None = None) -> None:
        """Answer everybody who asked for a state, but not those who asked for another while `fulfilled` came about."""
        with self._changed:
            later = self._wish if fulfilled is not None and self._wish is not fulfilled else None
            answered = [future for wish, future in self._askers if wish is not later]
            self._askers = [(wish, future) for wish, future in self._askers if wish is later]
        for asker in answered:
            asker.set_result(self._states.state)

    def _wait(self, timeout_s: float | None) -> None:
        """Until woken, or for so long; a thread that waits is alive and says so."""
        deadline_ns = None if timeout_s is None else self._monotonic_ns() + int(timeout_s * 1e9)
        while True:
            left_s = LONGEST_WAIT_S if deadline_ns is None else (deadline_ns - self._monotonic_ns()) / 1e9
            with self._changed:
                woken = self._changed.wait_for(lambda: self._woken or self._leaving, min(left_s, LONGEST_WAIT_S))
                if woken or (left_s <= LONGEST_WAIT_S and deadline_ns is not None):
                    self._woken = False
                    return
            self._alive()

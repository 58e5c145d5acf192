"""What every driver promises, as tests that any driver can run with pytest.

    from sonod.drivers.conformance import DriverConformance

    class TestMyDriver(DriverConformance):
        def make_driver(self) -> Driver:
            return MyDriver("mine:")

Faults are asked for through `unplug` and `silence`; a driver whose device cannot be made to fail on request leaves
them alone, and those tests are skipped by name. pytest is not imported, so that shipping this costs nothing.
"""

from __future__ import annotations

import math
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from unittest import SkipTest

import numpy as np

from sonod.drivers.base import Driver, DriverState
from sonod.drivers.errors import Disconnected, DriverError, DriverTimeout, SettingsRefused
from sonod.drivers.frame import Configuration, Slot
from sonod.drivers.settings import KNOBS, OWN, AppliedBy, Knob, Settings, Value, change_settings, default_settings

# Python's own small objects around one frame: counters, times, a few short rows. A frame is far larger.
ALLOCATION_LIMIT_BYTES = 128 * 1024
# Frames over random bytes until a byte that was written cannot have equalled them each time.
FILL_ROUNDS = 6
# Shorter than most frames take to come.
SHORT_S = 0.005
# A call may overrun its timeout by this much before it counts as hanging; generous, for a busy machine.
PATIENCE_S = 5.0
# Frames that may be waiting between the device and the reader when the device falls silent.
MOST_WAITING = 64

Kind = TypeVar("Kind", bound=DriverError)


class DriverConformance:
    """Subclass, implement `make_driver`, and let pytest collect it. Every test gets a driver of its own."""

    # Longest that a healthy device takes for one frame.
    frame_timeout_s: float = 2.0
    # Frames read where a test wants several.
    frame_count: int = 5
    # What reading one frame may allocate; more where an emulated board in the same process makes the frame.
    allocation_limit_bytes: int = ALLOCATION_LIMIT_BYTES

    # -- what a subclass implements -----------------------------------------------------------------------------------

    def make_driver(self) -> Driver:
        """A closed driver whose device is there."""
        raise NotImplementedError("a conformance class needs make_driver()")

    def unplug(self, driver: Driver) -> bool:
        """Take the running driver's device away; False when that cannot be done."""
        return False

    def silence(self, driver: Driver) -> bool:
        """Let the running driver's device send nothing any more; False when that cannot be done."""
        return False

    # -- before open, after close -------------------------------------------------------------------------------------

    def test_says_what_it_is(self) -> None:
        driver = self.make_driver()
        assert driver.summary, "summary: one line for `sonod drivers`"
        assert driver.uri_form.startswith(f"{driver.uri.name}:"), "uri_form: must begin with the driver's name"
        assert driver.needs, "needs: what must be there, or 'nothing'"

    def test_before_open_everything_else_is_refused(self) -> None:
        driver = self.make_driver()
        assert driver.state is DriverState.CLOSED
        for call in (driver.knobs, driver.start, driver.stop, lambda: driver.prepare(Settings())):
            _refused(call)
        _refused(lambda: driver.read_into(Slot(0), 0.0))
        assert driver.state is DriverState.CLOSED

    def test_close_before_open_is_allowed(self) -> None:
        self.make_driver().close()

    def test_open_twice_is_refused_and_leaves_it_open(self) -> None:
        with self._opened() as driver:
            _refused(driver.open)
            assert driver.state is DriverState.OPEN

    def test_close_twice_is_allowed(self) -> None:
        driver = self.make_driver()
        driver.open()
        driver.close()
        driver.close()
        assert driver.state is DriverState.CLOSED

    def test_opens_again_after_close_and_counts_from_zero(self) -> None:
        driver = self.make_driver()
        for _ in range(2):
            driver.open()
            try:
                assert driver.counters.frames == 0
                assert driver.configuration is None, "a configuration must not outlive close()"
                slot = self._start(driver)
                driver.read_into(slot, self.frame_timeout_s)
                assert driver.counters.frames == 1
            finally:
                driver.close()

    def test_close_stops_a_running_device(self) -> None:
        with self._running() as (driver, slot):
            driver.close()
            assert driver.state is DriverState.CLOSED
            _refused(lambda: driver.read_into(slot, 0.0))

    # -- settings -----------------------------------------------------------------------------------------------------

    def test_knobs_are_the_declared_ones_in_narrower_ranges(self) -> None:
        with self._opened() as driver:
            for name, knob in driver.knobs().items():
                assert name == knob.name, f"{name}: is listed under another name than {knob.name}"
                if OWN in name:
                    continue
                assert name in KNOBS, f"{name}: no such setting"
                assert knob.kind == KNOBS[name].kind, f"{name}: changes its kind"
                assert knob.unit == KNOBS[name].unit, f"{name}: changes its unit"

    def test_defaults_can_be_prepared_and_say_what_a_frame_is(self) -> None:
        with self._opened() as driver:
            knobs = driver.knobs()
            settings = default_settings(knobs)
            configuration = driver.prepare(settings)
            assert configuration.settings == settings
            assert configuration.acquisition.nbytes > 0
            on_device = {name for name, knob in knobs.items() if knob.applied_by is AppliedBy.DEVICE}
            assert configuration.applied == on_device
            assert driver.configuration is None, "prepare() must not apply"
            assert driver.probe.element_count >= 1

    def test_every_bad_setting_is_refused_and_named(self) -> None:
        with self._opened() as driver:
            knobs = driver.knobs()
            good = driver.prepare(default_settings(knobs))
            driver.apply(good)
            bad = {knob.name: too_much for knob in knobs.values() if (too_much := _too_much(knob)) is not None}
            if not bad:
                raise SkipTest("no setting has a limit")
            settings = default_settings(knobs).with_values(bad, 0)
            refusal = _raises(SettingsRefused, lambda: driver.prepare(settings))
            for name in bad:
                assert any(name in problem for problem in refusal.problems), f"{name}: is not named in {refusal}"
            assert driver.configuration is good

    def test_start_needs_a_configuration(self) -> None:
        with self._opened() as driver:
            _refused(driver.start)
            assert driver.state is DriverState.OPEN

    def test_a_configuration_applied_while_running_is_that_of_the_next_frame(self) -> None:
        with self._running() as (driver, slot):
            driver.read_into(slot, self.frame_timeout_s)
            for _ in range(2):
                assert driver.configuration is not None
                settings = self._other_settings(driver, driver.configuration.settings)
                configuration = driver.prepare(settings)
                driver.apply(configuration)
                assert driver.configuration is configuration
                driver.read_into(slot, self.frame_timeout_s)
                assert slot.configuration is configuration
                assert slot.data.shape == configuration.acquisition.shape

    def test_prepare_may_run_beside_reading(self) -> None:
        with self._running() as (driver, slot):
            settings = default_settings(driver.knobs())
            done: list[Configuration | BaseException] = []

            def prepare() -> None:
                try:
                    done.append(driver.prepare(settings))
                except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
                    done.append(error)

            other = threading.Thread(target=prepare)
            other.start()
            for _ in range(self.frame_count):
                driver.read_into(slot, self.frame_timeout_s)
            other.join()
            assert isinstance(done[0], Configuration), f"prepare() failed beside reading: {done[0]!r}"
            driver.apply(done[0])
            driver.read_into(slot, self.frame_timeout_s)

    # -- frames -------------------------------------------------------------------------------------------------------

    def test_reading_before_start_and_after_stop_is_refused(self) -> None:
        with self._opened() as driver:
            configuration = driver.prepare(default_settings(driver.knobs()))
            driver.apply(configuration)
            slot = Slot(configuration.acquisition.nbytes)
            _refused(lambda: driver.read_into(slot, 0.0))
            driver.start()
            driver.read_into(slot, self.frame_timeout_s)
            driver.stop()
            driver.stop()
            assert driver.state is DriverState.OPEN
            _refused(lambda: driver.read_into(slot, 0.0))

    def test_starts_again_after_stop(self) -> None:
        with self._running() as (driver, slot):
            driver.read_into(slot, self.frame_timeout_s)
            number = slot.number
            driver.stop()
            driver.start()
            driver.read_into(slot, self.frame_timeout_s)
            assert slot.number > number, "frame numbers must go on rising after a new start"

    def test_frames_are_numbered_timed_and_counted(self) -> None:
        with self._running() as (driver, slot):
            number, lost, then = slot.number, 0, (0, -1)
            for _ in range(self.frame_count):
                driver.read_into(slot, self.frame_timeout_s)
                assert slot.lost >= 0
                assert slot.number == number + 1 + slot.lost, "a gap in the numbers is as long as the frames lost"
                assert 0 < slot.first_byte_ns <= slot.last_byte_ns, "byte times: first must not be after last"
                if slot.transmit_ns:
                    assert slot.transmit_ns <= slot.first_byte_ns, "the sound must leave before the echo arrives"
                if slot.device_clock is not None:
                    at, uncertainty_ns = slot.device_clock.at(slot.device_ticks)
                    assert abs(slot.transmit_ns - at) <= uncertainty_ns, "the times must agree with the device's clock"
                now = (slot.device_clock.epoch if slot.device_clock else 0, slot.device_ticks)
                assert slot.device_ticks < 0 or now > then, "the device's own time must go on"
                number, then, lost = slot.number, now, lost + slot.lost
            counters, acquisition = driver.counters, slot.configuration
            assert acquisition is not None
            assert counters.frames == self.frame_count
            assert counters.lost == lost
            assert counters.bytes == self.frame_count * acquisition.acquisition.nbytes
            assert counters.errors == 0

    def test_frames_fill_the_slot_they_are_read_into(self) -> None:
        with self._running() as (driver, slot):
            driver.read_into(slot, self.frame_timeout_s)
            acquisition = slot.configuration.acquisition if slot.configuration else None
            assert acquisition is not None
            assert slot.data.shape == acquisition.shape
            assert slot.data.dtype == acquisition.dtype
            random = np.random.default_rng(1)
            untouched = np.ones(slot.data.nbytes, dtype=bool)
            # A byte that equals what was there before each of several frames was never written.
            for _ in range(FILL_ROUNDS):
                before = random.integers(0, 256, slot.data.nbytes, np.uint8)
                slot.data.reshape(-1).view(np.uint8)[...] = before
                driver.read_into(slot, self.frame_timeout_s)
                untouched &= slot.data.reshape(-1).view(np.uint8) == before
            assert not untouched.any(), f"{int(untouched.sum())} bytes of the slot were not written"

    def test_a_frame_begun_in_one_slot_is_whole_in_another(self) -> None:
        """The reader hands over whichever slot is free, so a frame must survive the end of its time."""
        with self._running() as (driver, slot):
            driver.read_into(slot, self.frame_timeout_s)
            slots = [slot, Slot(slot.data.nbytes)]
            random = np.random.default_rng(1)
            untouched = np.ones(slot.data.nbytes, dtype=bool)
            before = random.integers(0, 256, slot.data.nbytes, np.uint8)
            turn = rounds = 0
            deadline = time.monotonic() + FILL_ROUNDS * self.frame_timeout_s
            while rounds < FILL_ROUNDS:
                assert time.monotonic() < deadline, "no frame comes when the time allowed is short"
                turn += 1
                one = slots[turn % 2]
                memory = np.frombuffer(one.memory, np.uint8)[: slot.data.nbytes]
                memory[...] = before
                try:
                    driver.read_into(one, SHORT_S)
                except DriverTimeout:
                    continue
                untouched &= one.data.reshape(-1).view(np.uint8) == before
                before = random.integers(0, 256, slot.data.nbytes, np.uint8)
                rounds += 1
            assert not untouched.any(), f"{int(untouched.sum())} bytes were left in another slot"

    def test_streaming_allocates_nothing_to_speak_of(self) -> None:
        with self._running() as (driver, slot):
            for _ in range(3):
                driver.read_into(slot, self.frame_timeout_s)
            memory, address = slot.memory, slot.data.ctypes.data
            tracemalloc.start()
            try:
                driver.read_into(slot, self.frame_timeout_s)
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
                for _ in range(self.frame_count):
                    driver.read_into(slot, self.frame_timeout_s)
                after, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert slot.memory is memory
            assert slot.data.ctypes.data == address, "the slot's memory must stay where it is"
            limit = self.allocation_limit_bytes
            assert peak - before <= limit, f"reading a frame allocates {peak - before} bytes, allowed are {limit}"
            assert after - before <= limit / 4, f"{after - before} bytes stay behind after {self.frame_count} frames"

    # -- faults -------------------------------------------------------------------------------------------------------

    def test_no_time_means_a_frame_or_a_timeout_and_harms_nothing(self) -> None:
        with self._running() as (driver, slot):
            driver.read_into(slot, self.frame_timeout_s)
            timeouts = 0
            for _ in range(3):
                begun = time.monotonic()
                try:
                    driver.read_into(slot, 0.0)
                except DriverTimeout:
                    timeouts += 1
                assert time.monotonic() - begun < PATIENCE_S, "read_into() overran its timeout"
            assert driver.counters.timeouts == timeouts
            assert driver.state is DriverState.RUNNING
            driver.read_into(slot, self.frame_timeout_s)

    def test_a_silent_device_is_a_timeout(self) -> None:
        with self._running() as (driver, slot):
            driver.read_into(slot, self.frame_timeout_s)
            if not self.silence(driver):
                raise SkipTest("this device cannot be silenced by a test")
            for count in (1, 2):
                _ends(DriverTimeout, lambda: driver.read_into(slot, 0.05))
                assert driver.counters.timeouts == count
            assert driver.state is DriverState.RUNNING

    def test_an_unplugged_device_is_disconnected_until_close(self) -> None:
        with self._running() as (driver, slot):
            driver.read_into(slot, self.frame_timeout_s)
            if not self.unplug(driver):
                raise SkipTest("this device cannot be unplugged by a test")
            for count in (1, 2):
                _ends(Disconnected, lambda: driver.read_into(slot, self.frame_timeout_s))
                assert driver.counters.errors == count
            driver.close()
            assert driver.state is DriverState.CLOSED

    # -- helpers ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _opened(self) -> Iterator[Driver]:
        driver = self.make_driver()
        driver.open()
        try:
            yield driver
        finally:
            driver.close()

    @contextmanager
    def _running(self) -> Iterator[tuple[Driver, Slot]]:
        with self._opened() as driver:
            yield driver, self._start(driver)

    @staticmethod
    def _start(driver: Driver) -> Slot:
        configuration = driver.prepare(default_settings(driver.knobs()))
        driver.apply(configuration)
        driver.start()
        return Slot(configuration.acquisition.nbytes)

    @staticmethod
    def _other_settings(driver: Driver, current: Settings) -> Settings:
        """Settings of the next revision with one value changed, of the device if it has any."""
        knobs = sorted(driver.knobs().values(), key=lambda knob: knob.applied_by is not AppliedBy.DEVICE)
        for knob in knobs:
            value = _another(knob, current.value(knob.name))
            if value is not None:
                return change_settings(current, {knob.name: value}, driver.knobs())
        return change_settings(current, {}, driver.knobs())


def _ends(kind: type[Kind], call: Callable[[], object]) -> None:
    """Frames that had come already may still be read; then the error."""
    said = None
    for _ in range(MOST_WAITING):
        try:
            call()
        except kind as error:
            said = str(error)
            break
    assert said is not None, f"{kind.__name__} expected, {MOST_WAITING} frames came instead"
    assert said, f"{kind.__name__}: must say what is wrong"


def _refused(call: Callable[[], object]) -> None:
    _raises(DriverError, call)


def _raises(kind: type[Kind], call: Callable[[], object]) -> Kind:
    """The error of this kind that the call raises, which must have something to say."""
    raised: Kind | None = None
    try:
        call()
    except kind as error:
        raised = error
    assert raised is not None, f"{kind.__name__} expected, nothing was raised"
    assert str(raised), f"{kind.__name__}: must say what is wrong"
    return raised


def _too_much(knob: Knob) -> Value | None:
    """A value that the knob must refuse, or None where anything goes."""
    if knob.kind == "choice":
        return "no such choice"
    if not math.isfinite(knob.maximum):
        return None
    above = knob.maximum + 1 + abs(knob.maximum)
    return (above,) * knob.points if knob.kind == "curve" else above


def _another(knob: Knob, current: Value) -> Value | None:
    """A value that the knob allows and that differs from the current one, or None."""
    if knob.kind == "choice":
        return next((choice for choice in knob.choices if choice != current), None)
    if knob.kind == "curve" or not math.isfinite(knob.minimum) or not math.isfinite(knob.maximum):
        return None
    assert isinstance(current, int | float)
    middle = (knob.minimum + knob.maximum) / 2
    for value in (0.75 * current + 0.25 * middle, knob.minimum, knob.maximum):
        wanted = round(value) if knob.kind == "int" else value
        if wanted != current:
            return wanted
    return None

"""Turns a change of settings into a configuration and a plan, off the frame path."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from sonod.daemon.errors import CommandError, ConfigError
from sonod.daemon.handover import DeviceAway, Handover
from sonod.daemon.pipeline.plan import ImageOptions, Plan, build_plan, processing_knobs
from sonod.drivers.base import Driver
from sonod.drivers.errors import DriverError, SettingsRefused
from sonod.drivers.frame import Acquisition, Configuration
from sonod.drivers.settings import Knob, Settings, Value, change_settings, default_settings

# A device that has not taken settings after this long is stuck; the reader looks at least once a second.
APPLY_TIMEOUT_S = 5.0
# How long a reply waits for the first frame, beside three frame periods.
FIRST_FRAME_TIMEOUT_S = 2.0
# More waiting changes than any number of sliders makes; beyond it a client floods.
QUEUE_LIMIT = 64


@dataclass(frozen=True)
class Change:
    """A change that was made: its revision, the first frame that carries it (None = none yet), and what the changed
    knobs read back as. `pending`: the device is away and takes them when it comes back."""

    revision: int
    first_frame: int | None
    applied: Mapping[str, Value]
    pending: bool = False


@dataclass(frozen=True)
class Present:
    """What is in force; replaced as a whole."""

    settings: Settings
    knobs: Mapping[str, Knob]
    acquisition: Acquisition


class Planner:
    """Validates, prepares, plans and hands over, one change after the other.

    `install` gives a plan to the runner before any frame can need it and `withdraw` takes it back; `offer` hands a
    configuration to the reader, `configured` tells whether a device is open that takes it; `announce` tells the world
    which settings hold and from which frame, `reset` that the device has refused those changed while it was away.
    """

    def __init__(
        self,
        driver: Driver,
        options: ImageOptions,
        initial: Mapping[str, object],
        *,
        install: Callable[[Plan, Iterable[str]], None],
        withdraw: Callable[[Plan], None],
        offer: Callable[[Configuration], Handover],
        configured: Callable[[], bool],
        announce: Callable[[Settings, int | None], None],
        reset: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._driver = driver
        self._options = options
        self._initial = initial
        self._install = install
        self._withdraw = withdraw
        self._offer = offer
        self._configured = configured
        self._announce = announce
        self._reset = reset
        # What the device had taken, for the case that it refuses what was changed while it was away.
        self._taken: Settings | None = None
        self._present: Present | None = None
        self._plan: Plan | None = None
        self._lock = threading.Lock()
        self._waiting = 0
        self._idle = threading.Event()
        self._idle.set()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sonod-planner")

    @property
    def present(self) -> Present | None:
        """None before a device has been opened."""
        return self._present

    def configure(self, driver: Driver, take: Callable[[Configuration], Future[int | None]]) -> None:
        """Give `take` the configuration for a device just opened: the settings in force before, else the initial ones.
        It returns what becomes of their first frame, as in a `Handover`.

        No change comes in between, so none is lost. ConfigError when the initial settings or the data cannot be used.
        """
        with self._lock:
            defaults = default_settings(driver.knobs())
            knobs = processing_knobs(driver.knobs(), driver.prepare(defaults).acquisition)
            configuration, plan = self._first_plan(driver, default_settings(knobs), knobs)
            self._plan = plan
            knobs = processing_knobs(driver.knobs(), configuration.acquisition)
            self._keep(configuration, knobs)
            self._install(plan, knobs)
            self._announce(configuration.settings, None)
            try:
                first_frame = take(configuration)
            except BaseException:
                self._withdraw(plan)
                raise
            first_frame.add_done_callback(lambda future: self._opened_frame(plan, future.result()))
            self._taken = configuration.settings

    def change(
        self, changes: Mapping[str, object], expected_revision: int | None = None, *, whole: bool = False
    ) -> Future[Change]:
        """Make all changes or none; `whole` when they are a saved state. The future carries a CommandError when they
        are refused."""
        if self._waiting >= QUEUE_LIMIT:
            raise CommandError("busy", f"{QUEUE_LIMIT} changes are waiting already; wait for replies first")
        self._waiting += 1
        return self._executor.submit(self._change, changes, expected_revision, whole)

    def leave(self, timeout_s: float) -> bool:
        """Cancel what waits and end the thread; False when that took longer than allowed."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        if not self._idle.wait(timeout_s):
            return False
        self._executor.shutdown(wait=True)
        return True

    # -- the planner's thread --------------------------------------------------------------------------------------

    def _change(self, changes: Mapping[str, object], expected_revision: int | None, whole: bool) -> Change:
        self._waiting -= 1
        self._idle.clear()
        try:
            return self._change_now(changes, expected_revision, whole)
        finally:
            self._idle.set()

    def _change_now(self, changes: Mapping[str, object], expected_revision: int | None, whole: bool) -> Change:
        with self._lock:
            present = self._opened(expected_revision)
            try:
                settings = change_settings(present.settings, changes, present.knobs, whole=whole)
                handover, plan = self._make(settings)
            except SettingsRefused as error:
                raise CommandError("refused", str(error), error.problems) from error
            except DeviceAway:
                return self._put_by(present, settings, changes)
            except DriverError as error:
                raise CommandError("unavailable", str(error)) from error
            applied = {name: handover.configuration.settings.value(name) for name in changes}
        settings = handover.configuration.settings
        handover.first_frame.add_done_callback(lambda future: self._first_frame(plan, future.result()))
        first_frame = None
        with contextlib.suppress(TimeoutError):
            if handover.flowing:
                first_frame = handover.first_frame.result(FIRST_FRAME_TIMEOUT_S + 3 / settings.frame_rate_hz)
        return Change(settings.revision, first_frame, applied)

    def _opened(self, expected_revision: int | None) -> Present:
        present = self._present
        if present is None:
            raise CommandError("unavailable", "no probe has been opened yet; `status` says why")
        if expected_revision is not None and expected_revision != present.settings.revision:
            raise CommandError(
                "conflict",
                f"expected revision {expected_revision}, but the settings are at revision {present.settings.revision}; "
                "get them again",
            )
        return present

    def _put_by(self, present: Present, settings: Settings, changes: Mapping[str, object]) -> Change:
        """Keep settings for a device that is away, checked against what it said when it was here."""
        self._present = Present(settings, present.knobs, present.acquisition)
        self._announce(settings, None)
        return Change(settings.revision, None, {name: settings.value(name) for name in changes}, pending=True)

    def _make(self, settings: Settings) -> tuple[Handover, Plan]:
        """Have the device take the settings; DeviceAway when there is none."""
        try:
            configuration = self._driver.prepare(settings)
            # Here, because the device may be gone by the time that it has taken the settings.
            knobs = processing_knobs(self._driver.knobs(), configuration.acquisition)
        except SettingsRefused:
            raise
        except DriverError as error:
            if not self._configured():
                raise DeviceAway(str(error)) from error
            raise
        try:
            plan = build_plan(configuration, self._options, self._plan)
        except ValueError as error:
            raise CommandError("refused", str(error), (str(error),)) from error
        self._install(plan, knobs)
        try:
            handover = self._hand_over(configuration)
        except (CommandError, DriverError):
            self._withdraw(plan)
            raise
        self._plan = plan
        self._keep(configuration, knobs)
        self._taken = configuration.settings
        self._announce(configuration.settings, None)
        return handover, plan

    def _hand_over(self, configuration: Configuration) -> Handover:
        handover = self._offer(configuration)
        wait((handover.applied,), APPLY_TIMEOUT_S)
        if handover.applied.cancel():
            raise CommandError(
                "timeout", f"the device has not taken the settings in {APPLY_TIMEOUT_S:g} s; nothing was changed"
            )
        error = handover.applied.exception()
        if error is None:
            return handover
        try:
            raise error
        finally:
            # Its traceback holds this frame, and the callers' with the plan: all that would stay until the garbage
            # collector runs.
            del error, handover

    def _first_plan(self, driver: Driver, defaults: Settings, knobs: Mapping[str, Knob]) -> tuple[Configuration, Plan]:
        """What a device just opened begins with; ConfigError when nothing can be made of it."""
        if self._present is None:
            try:
                settings = change_settings(defaults, self._initial, knobs, whole=True) if self._initial else defaults
                return self._prepared(driver, settings)
            except SettingsRefused as error:
                raise ConfigError([f"settings.{problem}" for problem in error.problems]) from error
        before = self._present.settings
        # What was changed while the device was away, what it had taken before that, and what it comes with.
        for values in (before, self._taken, defaults):
            if values is None:
                continue
            kept = {name: values.value(name) for name in knobs}
            try:
                settings = change_settings(Settings(revision=before.revision), kept, knobs, whole=True)
                if settings.as_mapping() == before.as_mapping():
                    settings = before
                return self._prepared(driver, settings)
            except SettingsRefused as error:
                self._reset(error.problems)
        raise ConfigError([f"{driver.uri.text}: refuses its own defaults"])

    def _prepared(self, driver: Driver, settings: Settings) -> tuple[Configuration, Plan]:
        configuration = driver.prepare(settings)
        try:
            return configuration, build_plan(configuration, self._options, self._plan)
        except ValueError as error:
            raise ConfigError([f"{driver.uri.text}: no picture can be made of it: {error}"]) from error

    def _keep(self, configuration: Configuration, knobs: Mapping[str, Knob]) -> None:
        self._present = Present(configuration.settings, knobs, configuration.acquisition)

    def _opened_frame(self, plan: Plan, first_frame: int | None) -> None:
        """On the reader's thread: a device just opened gives frames, or is lost before it has given any."""
        if first_frame is None:
            self._withdraw(plan)

    def _first_frame(self, plan: Plan, first_frame: int | None) -> None:
        """On the reader's thread: frames flow, or never will because other settings came first."""
        settings = plan.configuration.settings
        if first_frame is None:
            self._withdraw(plan)
        elif self._present is not None and self._present.settings is settings:
            self._announce(settings, first_frame)

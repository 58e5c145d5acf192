"""Turns a change of settings into a configuration and a plan, off the frame path."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import structlog

from sonod.daemon.errors import CommandError, ConfigError
from sonod.daemon.handover import Handover
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
    knobs read back as."""

    revision: int
    first_frame: int | None
    applied: Mapping[str, Value]


@dataclass(frozen=True)
class Present:
    """What is in force; replaced as a whole."""

    settings: Settings
    knobs: Mapping[str, Knob]
    acquisition: Acquisition


class Planner:
    """Validates, prepares, plans and hands over, one change after the other.

    `install` gives a plan to the runner before any frame can need it and `withdraw` takes it back; `offer` hands a
    configuration to the reader; `announce` tells the world which settings hold and from which frame.
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
        announce: Callable[[Settings, int | None], None],
    ) -> None:
        self._driver = driver
        self._options = options
        self._initial = initial
        self._install = install
        self._withdraw = withdraw
        self._offer = offer
        self._announce = announce
        self._present: Present | None = None
        self._plan: Plan | None = None
        self._lock = threading.Lock()
        self._waiting = 0
        self._idle = threading.Event()
        self._idle.set()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sonod-planner")
        self._log = structlog.get_logger()

    @property
    def present(self) -> Present | None:
        """None before a device has been opened."""
        return self._present

    def configure(self, driver: Driver) -> Configuration:
        """The configuration for a device just opened: the settings in force before, else the initial ones.

        ConfigError when the initial settings or the data cannot be used.
        """
        with self._lock:
            defaults = default_settings(driver.knobs())
            knobs = processing_knobs(driver.knobs(), driver.prepare(defaults).acquisition)
            settings = self._settings_for(driver, default_settings(knobs), knobs)
            try:
                configuration = driver.prepare(settings)
                plan = build_plan(configuration, self._options, self._plan)
            except SettingsRefused as error:
                raise ConfigError([f"settings.{problem}" for problem in error.problems]) from error
            except ValueError as error:
                raise ConfigError([f"{driver.uri.text}: no picture can be made of it: {error}"]) from error
            self._plan = plan
            self._install(plan, self._keep(configuration).knobs)
            self._announce(configuration.settings, None)
            return configuration

    def change(self, changes: Mapping[str, object], expected_revision: int | None = None) -> Future[Change]:
        """Make all changes or none. The future carries a CommandError when they are refused."""
        if self._waiting >= QUEUE_LIMIT:
            raise CommandError("busy", f"{QUEUE_LIMIT} changes are waiting already; wait for replies first")
        self._waiting += 1
        return self._executor.submit(self._change, changes, expected_revision)

    def leave(self, timeout_s: float) -> bool:
        """Cancel what waits and end the thread; False when that took longer than allowed."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        if not self._idle.wait(timeout_s):
            return False
        self._executor.shutdown(wait=True)
        return True

    # -- the planner's thread --------------------------------------------------------------------------------------

    def _change(self, changes: Mapping[str, object], expected_revision: int | None) -> Change:
        self._waiting -= 1
        self._idle.clear()
        try:
            return self._change_now(changes, expected_revision)
        finally:
            self._idle.set()

    def _change_now(self, changes: Mapping[str, object], expected_revision: int | None) -> Change:
        with self._lock:
            handover, plan, applied = self._make(changes, expected_revision)
        settings = handover.configuration.settings
        handover.first_frame.add_done_callback(lambda future: self._first_frame(plan, future.result()))
        first_frame = None
        with contextlib.suppress(TimeoutError):
            if handover.flowing:
                first_frame = handover.first_frame.result(FIRST_FRAME_TIMEOUT_S + 3 / settings.frame_rate_hz)
        return Change(settings.revision, first_frame, applied)

    def _make(
        self, changes: Mapping[str, object], expected_revision: int | None
    ) -> tuple[Handover, Plan, dict[str, Value]]:
        present = self._present
        if present is None:
            raise CommandError("unavailable", "no probe has been opened yet; `status` says why")
        if expected_revision is not None and expected_revision != present.settings.revision:
            raise CommandError(
                "conflict",
                f"expected revision {expected_revision}, but the settings are at revision {present.settings.revision}; "
                "get them again",
            )
        try:
            settings = change_settings(present.settings, changes, present.knobs)
            configuration = self._driver.prepare(settings)
        except SettingsRefused as error:
            raise CommandError("refused", str(error), error.problems) from error
        except DriverError as error:
            raise CommandError("unavailable", str(error)) from error
        try:
            plan = build_plan(configuration, self._options, self._plan)
        except ValueError as error:
            raise CommandError("refused", str(error), (str(error),)) from error
        self._install(plan, processing_knobs(self._driver.knobs(), configuration.acquisition))
        try:
            handover = self._hand_over(configuration)
        except CommandError:
            self._withdraw(plan)
            raise
        self._plan = plan
        self._keep(configuration)
        self._announce(configuration.settings, None)
        return handover, plan, {name: configuration.settings.value(name) for name in changes}

    def _hand_over(self, configuration: Configuration) -> Handover:
        try:
            handover = self._offer(configuration)
            wait((handover.applied,), APPLY_TIMEOUT_S)
            if handover.applied.cancel():
                raise CommandError(
                    "timeout", f"the device has not taken the settings in {APPLY_TIMEOUT_S:g} s; nothing was changed"
                )
            handover.applied.result()
        except DriverError as error:
            raise CommandError("unavailable", str(error)) from error
        return handover

    def _settings_for(self, driver: Driver, defaults: Settings, knobs: Mapping[str, Knob]) -> Settings:
        if self._present is None:
            if not self._initial:
                return defaults
            try:
                return change_settings(defaults, self._initial, knobs)
            except SettingsRefused as error:
                raise ConfigError([f"settings.{problem}" for problem in error.problems]) from error
        before = self._present.settings
        kept = {name: before.value(name) for name in knobs}
        try:
            settings = change_settings(Settings(revision=before.revision), kept, knobs)
        except SettingsRefused as error:
            self._log.warning("settings_reset", reason="refused by the device that came back", problems=error.problems)
            return change_settings(Settings(revision=before.revision), {n: k.default for n, k in knobs.items()}, knobs)
        same = settings.as_mapping() == before.as_mapping()
        return before if same else settings

    def _keep(self, configuration: Configuration) -> Present:
        acquisition = configuration.acquisition
        knobs = processing_knobs(self._driver.knobs(), acquisition)
        self._present = Present(configuration.settings, knobs, acquisition)
        return self._present

    def _first_frame(self, plan: Plan, first_frame: int | None) -> None:
        """On the reader's thread: frames flow, or never will because other settings came first."""
        settings = plan.configuration.settings
        if first_frame is None:
            self._withdraw(plan)
        elif self._present is not None and self._present.settings is settings:
            self._announce(settings, first_frame)

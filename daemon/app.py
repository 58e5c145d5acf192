"""The whole daemon, wired together."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import structlog

from sonod import __version__
from sonod.client.wire.header import Losses
from sonod.client.wire.notices import ClockNotice, EventNotice, Notice, SettingsNotice, StateNotice
from sonod.client.wire.topic import probe_slug
from sonod.daemon.commands import Addresses, Commands, Services
from sonod.daemon.config import Config
from sonod.daemon.control import Control
from sonod.daemon.errors import ConfigError, EndpointError
from sonod.daemon.lease_desk import LeaseDesk
from sonod.daemon.planner import Planner
from sonod.daemon.presets import load_presets
from sonod.daemon.publisher import Limits, Publisher
from sonod.daemon.reader import Patience, Reader, Wish
from sonod.daemon.recorder import Outcome, Recorder
from sonod.daemon.ring import SlotRing
from sonod.daemon.runner import Runner
from sonod.daemon.session import Session, UtcStep
from sonod.daemon.shared_memory import SharedMemory
from sonod.daemon.state import Situation, State, StateKeeper
from sonod.daemon.viewer_process import ViewerProcess
from sonod.drivers import open_uri
from sonod.drivers.errors import DriverError
from sonod.drivers.frame import Slot
from sonod.drivers.settings import Settings

# Each part gets this long to end; together they stay within two seconds because they end almost at once.
LEAVE_TIMEOUT_S = 1.5
SUPERVISION_PERIOD_S = 0.5
OPEN_POLL_S = 0.1
STUCK_EXIT_CODE = 1


class Daemon:
    """Acquires, processes, publishes and answers from `start` to `stop`.

    Made, it has checked the driver's URI and bound its sockets (ConfigError, EndpointError); no device is touched
    before `start`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.session = Session()
        self._log = structlog.get_logger().bind(driver=config.driver.uri)
        presets = load_presets(config.presets.folder)
        try:
            driver = open_uri(config.driver.uri)
        except DriverError as error:
            raise ConfigError([f"driver.uri: {error}"]) from error
        self.driver = driver
        self._states = StateKeeper(self.session.monotonic_ns)
        self._ring = SlotRing(config.acquire.waiting_frames)
        self._settings_notice: SettingsNotice | None = None
        self._viewer: ViewerProcess | None = None
        self._ready = False
        self.publisher = Publisher(
            (config.publish.endpoint, *config.publish.also),
            Limits(config.publish.high_water_messages, config.publish.max_connections, config.publish.stalled_s),
            self.session,
            self._standing,
            config.publish.latest_endpoint,
        )
        self.session.stepped = self._utc_stepped
        self.shared = SharedMemory(self.session, config.shared_memory.slots, config.shared_memory.permissions)
        self._runner = Runner(self._ring, self.publisher, self.session, self.shared, self.session.monotonic_ns)
        self._recorder = Recorder(
            config.record.queue_frames,
            self.session.id,
            lambda: None if self.planner.present is None else self.planner.present.acquisition,
            self._recording_ended,
        )
        self.planner = Planner(
            driver,
            config.image.options(),
            config.settings,
            install=self._runner.install,
            withdraw=self._runner.withdraw,
            offer=lambda configuration: self.reader.offer(configuration),
            configured=lambda: self.reader.configured,
            announce=self._announce,
            reset=self._settings_reset,
        )
        acquire = config.acquire
        self.reader = Reader(
            driver,
            self._ring,
            self._states,
            self.planner.configure,
            patience=Patience(acquire.read_timeout_s, acquire.stall_s, acquire.retry_first_s, acquire.retry_longest_s),
            tap=self._tap,
            monotonic_ns=self.session.monotonic_ns,
        )
        self.leases = LeaseDesk(config.lease.policy(), self._freeze, self._event, self.session.monotonic_ns)
        services = Services(
            driver=driver,
            reader=self.reader,
            planner=self.planner,
            ring=self._ring,
            runner=self._runner,
            recorder=self._recorder,
            states=self._states,
            session=self.session,
            presets=presets,
            leases=self.leases,
            addresses=lambda: self.addresses,
            publisher=self.publisher,
            shared=self.shared,
        )
        try:
            self.control = Control(config.control.endpoint, Commands(services))
        except EndpointError:
            self.publisher.leave(0)
            raise
        self._states.listener = self._state_changed

    @property
    def addresses(self) -> Addresses:
        """Where clients find this daemon, with the ports that were found for `*`."""
        viewer = None if self._viewer is None else self._viewer.url
        return Addresses(self.publisher.endpoints, self.control.endpoint, viewer, self.publisher.latest)

    def start(self, leave: threading.Event | None = None) -> None:
        """Begin, and wait until the device has been tried, or until `leave` is set.

        ConfigError when the driver's URI or the initial settings can never work.
        """
        self.publisher.start()
        self._runner.start()
        self._recorder.launch()
        self.control.start()
        if self.leases.keeper.required:
            # Nobody holds the lease yet.
            self.reader.ask(Wish.FREEZE)
        self.reader.start()
        while True:
            with contextlib.suppress(TimeoutError):
                self.reader.opened.result(OPEN_POLL_S)
                break
            if leave is not None and leave.is_set():
                return
        self._start_viewer()
        self._ready = True
        self._log.info(
            "ready", frames=list(self.addresses.frames), control=self.addresses.control, session=self.session.id
        )

    def supervise(self) -> None:
        """Look after what runs beside the threads; called now and then."""
        if self._viewer is not None:
            self._viewer.check()

    def stop(self) -> tuple[str, ...]:
        """End everything, transmission first; the names of threads that did not end, () when all is well."""
        stuck = [
            name
            for name, left in (
                ("reader", self.reader.leave(LEAVE_TIMEOUT_S)),
                ("planner", self.planner.leave(LEAVE_TIMEOUT_S)),
                ("recorder", self._recorder.leave(LEAVE_TIMEOUT_S)),
                ("runner", self._runner.leave(LEAVE_TIMEOUT_S)),
                ("control", self.control.leave(LEAVE_TIMEOUT_S)),
            )
            if not left
        ]
        if self._viewer is not None:
            self._viewer.stop()
        self.shared.close()
        if not self.publisher.leave(LEAVE_TIMEOUT_S):
            stuck.append("publisher")
        if stuck:
            self._log.error("threads_stuck", threads=stuck)
        elif self._ready:
            self._log.info("stopped")
        return tuple(stuck)

    def _start_viewer(self) -> None:
        config = self.config.viewer
        if not config.enabled:
            return
        if not ViewerProcess.available():
            self._log.info("viewer_missing", reason="this installation has no viewer")
            return
        self._viewer = ViewerProcess(self.addresses.frames[0], self.addresses.control, config.host, config.port)
        self._viewer.start()

    def _tap(self, slot: Slot) -> None:
        """Every raw frame, on the reader's thread."""
        self._recorder.offer(slot)
        self._runner.tap(slot)

    # -- what is told to the world -----------------------------------------------------------------------------------

    def _standing(self) -> Sequence[Notice]:
        """State and settings, as every new subscriber learns them."""
        state = self._state_notice(self._states.situation)
        if self._settings_notice is None:
            return (state, self._clock_notice())
        return (state, self._settings_notice, self._clock_notice())

    def _clock_notice(self) -> ClockNotice:
        session = self.session
        return ClockNotice(
            session=session.id,
            probe=self.publisher.probe,
            utc=session.utc,
            utc_rate=session.utc_rate,
            utc_residual_ns=session.utc_residual_ns,
            maximum_error_ns=session.discipline.maximum_error_ns,
            estimated_error_ns=session.discipline.estimated_error_ns,
            device_clock=self._runner.device_clock,
            published_ns=session.monotonic_ns(),
        )

    def _utc_stepped(self, step: UtcStep) -> None:
        message = f"the host's UTC was set by {step.step_ns / 1e9:+.6f} s; monotonic times go on"
        self.publisher.notify(self._clock_notice())
        self._event("utc_stepped", message, "warning", step_ns=step.step_ns, **step.mapping.block())

    def _state_notice(self, situation: Situation) -> StateNotice:
        now_ns = self.session.monotonic_ns()
        return StateNotice(
            session=self.session.id,
            probe=self.publisher.probe,
            state=situation.state,
            driver=self.config.driver.uri,
            reason=situation.reason,
            since_ns=situation.since_ns,
            published_ns=now_ns,
            frame=self.reader.frame,
            frame_rate_hz=self.reader.rate.hertz(now_ns),
            losses=Losses(self._ring.device_lost, self._ring.dropped, self._runner.failed),
            recording=self._recorder.path,
            version=__version__,
        )

    def _announce(self, settings: Settings, first_frame: int | None) -> None:
        present = self.planner.present
        if present is not None:
            self.publisher.set_probe(probe_slug(present.acquisition.probe.name))
        knobs = settings.as_mapping() if present is None else {name: settings.value(name) for name in present.knobs}
        self._settings_notice = SettingsNotice(
            self.session.id,
            self.publisher.probe,
            settings.revision,
            knobs,
            first_frame,
            self.session.monotonic_ns(),
        )
        self.publisher.notify(self._settings_notice)
        self._log.info("settings", revision=settings.revision, first_frame=first_frame)

    def _state_changed(self, situation: Situation) -> None:
        self.publisher.notify(self._state_notice(situation))
        level = "debug" if situation.state is State.LEAVING else "info"
        self._event("state_changed", situation.reason or situation.state, level, state=situation.state)

    def _recording_ended(self, outcome: Outcome) -> None:
        message = f"{outcome.frames} frames in {outcome.paths[-1]}"
        if not outcome.complete:
            message = f"incomplete: {outcome.reason}"
        self._event("recording_ended", message, "info" if outcome.complete else "error", **outcome.block())

    def _settings_reset(self, problems: tuple[str, ...]) -> None:
        message = f"the device that came back refuses the settings; earlier ones hold: {'; '.join(problems)}"
        self._event("settings_reset", message, "warning", problems=problems)

    def _freeze(self) -> bool:
        """Stop transmitting; False when nothing transmits or would."""
        if self._states.state not in (State.RUNNING, State.STARTING, State.RECOVERING):
            return False
        self.reader.ask(Wish.FREEZE)
        return True

    def _event(self, event: str, message: str, level: str = "info", **facts: Any) -> None:
        getattr(self._log, level)(event, message=message, **facts)
        self.publisher.notify(
            EventNotice(
                self.session.id, self.publisher.probe, event, message, level, facts, self.session.monotonic_ns()
            )
        )


def run(config: Config, ready: Callable[[Daemon], None] | None = None) -> None:
    """The daemon in the foreground until SIGINT, SIGTERM or SIGHUP; ConfigError, EndpointError when it cannot begin."""
    leave = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        leave.set()

    daemon = Daemon(config)
    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        daemon.start(leave)
        if ready is not None and not leave.is_set():
            ready(daemon)
        while not leave.wait(SUPERVISION_PERIOD_S):
            daemon.supervise()
    finally:
        stuck = daemon.stop()
        for number, handler in previous.items():
            signal.signal(number, handler)
        if stuck:
            # A driver or a library that does not come back: the end of the process closes the device for it.
            os._exit(STUCK_EXIT_CODE)

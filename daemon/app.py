"""The whole daemon, wired together."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from sonod import __version__
from sonod.client.wire.header import Losses
from sonod.client.wire.notices import ClockNotice, EventNotice, Notice, SettingsNotice, StateNotice
from sonod.client.wire.topic import probe_slug
from sonod.daemon.commands import Addresses, Commands, Services
from sonod.daemon.config import Config
from sonod.daemon.control import Control
from sonod.daemon.endpoint import is_exposed
from sonod.daemon.environment import Environment
from sonod.daemon.errors import ConfigError, EndpointError
from sonod.daemon.health import Counts, HealthKeeper
from sonod.daemon.heap import trim_heap
from sonod.daemon.keeping import Keeping
from sonod.daemon.keyring import Gate
from sonod.daemon.lease_desk import LeaseDesk
from sonod.daemon.log import configure_level, say_always
from sonod.daemon.notify import Notifier
from sonod.daemon.planner import Planner
from sonod.daemon.presets import load_presets
from sonod.daemon.publisher import Limits, Publisher
from sonod.daemon.reader import Patience, Reader, Wish
from sonod.daemon.realtime import lock_memory, privilege_thread
from sonod.daemon.reload import Source, reload
from sonod.daemon.ring import SlotRing
from sonod.daemon.runner import Runner
from sonod.daemon.session import Session, UtcStep
from sonod.daemon.shared_memory import SharedMemory
from sonod.daemon.signals import Signals
from sonod.daemon.state import Situation, State, StateKeeper
from sonod.daemon.switch import Inheritance, Outcome, Stuck, SwitchDesk, switch
from sonod.daemon.viewer_process import ViewerProcess
from sonod.daemon.watchdog import Watchdog
from sonod.drivers import open_uri
from sonod.drivers.errors import DriverError
from sonod.drivers.frame import Slot
from sonod.drivers.settings import Settings

if TYPE_CHECKING:
    from sonod.daemon.metrics import MetricsServer

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

    def __init__(
        self,
        config: Config,
        source: Source | None = None,
        environment: Environment | None = None,
        inheritance: Inheritance | None = None,
    ) -> None:
        self.config = config
        self.inheritance = inheritance or Inheritance(config)
        self.switches = SwitchDesk()
        self._source = source
        asked = environment or Environment.read({})
        self.session = Session()
        self._log = structlog.get_logger()
        say_always(driver=config.driver.uri, serial="", revision=None)
        self._notifier = Notifier(asked.notify_socket)
        self._watchdog = Watchdog(self._notifier, asked.watchdog_s, self.session.monotonic_ns)
        self._health = HealthKeeper()
        self._metrics: MetricsServer | None = None
        # For `systemctl status`, until a reload is accepted.
        self._refusal = ""
        self._plans_dropped = 0
        realtime = config.realtime
        presets = load_presets(config.presets.folder)
        gate = Gate(Path(config.access.keys)) if config.access.keys else None
        everywhere = config.access.everywhere
        try:
            driver = open_uri(config.driver.uri)
        except DriverError as error:
            raise ConfigError([f"driver.uri: {line}" for line in str(error).splitlines()]) from error
        self.driver = driver
        self._states = StateKeeper(self.session.monotonic_ns)
        self._ring = SlotRing(config.acquire.waiting_frames)
        self._settings_notice: SettingsNotice | None = None
        self._viewer: ViewerProcess | None = self.inheritance.viewer
        self._ready = False
        self.publisher = Publisher(
            config.frame_endpoints,
            Limits(config.publish.high_water_messages, config.publish.max_connections, config.publish.stalled_s),
            self.session,
            self._standing,
            config.latest_endpoints,
            gate,
            everywhere,
            alive=self._watchdog.watch("publisher").beat,
        )
        self.session.stepped = self._utc_stepped
        self.shared = SharedMemory(self.session, config.shared_memory.slots, config.shared_memory.permissions)
        self.keeping = Keeping(
            config,
            self.session,
            lambda: None if self.planner.present is None else self.planner.present.acquisition,
            self._clip_facts,
            self._event,
        )
        self._runner = Runner(
            self._ring,
            self.publisher,
            self.session,
            self.shared,
            self.keeping.cine,
            self.session.monotonic_ns,
            alive=self._watchdog.watch("runner").beat,
            begin=lambda: privilege_thread("runner", realtime.runner_priority, realtime.runner_cpus),
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
            alive=self._watchdog.feed,
            begin=lambda: privilege_thread("reader", realtime.reader_priority, realtime.reader_cpus),
            monotonic_ns=self.session.monotonic_ns,
        )
        self.leases = LeaseDesk(config.lease.policy(), self._freeze, self._event, self.session.monotonic_ns)
        services = Services(
            driver=driver,
            reader=self.reader,
            planner=self.planner,
            ring=self._ring,
            runner=self._runner,
            recorder=self.keeping.recorder,
            clipper=self.keeping.clipper,
            cine=self.keeping.cine,
            mark=self.keeping.mark,
            states=self._states,
            session=self.session,
            presets=presets,
            leases=self.leases,
            addresses=lambda: self.addresses,
            publisher=self.publisher,
            shared=self.shared,
            recordings=Path(config.record.folder) if config.record.folder else None,
            state_directory=asked.state_directory,
            health=lambda: self._health.judge(self._states.state),
            switches=self.switches,
        )
        try:
            if config.metrics.enabled:
                self._metrics = self._make_metrics(services)
            self.control = Control(
                config.control_endpoints,
                Commands(services),
                gate,
                everywhere,
                alive=self._watchdog.watch("control").beat,
            )
        except EndpointError:
            if self._metrics is not None:
                self._metrics.leave(0)
            self.publisher.leave(0)
            self.keeping.cine.close()
            raise
        self._states.listener = self._state_changed

    @property
    def state(self) -> State:
        return self._states.state

    @property
    def reason(self) -> str:
        """Why it is in its state."""
        return self._states.situation.reason

    @property
    def addresses(self) -> Addresses:
        """Where clients find this daemon, with the ports that were found for `*`."""
        viewer = None if self._viewer is None else self._viewer.url
        return Addresses(self.publisher.endpoints, self.control.endpoints, viewer, self.publisher.latest)

    def start(self, leave: Signals | None = None) -> None:
        """Begin, and wait until the device has been tried, or until `leave` is set.

        ConfigError when the driver's URI or the initial settings can never work.
        """
        if self.config.realtime.lock_memory:
            lock_memory()
        self.publisher.start()
        self._runner.start()
        self.keeping.launch()
        self.control.start()
        if self.leases.keeper.required or self.inheritance.frozen:
            # Nobody holds the lease yet; and what was frozen does not transmit because the driver is another one.
            self.reader.ask(Wish.FREEZE)
        self.reader.start()
        while True:
            with contextlib.suppress(TimeoutError):
                self.reader.opened.result(OPEN_POLL_S)
                break
            if leave is not None and leave.is_set():
                return
        self._start_viewer()
        if self._metrics is not None:
            self._metrics.start()
        self._ready = True
        self._log.info(
            "ready",
            frames=list(self.addresses.frames),
            control=self.addresses.control,
            metrics=None if self._metrics is None else self._metrics.url,
            session=self.session.id,
        )
        addresses = self.addresses
        every = (*addresses.frames, *addresses.controls, *addresses.latest)
        exposed = [place for place in every if is_exposed(place)]
        if exposed:
            self._log.info("reachable_with_keys", addresses=exposed)
        self._notifier.ready(self._status_line())

    def supervise(self) -> None:
        """Look after what runs beside the threads; called now and then."""
        if self._viewer is not None:
            self._viewer.check()
        now_ns, ring, reader = self.session.monotonic_ns(), self._ring, self.reader
        present = self.planner.present
        period_ns = 0 if present is None else int(1e9 / present.settings.frame_rate_hz)
        counts = Counts(now_ns, reader.frame, ring.device_lost + ring.dropped, self._runner.failed)
        self._health.see(counts, max(reader.last_frame_ns, self._states.situation.since_ns), period_ns)
        self._notifier.status(self._status_line())
        self._give_back()

    def _give_back(self) -> None:
        """What plans have left: tens of megabytes each, which the C library would keep in pieces, more and more."""
        dropped = self._runner.plans_dropped
        if dropped != self._plans_dropped:
            self._plans_dropped = dropped
            trim_heap()

    def reload(self) -> bool:
        """Read the configuration again and use it; False when it cannot be used: then the one before stays, and log,
        event and systemd say why."""
        if self._source is None:
            return False
        self._notifier.reloading()
        try:
            self.config = reload(
                self._source,
                self.config,
                lambda: self.planner.present,
                self.leases.holder_of,
                self.planner.change,
            )
        except ConfigError as error:
            problems = list(error.problems)
            self._event("reload_refused", f"the configuration stays as it was: {error}", "error", problems=problems)
            self._refusal = f"; reload refused: {error}"
            self._notifier.ready(self._status_line())
            return False
        self._refusal = ""
        self._event("reloaded", "the configuration was read again and is used")
        self._notifier.ready(self._status_line())
        return True

    def hand_over_viewer(self) -> ViewerProcess | None:
        """The viewer, which from now on is the follower's to end."""
        viewer, self._viewer = self._viewer, None
        return viewer

    def tell_switch(self, outcome: Outcome) -> None:
        """Say what came of a switch of drivers."""
        self.switches.outcome = outcome
        if outcome.problems:
            line = f"{outcome.wanted} cannot be used, {outcome.before} is back: {'; '.join(outcome.problems)}"
            self._event("switch_failed", line, "error", **outcome.block())
        else:
            self._event("switched", f"from {outcome.before} to {outcome.wanted}", **outcome.block())

    def stop(self, *, ending: bool = True) -> tuple[str, ...]:
        """End everything, transmission first; the names of threads that did not end, () when all is well. `ending`: the
        process ends, too."""
        if ending:
            self._notifier.stopping()
        else:
            self._notifier.reloading()
        stuck = [
            name
            for name, left in (
                ("reader", self.reader.leave(LEAVE_TIMEOUT_S)),
                ("planner", self.planner.leave(LEAVE_TIMEOUT_S)),
                ("recorder", self.keeping.recorder.leave(LEAVE_TIMEOUT_S)),
                ("clip", self.keeping.clipper.leave(LEAVE_TIMEOUT_S)),
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
        if self._metrics is not None and not self._metrics.leave(LEAVE_TIMEOUT_S):
            stuck.append("metrics")
        if stuck:
            self._log.error("threads_stuck", threads=stuck)
            return tuple(stuck)
        self.keeping.cine.close()
        if self._ready:
            self._log.info("stopped")
        return tuple(stuck)

    def _make_metrics(self, services: Services) -> MetricsServer:
        # Imported here: who asks for no metrics does not wait for the library.
        from sonod.daemon.metrics import DaemonMetrics, MetricsServer

        config = self.config.metrics
        metrics = DaemonMetrics(services, services.health, self._watchdog.pulses)
        return MetricsServer(config.host, config.port, metrics)

    def _start_viewer(self) -> None:
        config = self.config.viewer
        if not config.enabled or self._viewer is not None:
            return
        if not ViewerProcess.available():
            self._log.info("viewer_missing", reason="this installation has no viewer")
            return
        frames = self._for_viewer(self.config.frame_endpoints, self.addresses.frames)
        control = self._for_viewer(self.config.control_endpoints, self.addresses.controls)
        self._viewer = ViewerProcess(frames, control, config.host, config.port, config.keys)
        self._viewer.start()

    def _for_viewer(self, configured: Sequence[str], bound: Sequence[str]) -> str:
        """The first address without keys, or with a key for the viewer the first with."""
        with_keys = bool(self.config.viewer.keys)
        for place, found in zip(configured, bound, strict=True):
            if self.config.needs_keys(place) == with_keys:
                return found
        return bound[0]

    def _tap(self, slot: Slot) -> None:
        """Every raw frame, on the reader's thread."""
        self.keeping.cine.tap(slot)
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
            recording=self.keeping.recorder.path,
            version=__version__,
            health=self._health.judge(situation.state)[0],
        )

    def _status_line(self) -> str:
        """What the daemon is doing, for `systemctl status`."""
        situation = self._states.situation
        health, why = self._health.judge(situation.state)
        reason = situation.reason or why
        line = f"{situation.state}, {health}: {self.config.driver.uri}"
        if reason:
            return f"{line}: {reason}{self._refusal}"
        rate_hz = self.reader.rate.hertz(self.session.monotonic_ns())
        return f"{line}, {rate_hz:.0f} frames a second{self._refusal}"

    def _announce(self, settings: Settings, first_frame: int | None) -> None:
        present = self.planner.present
        if present is not None:
            self.keeping.cine.fit(present.acquisition, settings.frame_rate_hz)
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
        say_always(revision=settings.revision)
        self._log.info("settings", first_frame=first_frame)

    def _state_changed(self, situation: Situation) -> None:
        self.publisher.notify(self._state_notice(situation))
        self._notifier.status(self._status_line())
        level = "debug" if situation.state is State.LEAVING else "info"
        self._event("state_changed", situation.reason or situation.state, level, state=situation.state)

    def _clip_facts(self) -> dict[str, Any]:
        """What the manifest of a clip says of the probe."""
        present = self.planner.present
        probe = None
        if present is not None:
            held = present.acquisition.probe
            probe = {"name": held.name, "kind": held.kind, "elements": held.element_count}
        return {
            "driver": self.config.driver.uri,
            "serial": self.driver.serial,
            "probe": probe,
            "state": self._states.state,
        }

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


def run(
    config: Config,
    ready: Callable[[Daemon], None] | None = None,
    source: Source | None = None,
    environment: Environment | None = None,
) -> None:
    """The daemon in the foreground until SIGINT or SIGTERM; ConfigError, EndpointError when it cannot begin.

    SIGHUP ends it, too; with a `source`, that makes it read its configuration again.
    """
    daemon = Daemon(config, source, environment)
    with Signals(reloads=source is not None) as signals:

        def begin(config: Config, source: Source | None, inheritance: Inheritance) -> Daemon:
            follower = Daemon(config, source, environment, inheritance)
            try:
                follower.start(signals)
            except ConfigError:
                follower.hand_over_viewer()
                follower.stop(ending=False)
                raise
            return follower

        try:
            daemon.start(signals)
            if ready is not None and not signals.is_set():
                ready(daemon)
            while not signals.is_set():
                signals.wait(SUPERVISION_PERIOD_S)
                if signals.take_reload() and daemon.reload():
                    configure_level(daemon.config.log.level)
                daemon.supervise()
                if (uri := daemon.switches.take()) is not None:
                    daemon, source = switch(daemon, source, uri, begin)
        except Stuck:
            os._exit(STUCK_EXIT_CODE)
        finally:
            stuck = daemon.stop()
            if stuck:
                # A driver or a library that does not come back: the end of the process closes the device for it.
                os._exit(STUCK_EXIT_CODE)

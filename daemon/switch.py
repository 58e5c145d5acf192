"""Another driver while the process runs.

The daemon ends and begins again with another configuration, on the same addresses: a new session, nothing half changed.
When the new driver cannot be used the one before comes back, with its settings, and `status` and an event say why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from sonod.daemon.config import Config, DriverSection
from sonod.daemon.errors import CommandError, ConfigError, DaemonError
from sonod.daemon.reload import Source
from sonod.daemon.state import State
from sonod.drivers import open_uri
from sonod.drivers.errors import DriverError

if TYPE_CHECKING:
    from sonod.daemon.app import Daemon
    from sonod.daemon.viewer_process import ViewerProcess


@dataclass(frozen=True)
class Outcome:
    """What came of the last switch: `problems` are () when the driver is the wanted one."""

    before: str
    wanted: str
    problems: tuple[str, ...] = ()

    def block(self) -> dict[str, Any]:
        """As `status` shows it."""
        return {"from": self.before, "to": self.wanted, "problems": self.problems}


@dataclass(frozen=True)
class Inheritance:
    """What a daemon takes over from the one before it in this process: the settings of the configuration, which are
    those of its driver; the viewer, whose page need not end; whether the probe is to be frozen."""

    configured: Config
    viewer: ViewerProcess | None = None
    frozen: bool = False


class Stuck(DaemonError):
    """Threads did not end, so that nothing can begin anew in this process."""


class Begin(Protocol):
    """Makes a daemon and starts it; ConfigError or EndpointError when that is of no use."""

    def __call__(self, config: Config, source: Source | None, inheritance: Inheritance) -> Daemon: ...


class SwitchDesk:
    """Where the wish for another driver lies until the main thread takes it."""

    def __init__(self) -> None:
        # Known when the driver has been tried.
        self.outcome: Outcome | None = None
        self._wanted: str | None = None

    def ask(self, uri: str, busy: str) -> None:
        """Switch to a driver soon; CommandError when it is not a driver's URI, or while something is being written."""
        if busy:
            raise CommandError("busy", f"switch: {busy}; stop it or wait for it")
        if self._wanted is not None:
            raise CommandError("busy", f"switch: to {self._wanted} already")
        try:
            open_uri(uri)
        except DriverError as error:
            lines = [f"driver: {line}" for line in str(error).splitlines()]
            raise CommandError("refused", "; ".join(lines), lines) from error
        self._wanted = uri

    def take(self) -> str | None:
        """The driver that is wanted, once."""
        wanted, self._wanted = self._wanted, None
        return wanted

    def block(self) -> dict[str, Any] | None:
        """What came of the last switch, as `status` shows it; None = there was none."""
        return None if self.outcome is None else self.outcome.block()


def switch(daemon: Daemon, source: Source | None, uri: str, begin: Begin) -> tuple[Daemon, Source | None]:
    """The daemon that follows, and where its configuration can be read again. Stuck when the present one does not end;
    ConfigError, EndpointError when the one before cannot come back either."""
    before = _here(daemon)
    present, configured = daemon.planner.present, daemon.inheritance.configured
    home = uri == configured.driver.uri
    # The settings of the configuration were written for its probe.
    wanted = before.model_copy(
        update={"driver": DriverSection(uri=uri), "settings": dict(configured.settings) if home else {}}
    )
    kept = {} if present is None else {name: present.settings.value(name) for name in present.knobs}
    back = before.model_copy(update={"settings": kept or before.settings})
    frozen = daemon.state in (State.FROZEN, State.STOPPED)
    log = structlog.get_logger()
    log.info("switching", to=uri)
    viewer = _end(daemon)
    problems, follower = _try(lambda: begin(wanted, _override(source, wanted), Inheritance(configured, viewer, frozen)))
    if follower is not None and follower.state is State.RECOVERING:
        problems = (follower.reason,)
        viewer = _end(follower)
    elif follower is not None:
        follower.tell_switch(Outcome(before.driver.uri, uri))
        return follower, _override(source, wanted)
    reverted = begin(back, _override(source, back), Inheritance(configured, viewer, frozen))
    reverted.tell_switch(Outcome(before.driver.uri, uri, problems))
    return reverted, _override(source, back)


def _try(begin: Callable[[], Daemon]) -> tuple[tuple[str, ...], Daemon | None]:
    try:
        return (), begin()
    except ConfigError as error:
        return tuple(error.problems), None
    except DaemonError as error:
        return (str(error),), None


def _end(daemon: Daemon) -> ViewerProcess | None:
    """End all of a daemon but its viewer."""
    viewer = daemon.hand_over_viewer()
    if stuck := daemon.stop(ending=False):
        raise Stuck(f"threads did not end: {', '.join(stuck)}")
    return viewer


def _here(daemon: Daemon) -> Config:
    """The configuration with the ports that were found, so that clients find the follower at the same place."""
    config, found = daemon.config, daemon.addresses
    return config.model_copy(
        update={
            "publish": config.publish.model_copy(update={"endpoint": found.frames[0], "also": tuple(found.frames[1:])}),
            "control": config.control.model_copy(
                update={"endpoint": found.controls[0], "also": tuple(found.controls[1:])}
            ),
        }
    )


def _override(source: Source | None, config: Config) -> Source | None:
    """The source, so that reading it again gives the driver and the addresses that are in use."""
    if source is None:
        return None
    own: dict[str, dict[str, Any]] = {
        "driver": {"uri": config.driver.uri},
        "publish": {"endpoint": config.publish.endpoint, "also": config.publish.also},
        "control": {"endpoint": config.control.endpoint, "also": config.control.also},
    }
    sections = {**source.overrides, **{name: {**source.overrides.get(name, {}), **keys} for name, keys in own.items()}}
    return replace(source, overrides=sections)

"""What each control command does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from sonod import __version__
from sonod.client.wire.control import Request
from sonod.client.wire.topic import MAJOR_VERSION
from sonod.daemon.arguments import (
    Arguments,
    GetArguments,
    LeaseArguments,
    NoArguments,
    PresetArguments,
    RecordArguments,
    SetArguments,
    TransmitArguments,
    parse_arguments,
)
from sonod.daemon.config import suggestion
from sonod.daemon.errors import CommandError
from sonod.daemon.health import Health
from sonod.daemon.lease import LeaseKeeper
from sonod.daemon.planner import Change, Planner, Present
from sonod.daemon.presets import Preset
from sonod.daemon.reader import Reader, Wish
from sonod.daemon.recorder import Recorder
from sonod.daemon.ring import SlotRing
from sonod.daemon.runner import Runner
from sonod.daemon.session import Session
from sonod.daemon.state import State, StateKeeper
from sonod.daemon.subscriptions import PRODUCTS
from sonod.drivers.base import Driver
from sonod.drivers.settings import Knob, Value

Result = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Addresses:
    """Where the daemon can be reached."""

    frames: tuple[str, ...]
    control: str
    viewer: str | None


@dataclass(frozen=True)
class Services:
    """The parts of the daemon that commands act on."""

    driver: Driver
    reader: Reader
    planner: Planner
    ring: SlotRing
    runner: Runner
    recorder: Recorder
    states: StateKeeper
    session: Session
    presets: Mapping[str, Preset]
    addresses: Callable[[], Addresses]
    wanted: Callable[[], frozenset[str]]
    health: Callable[[], tuple[Health, str]]


class Commands:
    """Executes requests, on the control thread alone. A command that must wait gives a future instead of a result."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._started_ns = services.session.monotonic_ns()
        self.leases = LeaseKeeper(services.session.monotonic_ns)
        self._handlers: Mapping[str, tuple[type[Arguments], Callable[[Any], Result | Future[Result]]]] = {
            "describe": (NoArguments, self._describe),
            "get": (GetArguments, self._get),
            "set": (SetArguments, self._set),
            "preset": (PresetArguments, self._preset),
            "freeze": (NoArguments, lambda arguments: self._ask(Wish.FREEZE)),
            "unfreeze": (TransmitArguments, lambda arguments: self._transmit(arguments, "unfreeze")),
            "start": (TransmitArguments, lambda arguments: self._transmit(arguments, "start")),
            "stop": (NoArguments, lambda arguments: self._ask(Wish.STOP)),
            "status": (NoArguments, self._status),
            "record": (RecordArguments, self._record),
            "lease": (LeaseArguments, self._lease),
        }

    def execute(self, request: Request) -> Result | Future[Result]:
        """The result of a request, or a future of it; CommandError when it is refused."""
        known = self._handlers.get(request.command)
        if known is None:
            raise CommandError(
                "unknown_command", f"{request.command!r}: no such command; there are {', '.join(self._handlers)}"
            )
        model, handler = known
        return handler(parse_arguments(model, request.command, request.arguments))

    def expire_lease(self) -> str | None:
        """Stop transmitting when the lease's holder has gone silent; the holder, when that happened just now."""
        lease = self.leases.expire()
        if lease is None:
            return None
        if self._services.states.state in (State.RUNNING, State.STARTING, State.RECOVERING):
            self._services.reader.ask(Wish.FREEZE)
        return lease.holder

    # -- reading ---------------------------------------------------------------------------------------------------

    def _describe(self, arguments: NoArguments) -> Result:
        services = self._services
        present = services.planner.present
        addresses = services.addresses()
        return {
            "sonod": MAJOR_VERSION,
            "version": __version__,
            "session": services.session.id,
            "driver": services.driver.uri.text,
            "serial": services.driver.serial,
            "probe": None if present is None else _probe_block(present),
            "state": services.states.state,
            "revision": None if present is None else present.settings.revision,
            "knobs": [] if present is None else [_knob_block(knob, present) for knob in present.knobs.values()],
            "products": PRODUCTS,
            "presets": [
                {"name": preset.name, "description": preset.description, "settings": dict(preset.settings)}
                for preset in services.presets.values()
            ],
            "commands": tuple(self._handlers),
            "frames": addresses.frames,
            "control": addresses.control,
            "viewer": addresses.viewer,
        }

    def _get(self, arguments: GetArguments) -> Result:
        present = self._present()
        keys = tuple(present.knobs) if arguments.keys is None else tuple(arguments.keys)
        problems = [
            f"{key}: no such setting{suggestion(key, present.knobs)}" for key in keys if key not in present.knobs
        ]
        if problems:
            raise CommandError("invalid", "; ".join(problems), problems)
        settings = present.settings
        return {"revision": settings.revision, "settings": {key: settings.value(key) for key in keys}}

    def _status(self, arguments: NoArguments) -> Result:
        services = self._services
        present, situation, counters = services.planner.present, services.states.situation, services.driver.counters
        now_ns = services.session.monotonic_ns()
        health, health_reason = services.health()
        return {
            "version": __version__,
            "session": services.session.id,
            "driver": services.driver.uri.text,
            "serial": services.driver.serial,
            "probe": None if present is None else present.acquisition.probe.name,
            "state": situation.state,
            "reason": situation.reason,
            "health": health,
            "health_reason": health_reason,
            "since_ns": situation.since_ns,
            "now_ns": now_ns,
            "uptime_s": round((now_ns - self._started_ns) / 1e9, 3),
            "revision": None if present is None else present.settings.revision,
            "frame": services.reader.frame,
            "frame_rate_hz": services.reader.rate.hertz(now_ns),
            "recoveries": services.reader.recoveries,
            "processed": services.runner.processed,
            "losses": {
                "device": services.ring.device_lost,
                "ring": services.ring.dropped,
                "processing": services.runner.failed,
            },
            "last_failure": services.runner.last_failure,
            "device": {
                "frames": counters.frames,
                "bytes": counters.bytes,
                "lost": counters.lost,
                "timeouts": counters.timeouts,
                "errors": counters.errors,
                "temperature_c": services.driver.temperature_c,
            },
            "stages": services.runner.stages.block(),
            "wanted": sorted(services.wanted()),
            "recording": services.recorder.block(),
            "lease": self._lease_block(),
        }

    # -- changing --------------------------------------------------------------------------------------------------

    def _set(self, arguments: SetArguments) -> Result | Future[Result]:
        return self._change(arguments.changes, arguments.expected_revision, arguments.lease)

    def _preset(self, arguments: PresetArguments) -> Result | Future[Result]:
        preset = self._services.presets.get(arguments.name)
        if preset is None:
            names = list(self._services.presets)
            line = f"preset {arguments.name!r}: not known{suggestion(arguments.name, names)}"
            raise CommandError("invalid", line, (line,))
        return self._change(preset.settings, arguments.expected_revision, arguments.lease)

    def _change(self, changes: Mapping[str, Any], expected_revision: int | None, lease: str | None) -> Future[Result]:
        present = self._present()
        for name in changes:
            knob = present.knobs.get(name)
            if knob is not None and knob.acoustic_output:
                self.leases.require(lease, f"set {name}")
        return _then(self._services.planner.change(changes, expected_revision), _change_block)

    def _transmit(self, arguments: TransmitArguments, command: str) -> Future[Result]:
        self.leases.require(arguments.lease, command)
        return self._ask(Wish.RUN)

    def _ask(self, wish: Wish) -> Future[Result]:
        return _then(self._services.reader.ask(wish), lambda state: {"state": state})

    def _record(self, arguments: RecordArguments) -> Future[Result]:
        recorder = self._services.recorder
        if arguments.action == "stop":
            return recorder.stop()
        if arguments.path is None:
            raise CommandError("invalid", "record: path: missing", ("path: missing",))
        return recorder.start(arguments.path, arguments.seconds)

    def _lease(self, arguments: LeaseArguments) -> Result:
        if arguments.action == "acquire":
            if not arguments.holder:
                raise CommandError("invalid", "lease: holder: missing; say who you are", ("holder: missing",))
            lease = self.leases.acquire(arguments.holder, arguments.ttl_s, arguments.token)
            return {"token": lease.token, **self._lease_block()}
        if arguments.action == "release":
            if arguments.token is None:
                raise CommandError("invalid", "lease: token: missing", ("token: missing",))
            self.leases.release(arguments.token)
        return self._lease_block()

    def _lease_block(self) -> Result:
        lease = self.leases.lease
        if lease is None:
            return {"holder": None, "expires_in_s": None}
        remaining_ns = lease.expires_ns - self._services.session.monotonic_ns()
        return {"holder": lease.holder, "expires_in_s": round(max(0, remaining_ns) / 1e9, 3)}

    def _present(self) -> Present:
        present = self._services.planner.present
        if present is None:
            situation = self._services.states.situation
            raise CommandError("unavailable", f"no probe has been opened yet ({situation.state}: {situation.reason})")
        return present


def _knob_block(knob: Knob, present: Present) -> Result:
    def bound(number: float) -> float | None:
        return number if math.isfinite(number) else None

    return {
        "name": knob.name,
        "kind": knob.kind,
        "unit": knob.unit,
        "value": present.settings.value(knob.name),
        "default": knob.default,
        "minimum": bound(knob.minimum),
        "maximum": bound(knob.maximum),
        "step": knob.step,
        "choices": knob.choices,
        "points": knob.points,
        "description": knob.description,
        "acoustic_output": knob.acoustic_output,
        "applied_by": knob.applied_by,
    }


def _probe_block(present: Present) -> Result:
    probe = present.acquisition.probe
    frequency = probe.center_frequency_hz
    return {
        "name": probe.name,
        "kind": probe.kind,
        "elements": probe.element_count,
        "center_frequency_hz": frequency if math.isfinite(frequency) else None,
        "radius_m": probe.radius_m,
    }


def _change_block(change: Change) -> Result:
    applied: dict[str, Value] = dict(change.applied)
    return {"revision": change.revision, "first_frame": change.first_frame, "applied": applied}


def _then(future: Future[T], convert: Callable[[T], Result]) -> Future[Result]:
    """The future of the converted result."""
    converted: Future[Result] = Future()

    def done(finished: Future[T]) -> None:
        if finished.cancelled():
            converted.set_exception(CommandError("unavailable", "the daemon is leaving"))
            return
        error = finished.exception()
        if error is not None:
            converted.set_exception(error)
        else:
            converted.set_result(convert(finished.result()))

    future.add_done_callback(done)
    return converted

"""What each control command does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from sonod import __version__
from sonod.client.wire.control import Request
from sonod.client.wire.topic import MAJOR_VERSION
from sonod.daemon.access import LOCAL, Caller
from sonod.daemon.arguments import (
    Arguments,
    ClipArguments,
    GetArguments,
    LeaseArguments,
    LoadArguments,
    MarkArguments,
    NoArguments,
    PresetArguments,
    RecordArguments,
    SetArguments,
    SharedMemoryArguments,
    SwitchArguments,
    TransmitArguments,
    parse_arguments,
)
from sonod.daemon.blocks import change_block, knob_block, preset_block, probe_block
from sonod.daemon.cine.keeper import CineKeeper
from sonod.daemon.clipper import Clipper
from sonod.daemon.config import suggestion
from sonod.daemon.errors import CommandError
from sonod.daemon.health import Health
from sonod.daemon.lease_desk import LeaseDesk
from sonod.daemon.marks import Mark
from sonod.daemon.places import check_place, clip_place
from sonod.daemon.planner import Planner, Present
from sonod.daemon.presets import Preset
from sonod.daemon.publisher import Publisher
from sonod.daemon.reader import Reader, Wish
from sonod.daemon.recorder import Recorder
from sonod.daemon.ring import SlotRing
from sonod.daemon.runner import Runner
from sonod.daemon.session import Session
from sonod.daemon.settings_file import dump_settings, parse_settings
from sonod.daemon.shared_memory import SharedMemory
from sonod.daemon.state import StateKeeper
from sonod.daemon.subscriptions import PRODUCTS
from sonod.daemon.switch import SwitchDesk
from sonod.drivers.base import Driver
from sonod.drivers.errors import SettingsRefused
from sonod.drivers.rules import rules_for

Result = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Addresses:
    """Where the daemon can be reached."""

    frames: tuple[str, ...]
    controls: tuple[str, ...]
    viewer: str | None
    latest: tuple[str, ...] = ()

    @property
    def control(self) -> str:
        return self.controls[0]


@dataclass(frozen=True)
class Services:
    """The parts of the daemon that commands act on."""

    driver: Driver
    reader: Reader
    planner: Planner
    ring: SlotRing
    runner: Runner
    recorder: Recorder
    clipper: Clipper
    cine: CineKeeper
    mark: Callable[[Mark], None]
    states: StateKeeper
    session: Session
    presets: Mapping[str, Preset]
    leases: LeaseDesk
    addresses: Callable[[], Addresses]
    publisher: Publisher
    shared: SharedMemory
    health: Callable[[], tuple[Health, str]]
    switches: SwitchDesk
    # Where callers with keys may record; None = nowhere.
    recordings: Path | None = None
    # Where a service may write in any case; None = this is none.
    state_directory: Path | None = None

    @property
    def clips(self) -> Path | None:
        """Where clips without a path go; None = nowhere."""
        return self.recordings or self.state_directory


class Commands:
    """Executes requests, on the control thread alone. A command that must wait gives a future instead of a result."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._started_ns = services.session.monotonic_ns()
        self._caller = LOCAL
        self._handlers: Mapping[str, tuple[type[Arguments], Callable[[Any], Result | Future[Result]]]] = {
            "describe": (NoArguments, self._describe),
            "get": (GetArguments, self._get),
            "set": (SetArguments, self._set),
            "preset": (PresetArguments, self._preset),
            "save": (NoArguments, self._save),
            "load": (LoadArguments, self._load),
            "freeze": (NoArguments, lambda arguments: self._ask(Wish.FREEZE)),
            "unfreeze": (TransmitArguments, lambda arguments: self._transmit(arguments, "unfreeze")),
            "start": (TransmitArguments, lambda arguments: self._transmit(arguments, "start")),
            "stop": (NoArguments, lambda arguments: self._ask(Wish.STOP)),
            "status": (NoArguments, self._status),
            "record": (RecordArguments, self._record),
            "clip": (ClipArguments, self._clip),
            "mark": (MarkArguments, self._mark),
            "lease": (LeaseArguments, self._lease),
            "shared_memory": (SharedMemoryArguments, self._share),
            "switch": (SwitchArguments, self._switch),
        }

    @property
    def leases(self) -> LeaseDesk:
        return self._services.leases

    def execute(self, request: Request, caller: Caller = LOCAL) -> Result | Future[Result]:
        """The result of a caller's request, or a future of it; CommandError when it is refused."""
        known = self._handlers.get(request.command)
        if known is None:
            raise CommandError(
                "unknown_command", f"{request.command!r}: no such command; there are {', '.join(self._handlers)}"
            )
        # What a lease request needs depends on its action.
        if request.command != "lease":
            caller.require(request.command)
        model, handler = known
        self._caller = caller
        return handler(parse_arguments(model, request.command, request.arguments))

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
            "probe": None if present is None else probe_block(present),
            "state": services.states.state,
            "revision": None if present is None else present.settings.revision,
            "knobs": []
            if present is None
            else [knob_block(knob, present, self.leases.holder_of(knob)) for knob in present.knobs.values()],
            "lease": self.leases.block(),
            "products": PRODUCTS,
            "rules": []
            if present is None
            else [{"knobs": rule.knobs, "text": rule.text} for rule in rules_for(present.knobs)],
            "presets": [preset_block(preset, present) for preset in services.presets.values()],
            "commands": tuple(self._handlers),
            "frames": addresses.frames,
            "control": addresses.control,
            "controls": addresses.controls,
            "viewer": addresses.viewer,
            "latest": next(iter(addresses.latest), None),
            "latests": addresses.latest,
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
                "link": asdict(services.driver.link_counters),
                "temperature_c": services.driver.temperature_c,
            },
            "stages": services.runner.stages.block(),
            "ledger": services.publisher.ledger.block(),
            "wanted": sorted(services.publisher.wanted),
            "shared_memory": services.shared.block(),
            "subscribers": services.publisher.block(),
            "recording": services.recorder.block(),
            "clip": {**services.clipper.block(), "folder": None if services.clips is None else str(services.clips)},
            "cine": services.cine.block(),
            "lease": self.leases.block(),
            "switch": services.switches.block(),
        }

    def _share(self, arguments: SharedMemoryArguments) -> Result:
        if arguments.product not in PRODUCTS:
            line = f"shared_memory: product: must be one of {', '.join(PRODUCTS)}; got {arguments.product!r}"
            raise CommandError("invalid", line, (line,))
        return self._services.shared.open(arguments.product, arguments.ttl_s)

    # -- changing --------------------------------------------------------------------------------------------------

    def _set(self, arguments: SetArguments) -> Result | Future[Result]:
        return self._change(arguments.changes, arguments.expected_revision, arguments.lease)

    def _preset(self, arguments: PresetArguments) -> Result | Future[Result]:
        preset = self._services.presets.get(arguments.name)
        if preset is None:
            names = list(self._services.presets)
            line = f"preset {arguments.name!r}: not known{suggestion(arguments.name, names)}"
            raise CommandError("invalid", line, (line,))
        try:
            changes = preset.changes_for(self._present())
        except SettingsRefused as error:
            raise CommandError("refused", str(error), error.problems) from error
        return self._change(changes, arguments.expected_revision, arguments.lease)

    def _save(self, arguments: NoArguments) -> Result:
        services, present = self._services, self._present()
        settings = present.settings
        remarks = (
            f"Settings of {present.acquisition.probe.name} ({services.driver.uri.text}), revision {settings.revision}.",
            "Use it with `sonod load FILE`, as a preset, or as the configuration of `sonod run`.",
        )
        values = {name: settings.value(name) for name in present.knobs}
        return {"revision": settings.revision, "file": dump_settings(values, remarks)}

    def _load(self, arguments: LoadArguments) -> Future[Result]:
        try:
            changes = parse_settings(arguments.file, self._present().knobs)
        except ValueError as error:
            lines = [f"file: {line}" for line in str(error).splitlines()]
            raise CommandError("refused", "; ".join(lines), lines) from error
        return self._change(changes, arguments.expected_revision, arguments.lease, whole=True)

    def _change(
        self, changes: Mapping[str, Any], expected_revision: int | None, lease: str | None, *, whole: bool = False
    ) -> Future[Result]:
        present = self._present()
        for name in changes:
            knob = present.knobs.get(name)
            if knob is not None and knob.needs_lease:
                self.leases.require(lease, f"set {name}")
        return _then(self._services.planner.change(changes, expected_revision, whole=whole), change_block)

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
        if self._caller.remote:
            check_place(arguments.path, self._services.recordings, "record")
        return _explained(recorder.start(arguments.path, arguments.seconds), arguments.path, self._services)

    def _clip(self, arguments: ClipArguments) -> Future[Result]:
        services = self._services
        utc_s = services.session.utc.utc_of(services.session.monotonic_ns()) / 1e9
        path = clip_place(arguments.path, services.clips, utc_s)
        if self._caller.remote:
            check_place(str(path), services.recordings, "clip")
        return _explained(services.clipper.save(path, arguments.before_s, arguments.after_s), str(path), services)

    def _mark(self, arguments: MarkArguments) -> Result:
        services = self._services
        now_ns = services.session.monotonic_ns()
        mark = Mark(
            arguments.phase,
            arguments.site,
            arguments.side,
            arguments.text,
            services.reader.frame,
            now_ns,
            services.session.check().utc_of(now_ns),
        )
        services.mark(mark)
        return {"frame": mark.frame, "monotonic_ns": mark.monotonic_ns}

    def _lease(self, arguments: LeaseArguments) -> Result:
        return self.leases.act(arguments, self._caller)

    def _switch(self, arguments: SwitchArguments) -> Result:
        services = self._services
        if self._caller.remote:
            # A driver's URI may name any file of this machine.
            raise CommandError("forbidden", "switch: only on the daemon's machine, and not with a key")
        self.leases.require(arguments.lease, "switch")
        writers = {"a recording runs": services.recorder.block(), "a clip is saved": services.clipper.block()}
        busy = " and ".join(line for line, block in writers.items() if block["active"])
        services.switches.ask(arguments.driver, busy)
        return {"from": services.driver.uri.text, "to": arguments.driver, "session": services.session.id}

    def _present(self) -> Present:
        present = self._services.planner.present
        if present is None:
            situation = self._services.states.situation
            raise CommandError("unavailable", f"no probe has been opened yet ({situation.state}: {situation.reason})")
        return present


def _explained(future: Future[Result], path: str, services: Services) -> Future[Result]:
    """The same, a refusal saying where a service may write, to which places elsewhere are hidden or closed."""
    state = services.state_directory
    if state is None or Path(path).is_relative_to(state):
        return future

    def explain(error: BaseException) -> BaseException:
        if not isinstance(error, CommandError) or error.code != "refused":
            return error
        told = f"{error}; as a service sonod writes below {state}, and sees neither home directories nor others' /tmp"
        return CommandError(error.code, told, error.problems)

    return _then(future, lambda result: result, explain)


def _then(
    future: Future[T],
    convert: Callable[[T], Result],
    explain: Callable[[BaseException], BaseException] = lambda error: error,
) -> Future[Result]:
    """The future of the converted result, or of the explained error."""
    converted: Future[Result] = Future()

    def done(finished: Future[T]) -> None:
        if finished.cancelled():
            converted.set_exception(CommandError("unavailable", "the daemon is leaving"))
            return
        error = finished.exception()
        if error is not None:
            converted.set_exception(explain(error))
        else:
            converted.set_result(convert(finished.result()))

    future.add_done_callback(done)
    return converted

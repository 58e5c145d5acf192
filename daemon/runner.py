"""The thread that turns raw frames into products."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import structlog

from sonod.client.wire.geometry import Geometry
from sonod.client.wire.header import FrameHeader, Losses, NeedleTruth, Truth, Value
from sonod.client.wire.times import DeviceClock, Times
from sonod.client.wire.topic import probe_slug
from sonod.daemon.cine.keeper import CineKeeper
from sonod.daemon.pipeline.geometry import channel_geometry
from sonod.daemon.pipeline.labels import label_names
from sonod.daemon.pipeline.plan import Plan
from sonod.daemon.pipeline.product import Product
from sonod.daemon.preview import PICTURE, PREVIEW, PreviewMaker
from sonod.daemon.ring import Place, SlotRing
from sonod.daemon.session import Session
from sonod.daemon.shared_memory import RAW, SharedMemory
from sonod.daemon.stages import StageTable
from sonod.daemon.subscriptions import PRODUCTS
from sonod.drivers.clock import ClockLine
from sonod.drivers.frame import Configuration, DataKind, GroundTruth, Slot

# How long the thread sleeps at most before it looks whether it must end.
TAKE_TIMEOUT_S = 0.2
# What is made even if nobody else wants it.
KEPT = frozenset({PICTURE})
SEND_ORDER = {name: place for place, name in enumerate(PRODUCTS)}


@dataclass(frozen=True, eq=False)
class Outgoing:
    """A frame ready to be sent, but for the time of sending and the account of its streams. `payload` is a copy of its
    own that nobody writes to."""

    header: FrameHeader
    payload: bytes


@dataclass(frozen=True, eq=False)
class Installed:
    """A plan with what every frame made by it says: the probe's name in topics, and the knobs' values."""

    plan: Plan
    probe: str
    settings: Mapping[str, Value]


class Outlet(Protocol):
    """Where messages go; never blocks."""

    @property
    def wanted(self) -> frozenset[str]:
        """The products that somebody subscribes to."""

    @property
    def again(self) -> frozenset[str]:
        """The products of the last frame that somebody asks for, should no new one come."""

    def put(self, message: Outgoing) -> bool:
        """Take a message; False when an older one had to be dropped for it."""


class Runner:
    """Takes frames from the ring, runs the plan of their configuration, and passes on what is wanted."""

    def __init__(
        self,
        ring: SlotRing,
        outlet: Outlet,
        session: Session,
        shared: SharedMemory,
        cine: CineKeeper,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        alive: Callable[[], None] = lambda: None,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self._shared = shared
        self._cine = cine
        self._raw_geometry: tuple[Configuration, Geometry] | None = None
        self.stages = StageTable()
        self.failed = 0
        self.processed = 0
        self.last_failure = ""
        # Plans that were let go of.
        self.plans_dropped = 0
        self.device_clock: DeviceClock | None = None
        self._ring = ring
        self._outlet = outlet
        self._session = session
        self._monotonic_ns = monotonic_ns
        self._alive = alive
        self._begin = begin
        self._preview = PreviewMaker()
        self._plans: deque[Installed] = deque()
        self._plans_lock = threading.Lock()
        self._leaving = False
        # The last frame stays here, for newcomers while none comes after it.
        self._held: Place | None = None
        self._log = structlog.get_logger()
        self._thread = threading.Thread(target=self._run, name="sonod-runner")

    # -- any thread ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def leave(self, timeout_s: float) -> bool:
        """End the thread; False when that took longer than allowed."""
        self._leaving = True
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def install(self, plan: Plan, knobs: Iterable[str]) -> None:
        """Have the plan ready before the first frame of its configuration arrives; `knobs` are those in use."""
        settings = plan.configuration.settings
        probe = probe_slug(plan.configuration.acquisition.probe.name)
        installed = Installed(plan, probe, {name: settings.value(name) for name in knobs})
        with self._plans_lock:
            self._plans.append(installed)

    def withdraw(self, plan: Plan) -> None:
        """Forget a plan whose configuration was not taken."""
        with self._plans_lock:
            self._plans = deque(installed for installed in self._plans if installed.plan is not plan)
            self.plans_dropped += 1

    def tap(self, slot: Slot) -> None:
        """Write a raw frame into shared memory if somebody reads it there; on the reader's thread, before processing
        can lose it."""
        if RAW not in self._shared.wanted or slot.configuration is None:
            return
        configuration = slot.configuration
        with self._plans_lock:
            found = [installed for installed in self._plans if installed.plan.configuration is configuration]
        if not found or configuration.acquisition.kind is DataKind.IMAGE:
            return
        if self._raw_geometry is None or self._raw_geometry[0] is not configuration:
            self._raw_geometry = (configuration, channel_geometry(configuration.acquisition))
        now_ns = self._monotonic_ns()
        losses = Losses(self._ring.device_lost + slot.lost)
        product = Product(RAW, slot.data, self._raw_geometry[1])
        self._shared.write(self._header(slot, found[0], product, losses, now_ns, now_ns), slot.data)

    # -- the runner's thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._begin()
        while not self._leaving:
            self._alive()
            place = self._ring.take(TAKE_TIMEOUT_S)
            try:
                if place is None:
                    self._repeat()
                    continue
                if self._held is not None:
                    self._ring.give_back(self._held)
                self._held = place
                self._process(place)
            except Exception as error:  # noqa: BLE001  one bad frame must not end the picture for good
                self._fail(place, error)

    def _repeat(self) -> None:
        """Make the last frame again for somebody who came after it."""
        place, again = self._held, self._outlet.again
        if place is None or not again or place.slot.configuration is None:
            return
        dequeued_ns = self._monotonic_ns()
        installed = self._installed_for(place.slot.configuration)
        losses = Losses(place.device_lost, place.ring_lost, self.failed)
        products = self._run_plan(installed.plan, place.slot, again)
        processed_ns = self._monotonic_ns()
        for product in products:
            message = self._message(place, installed, product, losses, dequeued_ns, processed_ns)
            self._outlet.put(replace(message, header=replace(message.header, repeated=True)))

    def _run_plan(self, plan: Plan, slot: Slot, wanted: frozenset[str]) -> tuple[Product, ...]:
        """The wanted products, the reduced picture among them."""
        if PREVIEW not in wanted:
            return plan.run(slot, wanted)
        products = plan.run(slot, (wanted - {PREVIEW}) | {PICTURE})
        previews = [self._preview.of(product) for product in products if product.name == PICTURE]
        return (*(product for product in products if product.name in wanted), *previews)

    def _process(self, place: Place) -> None:
        slot = place.slot
        # Raw frames are written there by the reader already.
        published, shared = self._outlet.wanted, self._shared.wanted - {RAW}
        wanted = published | shared | (KEPT if self._cine.makes_pictures else frozenset())
        dequeued_ns = self._monotonic_ns()
        self.stages.add("wait", dequeued_ns - slot.last_byte_ns)
        assert slot.configuration is not None
        installed = self._installed_for(slot.configuration)
        plan = installed.plan
        self.device_clock = _device_clock(slot.device_clock)
        if not wanted:
            return
        products = self._run_plan(plan, slot, wanted)
        processed_ns = self._monotonic_ns()
        for name, duration_ns in plan.stage_durations_ns.items():
            self.stages.add(name, duration_ns)
        self.stages.add("processing", processed_ns - dequeued_ns)
        losses = Losses(place.device_lost, place.ring_lost, self.failed)
        # The picture first: for a subscriber that cannot take everything, the rest is what is dropped.
        for product in sorted(products, key=lambda product: SEND_ORDER.get(product.name, len(SEND_ORDER))):
            if product.name in shared:
                header = self._header(slot, installed, product, losses, dequeued_ns, processed_ns)
                self._shared.write(header, product.data)
            if product.name not in published:
                continue
            self._outlet.put(self._message(place, installed, product, losses, dequeued_ns, processed_ns))
        self.processed += 1
        self.stages.add("hand_over", self._monotonic_ns() - processed_ns)
        self._keep(place, plan, products)

    def _keep(self, place: Place, plan: Plan, products: tuple[Product, ...]) -> None:
        """The picture for clips and what recordings note of it; after everything has been handed over."""
        if not self._cine.makes_pictures:
            return
        begun_ns = self._monotonic_ns()
        for product in products:
            if product.name == PICTURE:
                self._cine.picture(place, plan, product, self.failed)
        self.stages.add("keep", self._monotonic_ns() - begun_ns)

    def _message(
        self, place: Place, installed: Installed, product: Product, losses: Losses, dequeued_ns: int, processed_ns: int
    ) -> Outgoing:
        data = product.data
        if data.dtype.byteorder == ">":
            data = data.astype(data.dtype.newbyteorder("<"))
        header = self._header(place.slot, installed, product, losses, dequeued_ns, processed_ns)
        return Outgoing(header, np.ascontiguousarray(data).tobytes())

    def _header(
        self, slot: Slot, installed: Installed, product: Product, losses: Losses, dequeued_ns: int, processed_ns: int
    ) -> FrameHeader:
        data = product.data
        return FrameHeader(
            product=product.name,
            frame=slot.number,
            session=self._session.id,
            revision=installed.plan.configuration.settings.revision,
            probe=installed.probe,
            shape=data.shape,
            dtype=data.dtype.name,
            geometry=product.geometry,
            times=Times(
                first_byte_ns=slot.first_byte_ns,
                last_byte_ns=slot.last_byte_ns,
                dequeued_ns=dequeued_ns,
                processed_ns=processed_ns,
                published_ns=0,
                utc=self._session.utc,
                transmit_ns=slot.transmit_ns or None,
                transmit_uncertainty_ns=slot.transmit_uncertainty_ns if slot.transmit_uncertainty_ns >= 0 else None,
                device_ticks=slot.device_ticks if slot.device_ticks >= 0 else None,
                device_clock=_device_clock(slot.device_clock),
            ),
            losses=losses,
            settings=installed.settings,
            truth=_truth(slot.truth, product.name),
            settling=slot.settling,
        )

    def _installed_for(self, configuration: Configuration) -> Installed:
        """The plan of this configuration; older ones are not needed any more, because frames come in order."""
        with self._plans_lock:
            while not self._plans or self._plans[0].plan.configuration is not configuration:
                if not any(installed.plan.configuration is configuration for installed in self._plans):
                    raise LookupError(f"no plan for revision {configuration.settings.revision}")
                self._plans.popleft()
                self.plans_dropped += 1
            return self._plans[0]

    def _fail(self, place: Place | None, error: Exception) -> None:
        """A frame is lost; a failed repetition (None) is no loss, and is tried again."""
        self.failed += place is not None
        failure = f"{type(error).__name__}: {error}"
        if failure != self.last_failure:
            self.last_failure = failure
            frame = None if place is None else place.slot.number
            self._log.error("processing_failed", frame=frame, reason=failure, exc_info=error)


def _truth(truth: GroundTruth | None, product: str) -> Truth | None:
    if truth is None:
        return None
    needle = truth.needle
    return Truth(
        truth.scene_time_s,
        None if needle is None else NeedleTruth(needle.tip_m, needle.shaft_m, needle.diameter_m),
        truth.transmit_ns,
        label_names(truth.tissues) if product == "labels" and truth.tissues is not None else (),
    )


def _device_clock(clock: ClockLine | None) -> DeviceClock | None:
    """What the driver knows of its device's clock, as the wire says it."""
    if clock is None:
        return None
    return DeviceClock(
        clock.ticks,
        clock.host_ns,
        clock.ns_per_tick,
        clock.uncertainty_ns,
        clock.drift_uncertainty,
        clock.residual_ns,
        clock.epoch,
    )

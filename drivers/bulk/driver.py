"""The driver behind `bulk:`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.cext.wire import crc32c, deinterleave, unpack
from sonod.drivers.base import Driver, Uri
from sonod.drivers.bulk.frontend import FrontEnd
from sonod.drivers.bulk.plan import Plan, fits, make_plan, same_table
from sonod.drivers.bulk.protocol import (
    BULK_IN,
    DEVICE_TICK_NS,
    HEADER_BYTES,
    Capabilities,
    Format,
    Geometry,
    Header,
    Layout,
    message_bytes,
)
from sonod.drivers.bulk.ranges import knobs_of, probe_of
from sonod.drivers.device_time import DeviceTime
from sonod.drivers.emulated.local import local_backend
from sonod.drivers.errors import DeviceNotFound, DriverError, DriverTimeout, ProtocolError
from sonod.drivers.frame import Configuration, Slot
from sonod.drivers.link_counters import LinkCounters
from sonod.drivers.options import choice_option
from sonod.drivers.pacing import Clock, MonotonicClock
from sonod.drivers.probe import Probe
from sonod.drivers.settings import Knob, Settings
from sonod.drivers.simulated.driver import DEFAULT_SCENE, known_scene
from sonod.drivers.simulated.scan import Scan
from sonod.drivers.transports.bulk import open_stream
from sonod.drivers.transports.resync import MagicLengthCrc, Resynchroniser, SequenceCheck, StreamCounters
from sonod.drivers.transports.ring import Policy
from sonod.drivers.transports.stream import ByteStream, TransferTotals
from sonod.drivers.transports.usb import Selector

# What gives way when nobody reads: the oldest bytes, so that pictures stay live; or the device, which is asked for no
# more and counts what it then drops.
POLICIES = {"drop": Policy.DROP_OLDEST, "park": Policy.PARK}
USUAL_SCAN = {Geometry.LINEAR: Scan.PLANE, Geometry.OTHER: Scan.SYNTHETIC}
# The identity that pid.codes keeps for tests, which the emulated front-end has; a product has its own.
TEST_ID = (0x1209, 0x0001)


class BulkDriver(Driver):
    """An array front-end on USB; every shot is one message, a table's shots make one frame."""

    summary = "an array front-end that speaks the bulk RF protocol (tried on an emulated one only)"
    uri_form = (
        "bulk:VID:PID[:SERIAL]?sequence=KIND&format=FORMAT&layout=ORDER&overrun=drop|park"
        ", or bulk:?emulated=1&scene=NAME|FILE&probe=NAME"
    )
    needs = "a front-end with docs/bulk-rf-protocol.md in its firmware and a udev rule; with emulated=1 nothing"
    usb_ids = (TEST_ID,)
    # Asks for the capabilities first, and goes no further when there are none.
    opens_harmlessly = True

    def __init__(self, uri: Uri | str, backend: Any = None, clock: Clock | None = None) -> None:
        super().__init__(uri)
        self.uri.reject_unknown(("emulated", "scene", "probe", "sequence", "format", "layout", "overrun"))
        self._emulated = choice_option(self.uri, "emulated", "0", ("0", "1")) == "1"
        self._scan = choice_option(self.uri, "sequence", "", ("", *Scan))
        self._format = Format[choice_option(self.uri, "format", "i16", [form.name.lower() for form in Format]).upper()]
        self._layout = Layout[choice_option(self.uri, "layout", "channels", ("channels", "samples")).upper()]
        self._probe_name = choice_option(self.uri, "probe", "", ("", "linear", "curvilinear", "phased"))
        self._scene = self.uri.options.get("scene", DEFAULT_SCENE)
        for name in {"scene", "probe"} & set(self.uri.options) if not self._emulated else ():
            raise DeviceNotFound(f"driver URI {self.uri.text!r}: {name} is for emulated=1")
        if self._emulated:
            known_scene(self.uri, self._scene)
        self._policy = POLICIES[choice_option(self.uri, "overrun", "drop", tuple(POLICIES))]
        self._selector = _selector(self.uri)
        self._backend = backend
        self._clock = clock or MonotonicClock()
        self._time = DeviceTime(DEVICE_TICK_NS)
        self._device: FrontEnd | None = None
        self._declared: Mapping[str, Knob] = {}
        self._probe: Probe | None = None
        self.stream_counters = StreamCounters()
        self._sequence = SequenceCheck(self.stream_counters, 1 << 32)
        self._transfers = TransferTotals()
        self._stream: ByteStream | None = None
        self._resync: Resynchroniser | None = None
        self._plan: Plan | None = None
        self._table_number = 0
        # The frame being put together: which shot comes next, and the first shot's number in the sequence.
        self._next_shot = 0
        self._first: int | None = None
        # When that shot's message came, and when the device says that it fired.
        self._first_came_ns = self._first_device_ns = 0
        self._last_first: int | None = None
        self._parked: NDArray[Any] | None = None
        self._scratch = np.zeros(0, np.uint8)
        self._middle = np.zeros(0, np.int16)

    @property
    def probe(self) -> Probe:
        if self._probe is None:
            raise DriverError(f"{self.uri.text}: must be open, is {self.state}")
        return self._probe

    @property
    def serial(self) -> str:
        return self._device.identity.serial if self._device is not None else ""

    @property
    def firmware(self) -> str:
        """What the front-end says of its own firmware; '' before open."""
        return self._device.capabilities.firmware if self._device is not None else ""

    @property
    def link_counters(self) -> LinkCounters:
        return self.stream_counters.link(self._transfers.errors, self._transfers.halts)

    @property
    def front_end(self) -> FrontEnd:
        """The conversation itself, for the conformance checker; only after `open`."""
        return self._opened

    @property
    def clock(self) -> Clock:
        """What times are measured with."""
        return self._clock

    # -- life ----------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        backend = self._backend
        if self._emulated and backend is None:
            backend = local_backend("bulk", phantom=self._scene, probe=self._probe_name)
        device = FrontEnd.open(self._selector, backend, self._clock, self._time)
        try:
            self._probe = probe_of(device.capabilities)
            if self._format not in device.capabilities.formats:
                raise DeviceNotFound(
                    f"driver URI {self.uri.text!r}: the front-end has no format {self._format.name.lower()}; it has "
                    + ", ".join(sorted(form.name.lower() for form in device.capabilities.formats))
                )
            self._declared = knobs_of(device.capabilities, self._probe, self._usual_scan(device.capabilities))
        except BaseException:
            device.close()
            raise
        self._device = device
        self.stream_counters = StreamCounters()
        self._sequence = SequenceCheck(self.stream_counters, 1 << 32)
        self._transfers = TransferTotals()
        self._plan = None

    def _close(self) -> None:
        self._end_stream()
        if self._device is not None:
            self._device.close()
        self._device = None

    def _knobs(self) -> Mapping[str, Knob]:
        return self._declared

    def _prepare(self, settings: Settings) -> Configuration:
        own, probe = self._opened.capabilities, self.probe
        form, layout = self._format, self._layout
        acquisition, plan = make_plan(settings, own, probe, self._usual_scan(own), form, layout)
        return Configuration(settings, acquisition, plan)

    def _apply(self, configuration: Configuration) -> None:
        plan = configuration.detail
        assert isinstance(plan, Plan)
        if self._plan is not None and same_table(plan.table, self._plan.table):
            return
        device = self._opened
        number = self._table_number % 0xFFFF + 1
        device.load(plan.table, number)
        if self._stream is not None:
            device.select(number)
        # Only now: a device that refuses goes on with what it had, and so does a frame of which half has come.
        self._reserve(plan)
        self._table_number, self._plan = number, plan
        self._next_shot = 0
        self._first = None

    def _start(self) -> None:
        plan = self._plan
        assert plan is not None
        device = self._opened
        device.stop()
        self._stream = open_stream(
            device.usb, BULK_IN, HEADER_BYTES + plan.payload_bytes, self._clock.now_ns, self._policy
        )
        framing = MagicLengthCrc(b"SRF1", HEADER_BYTES, message_bytes, 1 << 30)
        self._resync = Resynchroniser(self._stream, framing, self.stream_counters, self._clock.now_ns)
        self._sequence.restart()
        self._next_shot = 0
        self._first = None
        status = device.arm_and_start(self._table_number)
        # From here on every number is expected: what is lost before the first frame is counted too.
        self._sequence.follow((status.sequence - 1) & 0xFFFFFFFF, status.drops)
        self._last_first = (status.sequence - len(plan.table.shots)) & 0xFFFFFFFF

    def _stop(self) -> None:
        try:
            self._opened.stop()
        finally:
            self._end_stream()

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._transfers.end(self._stream.counters)
        self._stream = self._resync = None

    # -- data ----------------------------------------------------------------------------------------------------------

    def _read_into(self, slot: Slot, timeout_s: float) -> None:
        stream = self._stream
        assert stream is not None
        try:
            self._read_shots(slot, stream, timeout_s)
        finally:
            self._transfers.see(stream.counters)

    def _read_shots(self, slot: Slot, stream: ByteStream, timeout_s: float) -> None:
        clock, device = self._clock, self._opened
        assert self._resync is not None
        deadline = clock.now_ns() + int(timeout_s * 1e9)
        if self._next_shot and self._parked is not None:
            np.copyto(slot.data[: self._next_shot], self._parked[: self._next_shot])
        while True:
            device.keep_alive()
            # Never so long that the watchdog starves.
            wait_s = min((deadline - clock.now_ns()) / 1e9, device.patience_s)
            try:
                length = self._resync.next(max(wait_s, 0.0))
            except DriverTimeout:
                if clock.now_ns() < deadline:
                    continue
                self._park(slot)
                raise
            if self._shot(slot, stream, length):
                return
            if clock.now_ns() >= deadline:
                self._park(slot)
                raise DriverTimeout(f"{self.uri.text}: no whole frame within {timeout_s:g} s")

    def _park(self, slot: Slot) -> None:
        """Keep the shots that are there: the next call may come with another slot."""
        if self._next_shot and self._parked is not None:
            np.copyto(self._parked[: self._next_shot], slot.data[: self._next_shot])

    def _shot(self, slot: Slot, stream: ByteStream, length: int) -> bool:
        """Take the message at the front of the stream; whether it completes a frame."""
        plan = self._plan
        assert plan is not None
        assert self._resync is not None
        header = Header.from_bytes(stream.peek(HEADER_BYTES))
        table = plan.table
        wanted = header.table == self._table_number
        if wanted and not fits(header, table):
            raise ProtocolError(
                f"{self._opened.usb.name}: shot {header.shot} of {header.channels} x {header.samples} samples in "
                f"{header.format.name} is not what table {header.table} asked for"
            )
        # A frame's next shot goes to its place at once; anything else is only checked.
        begins = header.shot == 0
        place = slot.data[header.shot] if wanted and (begins or header.shot == self._next_shot) else None
        if not self._check(stream, header, place):
            self._resync.damaged(length)
            return False
        came_ns = stream.byte_ns
        stream.skip(length)
        missing = self._sequence.follow(header.sequence, header.drops)
        if missing < 0:
            return False
        first = (header.sequence - header.shot) & 0xFFFFFFFF
        if not wanted:
            # Fired before the change of settings took effect: complete, but nobody's any more.
            self._last_first = first
            self._next_shot = 0
            return False
        if begins:
            self._first, self._next_shot = first, 0
            self._first_came_ns, self._first_device_ns = came_ns, header.device_ns
        if header.shot != self._next_shot or first != self._first:
            # A shot before it is missing, and the frame with it.
            self._next_shot = 0
            self._first = None
            return False
        assert place is not None
        self._place(header, place)
        self._next_shot += 1
        if self._next_shot < len(table.shots):
            return False
        self._next_shot = 0
        if self._last_first is not None:
            slot.lost = max(0, ((first - self._last_first) & 0xFFFFFFFF) // len(table.shots) - 1)
        self._last_first = first
        slot.first_byte_ns, slot.last_byte_ns = self._first_came_ns, came_ns
        self._time.stamp(slot, self._first_device_ns, self._first_came_ns)
        return True

    def _check(self, stream: ByteStream, header: Header, place: NDArray[Any] | None) -> bool:
        """Bring the payload to where it can be used, and compare its CRC."""
        direct = place is not None and header.format.packing is None and header.layout is Layout.CHANNELS
        if direct and place is not None:
            target = place.reshape(-1).view(np.uint8).data
        else:
            if len(self._scratch) < header.payload_bytes:
                self._scratch = np.zeros(header.payload_bytes, np.uint8)
            target = self._scratch[: header.payload_bytes].data
        stream.copy_into(target, HEADER_BYTES)
        return crc32c(target) == header.payload_crc

    def _place(self, header: Header, place: NDArray[Any]) -> None:
        """From the scratch memory to the slot: unpacked, channel by channel."""
        packing, count = header.format.packing, header.channels * header.samples
        mixed = header.layout is Layout.SAMPLES
        if packing is None:
            if mixed:
                shape = (header.samples, header.channels, *place.shape[2:])
                deinterleave(self._scratch[: header.payload_bytes].view(np.int16).reshape(shape), place)
            return
        out = self._middle[:count] if mixed else place.reshape(-1)
        unpack(self._scratch[: header.payload_bytes], packing, out, 1 << (header.bits - 1))
        if mixed:
            deinterleave(out.reshape(header.samples, header.channels), place)

    # -- helpers -------------------------------------------------------------------------------------------------------

    @property
    def _opened(self) -> FrontEnd:
        if self._device is None:
            raise DriverError(f"{self.uri.text}: must be open, is {self.state}")
        return self._device

    def _usual_scan(self, own: Capabilities) -> Scan:
        return Scan(self._scan or USUAL_SCAN.get(own.geometry, Scan.DIVERGING))

    def _reserve(self, plan: Plan) -> None:
        """Memory for one shot on its way and one frame in parts, so that streaming allocates nothing."""
        table = plan.table
        count = table.channel_count * table.samples
        if len(self._scratch) < plan.payload_bytes:
            self._scratch = np.zeros(plan.payload_bytes, np.uint8)
        if len(self._middle) < count:
            self._middle = np.zeros(count, np.int16)
        shape: tuple[int, ...] = (len(table.shots), table.channel_count, table.samples)
        self._parked = np.zeros((*shape, 2) if table.format is Format.IQ16 else shape, np.int16)


def _selector(uri: Uri) -> Selector:
    """VID:PID, VID:PID:SERIAL, or a serial or nothing with the test identity."""
    parts = uri.rest.split(":", 2)
    if len(parts) == 1:
        return Selector(*TEST_ID, serial=uri.rest)
    try:
        vendor, product = int(parts[0], 16), int(parts[1], 16)
    except ValueError:
        vendor = product = -1
    if not (0 <= vendor <= 0xFFFF and 0 <= product <= 0xFFFF):
        raise DeviceNotFound(
            f"driver URI {uri.text!r}: must be bulk:VID:PID with hexadecimal numbers, for example bulk:1209:0001, "
            "or bulk:?emulated=1"
        )
    return Selector(vendor, product, parts[2] if len(parts) > 2 else "")

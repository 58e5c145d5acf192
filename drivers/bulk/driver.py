"""The driver behind `bulk:`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.cext.wire import crc32c, deinterleave, unpack
from sonod.drivers.base import Driver, Uri
from sonod.drivers.bulk.frontend import FrontEnd
from sonod.drivers.bulk.protocol import (
    BULK_IN,
    HEADER_BYTES,
    TICK_S,
    Capabilities,
    Flag,
    Format,
    Geometry,
    Header,
    Layout,
    message_bytes,
)
from sonod.drivers.bulk.table import NOT_CONNECTED, SILENT, Shot, Table
from sonod.drivers.directivity import natural_f_number
from sonod.drivers.emulated.local import local_backend
from sonod.drivers.errors import DeviceNotFound, DriverError, DriverTimeout, ProtocolError, SettingsRefused
from sonod.drivers.frame import Acquisition, Configuration, DataKind, SampleFormat, Slot
from sonod.drivers.options import choice_option
from sonod.drivers.pacing import Clock, MonotonicClock
from sonod.drivers.probe import ArrayKind, Probe
from sonod.drivers.sequence import Sequence, TransmitEvent
from sonod.drivers.settings import KNOBS, Knob, Settings
from sonod.drivers.simulated.driver import DEFAULT_SCENE, known_scene
from sonod.drivers.simulated.scan import Scan, transmissions
from sonod.drivers.transports.bulk import open_stream
from sonod.drivers.transports.resync import MagicLengthCrc, Resynchroniser, SequenceCheck, StreamCounters
from sonod.drivers.transports.ring import Policy
from sonod.drivers.transports.stream import ByteStream
from sonod.drivers.transports.usb import Selector

SOUND_SPEED_M_S = 1540.0
KINDS = {
    Geometry.LINEAR: ArrayKind.LINEAR,
    Geometry.CURVILINEAR: ArrayKind.CURVILINEAR,
    Geometry.PHASED: ArrayKind.PHASED,
    Geometry.OTHER: ArrayKind.ARBITRARY,
}
# What gives way when nobody reads: the oldest bytes, so that pictures stay live; or the device, which is asked for no
# more and counts what it then drops.
POLICIES = {"drop": Policy.DROP_OLDEST, "park": Policy.PARK}
USUAL_SCAN = {Geometry.LINEAR: Scan.PLANE, Geometry.OTHER: Scan.SYNTHETIC}
# Echoes come back from up to this much farther than straight up, at an f-number of 1.5; and the pulse takes time.
LONGEST_WAY_BACK = 1.06
PULSE_PERIODS = 4
# The drive that a table asks for: two cycles.
HALF_CYCLES = 4
# A pulse of two cycles has its peak about so many periods after it began.
PULSE_DELAY_PERIODS = 1.5
# The identity that pid.codes keeps for tests, which the emulated front-end has; a product has its own.
TEST_ID = (0x1209, 0x0001)


@dataclass(frozen=True, eq=False)
class _Plan:
    """What a configuration means to the device; `table.number` is given when it is loaded."""

    table: Table
    payload_bytes: int


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
        self._device: FrontEnd | None = None
        self._declared: Mapping[str, Knob] = {}
        self._probe: Probe | None = None
        self.stream_counters = StreamCounters()
        self._sequence = SequenceCheck(self.stream_counters, 1 << 32)
        self._stream: ByteStream | None = None
        self._resync: Resynchroniser | None = None
        self._plan: _Plan | None = None
        self._table_number = 0
        # The frame being put together: which shot comes next, and the first shot's number in the sequence.
        self._next_shot = 0
        self._first: int | None = None
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
        device = FrontEnd.open(self._selector, backend, self._clock)
        try:
            self._probe = _probe(device.capabilities)
            if self._format not in device.capabilities.formats:
                raise DeviceNotFound(
                    f"driver URI {self.uri.text!r}: the front-end has no format {self._format.name.lower()}; it has "
                    + ", ".join(sorted(form.name.lower() for form in device.capabilities.formats))
                )
            self._declared = _knobs(device.capabilities, self._probe, self._usual_scan(device.capabilities))
        except BaseException:
            device.close()
            raise
        self._device = device
        self.stream_counters = StreamCounters()
        self._sequence = SequenceCheck(self.stream_counters, 1 << 32)
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
        rate = own.sampling_hz
        scan = self._usual_scan(own)
        sequence = _on_ticks(transmissions(scan, probe, settings, SOUND_SPEED_M_S, rate), own.channels)
        samples = _sample_count(sequence, probe, settings, rate)
        problems = []
        if samples > own.most_samples:
            problems.append(f"depth_m: {settings.depth_m:g} m needs {samples} samples, the most is {own.most_samples}")
        table = _table(settings, sequence, self._format, self._layout, samples, rate, own)
        least_us = math.ceil(len(table.shots) * table.shot_ns / 1000)
        if table.frame_us < least_us:
            problems.append(
                f"frame_rate_hz: {settings.frame_rate_hz:g} Hz is too fast for {len(table.shots)} transmissions to "
                f"{settings.depth_m:g} m; at most {1e6 / least_us:g} Hz"
            )
        if problems:
            raise SettingsRefused(problems)
        shape: tuple[int, ...] = (len(table.shots), table.channel_count, samples)
        frequency = settings.transmit_frequency_hz
        acquisition = Acquisition(
            probe=probe,
            sequence=sequence,
            kind=DataKind.CHANNEL,
            sample_format=SampleFormat.IQ if self._format is Format.IQ16 else SampleFormat.RF,
            shape=(*shape, 2) if self._format is Format.IQ16 else shape,
            dtype=np.dtype(np.int16),
            sampling_hz=float(rate),
            sound_speed_m_s=SOUND_SPEED_M_S,
            demodulation_hz=float(table.demodulation_hz),
            center_frequency_hz=frequency,
            pulse_delay_s=PULSE_DELAY_PERIODS / frequency,
        )
        return Configuration(
            settings, acquisition, _Plan(table, self._format.payload_bytes(table.channel_count, samples))
        )

    def _apply(self, configuration: Configuration) -> None:
        plan = configuration.detail
        assert isinstance(plan, _Plan)
        if self._plan is not None and _same(plan.table, self._plan.table):
            return
        device = self._opened
        number = self._table_number % 0xFFFF + 1
        device.load(plan.table, number)
        self._reserve(plan)
        if self._stream is not None:
            device.select(number)
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
        self._stream = self._resync = None

    # -- data ----------------------------------------------------------------------------------------------------------

    def _read_into(self, slot: Slot, timeout_s: float) -> None:
        clock, device, stream = self._clock, self._opened, self._stream
        assert stream is not None
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
        if wanted and not _fits(header, table):
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
            slot.first_byte_ns = came_ns
            slot.device_ticks = header.device_ns
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
        transmit_ns, slot.transmit_uncertainty_ns = self._opened.host_ns(slot.device_ticks)
        slot.transmit_ns = min(transmit_ns, slot.first_byte_ns or transmit_ns)
        slot.last_byte_ns = came_ns
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

    def _reserve(self, plan: _Plan) -> None:
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


def _probe(own: Capabilities) -> Probe:
    kind = KINDS[own.geometry]
    if own.element_count == 1:
        kind = ArrayKind.SINGLE
    try:
        return Probe(
            own.name or "bulk RF front-end",
            kind,
            own.elements_m.astype(np.float64),
            own.center_frequency_hz,
            own.fractional_bandwidth,
            own.element_width_m,
            own.element_height_m,
            own.elevation_focus_m if own.elevation_focus_m > 0 else math.inf,
            own.radius_m,
            own.normals.astype(np.float64),
        )
    except ValueError as error:
        raise ProtocolError(f"capabilities: no usable probe: {error}") from error


def _knobs(own: Capabilities, probe: Probe, scan: Scan) -> dict[str, Knob]:
    """Ranges from the capabilities; the front-end acts on those of the transmission and gain."""
    deepest = own.most_samples / own.sampling_hz * SOUND_SPEED_M_S / 2 / LONGEST_WAY_BACK * 0.9
    center = min(max(own.center_frequency_hz, own.least_frequency_hz), own.most_frequency_hz)
    shots = min(own.most_shots, int(KNOBS["angle_count"].maximum))
    every = scan in (Scan.FOCUSED, Scan.SYNTHETIC)
    count = min(shots, 32 if every else 3)
    least, most = own.least_gain_centi_db / 100, own.most_gain_centi_db / 100
    depth = KNOBS["depth_m"]
    deepest = min(deepest, depth.maximum)
    usual_depth = min(200 * SOUND_SPEED_M_S / center, deepest)
    sector = math.radians(60) if own.geometry is not Geometry.LINEAR else math.radians(20)
    knobs = [
        depth.on_device(minimum=min(0.005, deepest), maximum=deepest, default=usual_depth),
        KNOBS["transmit_frequency_hz"].on_device(
            minimum=float(own.least_frequency_hz), maximum=float(own.most_frequency_hz), default=center
        ),
        KNOBS["focus_depth_m"].on_device(maximum=max(deepest, 0.002), default=usual_depth / 2),
        KNOBS["angle_count"].on_device(maximum=shots, default=count),
        KNOBS["angle_span_rad"].on_device(default=sector),
        KNOBS["gain_db"].on_device(minimum=least / 2, maximum=most / 2),
        KNOBS["tgc_db"].on_device(minimum=least / 2, maximum=most / 2),
        KNOBS["frame_rate_hz"].on_device(
            minimum=max(0.1, 1e6 / own.most_frame_us), maximum=200.0, default=8.0 if every else 30.0
        ),
        KNOBS["output_level"].on_device(),
        KNOBS["f_number"].narrowed(default=natural_f_number(probe, SOUND_SPEED_M_S)),
        *(KNOBS[name] for name in ("dynamic_range_db", "apodization", "sound_speed_m_s", "persistence", "grey_map")),
    ]
    return {knob.name: knob for knob in knobs}


def _on_ticks(sequence: Sequence, channels: int) -> Sequence:
    """The sequence as the device will fire it: times rounded to its ticks, no more channels than it has."""
    events = []
    for event in sequence.events:
        delays = np.round(event.delays_s / TICK_S) * TICK_S
        events.append(
            TransmitEvent(
                event.kind,
                delays,
                event.origin_m,
                event.receive_elements[:channels],
                event.angle_rad,
                round(event.t0_s / TICK_S) * TICK_S,
            )
        )
    return Sequence(tuple(events))


def _sample_count(sequence: Sequence, probe: Probe, settings: Settings, rate: int) -> int:
    """Samples until the last echo from the depth has come back, a multiple of 16."""
    begin = min(float(np.nanmin(event.delays_s)) - event.t0_s for event in sequence.events)
    end = max(float(np.nanmax(event.delays_s)) - event.t0_s for event in sequence.events)
    seconds = max(begin, end) + (1 + LONGEST_WAY_BACK) * settings.depth_m / SOUND_SPEED_M_S
    seconds += PULSE_PERIODS / settings.transmit_frequency_hz
    return 16 * math.ceil(seconds * rate / 16)


def _table(
    settings: Settings, sequence: Sequence, form: Format, layout: Layout, samples: int, rate: int, own: Capabilities
) -> Table:
    shots = []
    for event in sequence.events:
        delays = np.where(np.isnan(event.delays_s), SILENT, np.round(event.delays_s / TICK_S)).astype(np.int32)
        receive = np.where(event.receive_elements < 0, NOT_CONNECTED, event.receive_elements).astype(np.uint16)
        shots.append(
            Shot(
                round(settings.transmit_frequency_hz),
                HALF_CYCLES,
                round(settings.output_level * 0xFFFF),
                round(event.t0_s / TICK_S),
                delays,
                receive,
            )
        )
    seconds = samples / rate
    points = settings.tgc_db[: own.most_gain_points]
    spacing_s = 2 * settings.depth_m / SOUND_SPEED_M_S / max(len(points) - 1, 1)
    return Table(
        0,
        form,
        layout,
        samples,
        rate,
        round(1e6 / settings.frame_rate_hz),
        max(own.least_shot_ns, math.ceil(seconds * 1e9)),
        tuple(shots),
        round(spacing_s * 1e9),
        tuple(round(100 * (settings.gain_db + point)) for point in points),
        round(settings.transmit_frequency_hz) if form is Format.IQ16 else 0,
    )


def _same(one: Table, other: Table) -> bool:
    return one.to_bytes() == other.to_bytes()


def _fits(header: Header, table: Table) -> bool:
    return (
        header.shot < len(table.shots)
        and (header.channels, header.samples) == (table.channel_count, table.samples)
        and (header.format, header.layout) == (table.format, table.layout)
        and bool(header.flags & Flag.FIRST_SHOT) == (header.shot == 0)
    )

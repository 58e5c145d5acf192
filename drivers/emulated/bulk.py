"""An array front-end that speaks the bulk RF protocol, fed by the simulated probe; it obeys its table."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonod.cext.wire import crc32c
from sonod.drivers.bulk.protocol import (
    ARM_KEY,
    BULK_IN,
    BULK_OUT,
    HEADER_BYTES,
    VERSION,
    Capabilities,
    Fault,
    Flag,
    Format,
    Header,
    Layout,
    Request,
    State,
    Status,
    self_test_samples,
)
from sonod.drivers.bulk.table import MOST_TABLE_BYTES, TABLE_HEAD, Table
from sonod.drivers.emulated.description import Description, Endpoint, Interface, Speed
from sonod.drivers.emulated.device import Data, EmulatedDevice, Setup, Stall
from sonod.drivers.emulated.echoes import GEOMETRIES, SimulatedScene, channels_of
from sonod.drivers.errors import ProtocolError
from sonod.drivers.pacing import Clock

# pid.codes keeps this identity for tests; a product must have its own.
VENDOR_ID, PRODUCT_ID = 0x1209, 0x0001
PACKET_BYTES = 1024
# Memory between the converters and the USB controller.
FIFO_BYTES = 8 << 20
KEPT_TABLES = 2
WATCHDOG_MS = 2000
CONVERTER_BITS = 14
LONGEST_SAMPLES = 8192
# A usual crystal is a little off its name.
DRIFT = 31e-6
# Shots whose true times are kept.
KEPT_TIMES = 4096


@dataclass(frozen=True)
class _Fired:
    """A shot that waits in the FIFO."""

    sequence: int
    shot: int
    frame: int
    device_ns: int
    drops: int
    table: Table


class BulkFrontEnd(EmulatedDevice):
    """See docs/bulk-rf-protocol.md. `phantom` is a scene of the simulated probe, a name or a file, and `probe` one of
    its probes ("" = the scene's); `fifo_bytes` is how much waits for a host that does not read; its clock runs faster
    than the host's by the share `drift`, shows `first_ns` at power-on, and begins again at 0 after 64 bits."""

    def __init__(
        self,
        serial: str = "EMULATED1",
        clock: Clock | None = None,
        *,
        phantom: str = "needle",
        probe: str = "",
        fifo_bytes: int = FIFO_BYTES,
        drift: float = DRIFT,
        first_ns: int = 0,
    ) -> None:
        data = (Endpoint(BULK_OUT, PACKET_BYTES), Endpoint(BULK_IN, PACKET_BYTES))
        super().__init__(
            Description(
                VENDOR_ID,
                PRODUCT_ID,
                (Interface(0, 0xFF, 0x53, VERSION, data),),
                "sonod",
                "emulated bulk RF front-end",
                serial,
                bcd_usb=0x0300,
                speed=Speed.SUPER,
            ),
            clock,
        )
        self._scene = SimulatedScene(phantom, probe)
        self._fifo_bytes = fifo_bytes
        self._drift = drift
        self._first_ns = first_ns
        # What no device tells: (device time, host time) of its latest shots.
        self.true_times: deque[tuple[int, int]] = deque(maxlen=KEPT_TIMES)
        self.capabilities = self._capabilities()
        self._blob = self.capabilities.to_bytes()
        self.reset()

    def reset(self) -> None:
        self.state, self.fault = State.IDLE, Fault.NONE
        self._tables: dict[int, Table] = {}
        self._renderers: dict[int, Callable[[int, float, NDArray[np.int16]], object]] = {}
        self._table: Table | None = None
        self._next_table: Table | None = None
        self._staged = 0
        self._incoming = bytearray()
        self._self_test = False
        self._sequence = 0
        self._drops = 0
        self._started_ns = self.clock.now_ns()
        self._fifo: deque[_Fired] = deque()
        self._pending = memoryview(b"")
        self._message = bytearray()
        self._empty_packet = False
        self._rendered: tuple[int, int, NDArray[np.int16]] | None = None
        self._watchdog_ms = WATCHDOG_MS
        self._fed_ns = self.clock.now_ns()
        self._frame = 0
        self._shot = 0
        self._frame_ns = 0

    @property
    def fired(self) -> int:
        """Shots since power-on."""
        return self._sequence

    def reset_clock(self) -> None:
        """Its clock begins anew, and nothing says so."""
        self._started_ns = self.clock.now_ns()

    def device_ns(self, host_ns: int) -> int:
        """What the front-end's clock shows at a host time."""
        since = host_ns - self._started_ns
        return (self._first_ns + since + round(since * self._drift)) % (1 << 64)

    def shrink_memory(self, shots: int) -> None:
        """Hold only so many shots for a host that does not read."""
        assert self._table is not None
        size = self._table.format.payload_bytes(self._table.channel_count, self._table.samples)
        self._fifo_bytes = shots * (HEADER_BYTES + size)

    # -- requests ------------------------------------------------------------------------------------------------------

    def control(self, setup: Setup, data: bytes) -> bytes:
        self._advance()
        self._fed_ns = self.clock.now_ns()
        if setup.request == Request.GET_CAPABILITIES and setup.is_in:
            return self._blob[64 * setup.value : 64 * setup.value + setup.length]
        if setup.request == Request.GET_STATUS and setup.is_in:
            return self._status().to_bytes()
        if setup.is_in:
            raise Stall
        if setup.request == Request.ARM:
            self._arm(setup.value, data)
        elif setup.request == Request.START:
            self._start()
        elif setup.request == Request.STOP:
            self._incoming.clear()
            self._stop(Fault.NONE)
        elif setup.request == Request.SELF_TEST:
            self._self_test = bool(setup.value)
        elif setup.request == Request.SELECT_TABLE:
            if self.state is not State.RUNNING:
                self._refuse(Fault.NOT_ARMED)
            if setup.value not in self._tables:
                self._refuse(Fault.NO_SUCH_TABLE)
            self._next_table = self._tables[setup.value]
        else:
            self._refuse(Fault.MALFORMED)
        self.fault = Fault.NONE
        return b""

    def _arm(self, number: int, data: bytes) -> None:
        if len(data) != 8 or data[:4] != ARM_KEY:
            self._refuse(Fault.MALFORMED)
        if number not in self._tables:
            self._refuse(Fault.NO_SUCH_TABLE)
        watchdog = int.from_bytes(data[4:], "little")
        if not 0 < watchdog <= WATCHDOG_MS:
            self._refuse(Fault.TABLE_LIMITS)
        if self.state is State.RUNNING:
            self._refuse(Fault.NOT_ARMED)
        self._table, self._next_table, self._watchdog_ms = self._tables[number], None, watchdog
        self.state, self.fault = State.ARMED, Fault.NONE

    def _start(self) -> None:
        if self.state is not State.ARMED:
            self._refuse(Fault.NOT_ARMED)
        self.state = State.RUNNING
        self._frame_ns = self.clock.now_ns()
        self._frame = self._shot = 0

    def _stop(self, fault: Fault) -> None:
        self.state, self.fault = State.IDLE, fault
        self._fifo.clear()
        self._pending = memoryview(b"")
        self._empty_packet = False

    def _refuse(self, fault: Fault) -> None:
        self.fault = fault
        raise Stall

    # -- tables --------------------------------------------------------------------------------------------------------

    def bulk_out(self, endpoint: int, data: bytes) -> None:
        self._incoming += data
        while len(self._incoming) >= TABLE_HEAD.size:
            total = TABLE_HEAD.unpack_from(self._incoming)[4]
            if not TABLE_HEAD.size <= total <= MOST_TABLE_BYTES:
                self._incoming.clear()
                self.fault = Fault.MALFORMED
                return
            if len(self._incoming) < total:
                return
            message = bytes(self._incoming[:total])
            del self._incoming[:total]
            self._load(message)

    def _load(self, message: bytes) -> None:
        try:
            table = Table.from_bytes(message)
        except ProtocolError as error:
            self.fault = Fault.TABLE_CRC if "CRC" in str(error) else Fault.MALFORMED
            return
        if not self._within_limits(table):
            self.fault = Fault.TABLE_LIMITS
            return
        begun_ns = self.clock.now_ns()
        self._tables[table.number] = table
        self._renderers[table.number] = self._scene.renderer(table).frame
        # Making the scene is this program's work, which must not starve the watchdog.
        self._fed_ns += self.clock.now_ns() - begun_ns
        self._staged, self.fault = table.number, Fault.NONE
        for number in [key for key in self._tables if key != table.number and not self._in_use(key)]:
            if len(self._tables) <= KEPT_TABLES:
                break
            del self._tables[number], self._renderers[number]

    def _in_use(self, number: int) -> bool:
        waiting = {fired.table.number for fired in self._fifo}
        return number in waiting or any(
            table is not None and table.number == number for table in (self._table, self._next_table)
        )

    def _within_limits(self, table: Table) -> bool:
        own = self.capabilities
        return (
            table.number > 0
            and table.element_count == own.element_count
            and table.channel_count <= own.channels
            and len(table.shots) <= own.most_shots
            and table.samples <= own.most_samples
            and table.format in own.formats
            and table.sampling_hz == own.sampling_hz
            and own.least_shot_ns <= table.shot_ns
            and len(table.shots) * table.shot_ns <= 1000 * table.frame_us
            and len(table.gain_centi_db) <= own.most_gain_points
            and all(own.least_frequency_hz <= shot.frequency_hz <= own.most_frequency_hz for shot in table.shots)
        )

    # -- shots ---------------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Fire everything that is due by now; what does not fit the FIFO is dropped and counted."""
        now = self.clock.now_ns()
        if self.state is not State.RUNNING:
            return
        expired_ns = self._fed_ns + self._watchdog_ms * 1_000_000
        while True:
            table = self._table
            assert table is not None
            fired_ns = self._frame_ns + self._shot * table.shot_ns
            there_ns = fired_ns + round(table.samples * 1e9 / table.sampling_hz)
            if there_ns > min(now, expired_ns):
                break
            self._fire(table, fired_ns)
        if now > expired_ns:
            self._stop(Fault.WATCHDOG)

    def _fire(self, table: Table, fired_ns: int) -> None:
        shot_bytes = HEADER_BYTES + table.format.payload_bytes(table.channel_count, table.samples)
        if (len(self._fifo) + 1) * shot_bytes > max(self._fifo_bytes, 2 * len(table.shots) * shot_bytes):
            self._drops += 1
        else:
            device_ns = self.device_ns(fired_ns)
            self.true_times.append((device_ns, fired_ns))
            self._fifo.append(_Fired(self._sequence, self._shot, self._frame, device_ns, self._drops, table))
        self._sequence += 1
        self._shot += 1
        if self._shot == len(table.shots):
            self._shot = 0
            self._frame += 1
            self._frame_ns += table.frame_us * 1000
            if self._next_table is not None:
                self._table, self._next_table = self._next_table, None

    def due_ns(self, endpoint: int) -> int | None:
        if endpoint != BULK_IN or self.state is not State.RUNNING or self._table is None:
            return None
        table = self._table
        return self._frame_ns + self._shot * table.shot_ns + round(table.samples * 1e9 / table.sampling_hz)

    def bulk_in(self, endpoint: int, length: int) -> Data | None:
        if not self._pending:
            if self._empty_packet:
                self._empty_packet = False
                return b""
            self._advance()
            if not self._next_message():
                return None
        part, self._pending = self._pending[:length], self._pending[length:]
        # A transfer ends with its message: by a short packet, or by an empty one.
        self._empty_packet = not self._pending and len(part) % PACKET_BYTES == 0
        return part

    def _next_message(self) -> bool:
        while self._fifo:
            fired = self._fifo[0]
            if not self.faults.take("duplicate_frames"):
                self._fifo.popleft()
            if self.faults.take("drop_frames"):
                continue
            length = self._write_message(fired)
            if self.faults.take("corrupt_frames"):
                self._message[HEADER_BYTES + (length - HEADER_BYTES) // 2] ^= 0x10
            self._pending = memoryview(self._message)[:length]
            return True
        return False

    def _write_message(self, fired: _Fired) -> int:
        """Header and payload into the message memory; how many bytes."""
        table = fired.table
        packed = table.format.packing is not None
        bits = {Format.PACKED_10: 10, Format.PACKED_12: 12}.get(table.format, CONVERTER_BITS)
        length = HEADER_BYTES + table.format.payload_bytes(table.channel_count, table.samples)
        if len(self._message) < length:
            self._message = bytearray(length)
        payload = np.frombuffer(self._message, np.uint8)[HEADER_BYTES:length]
        if not self._self_test and not packed and table.layout is Layout.CHANNELS:
            shape = (table.channel_count, table.samples)
            channels_of(
                self._frame_of(fired), table.shots[fired.shot], fired.shot, payload.view(np.int16).reshape(shape)
            )
        else:
            payload[:] = np.frombuffer(encode(self._samples(fired, bits), table.format, table.layout, bits), np.uint8)
        flags = Flag.FIRST_SHOT if fired.shot == 0 else Flag(0)
        if fired.shot == len(table.shots) - 1:
            flags |= Flag.LAST_SHOT
        if self._self_test:
            flags |= Flag.SELF_TEST
        header = Header(
            fired.sequence & 0xFFFFFFFF,
            len(payload),
            fired.shot,
            table.number,
            fired.device_ns,
            table.format,
            table.layout,
            table.channel_count,
            table.samples,
            table.shots[fired.shot].start_ticks,
            table.sampling_hz,
            0,
            bits,
            flags,
            fired.drops,
            crc32c(payload),
        )
        self._message[:HEADER_BYTES] = header.to_bytes()
        return length

    def _samples(self, fired: _Fired, bits: int) -> NDArray[np.int16]:
        """One shot, `(channels, samples)`, of so many bits."""
        table = fired.table
        if self._self_test:
            return self_test_samples(fired.sequence, table.channel_count, table.samples, bits)
        out = np.empty((table.channel_count, table.samples), np.int16)
        channels_of(self._frame_of(fired), table.shots[fired.shot], fired.shot, out)
        return out >> (CONVERTER_BITS - bits)

    def _frame_of(self, fired: _Fired) -> NDArray[np.int16]:
        """All shots of a frame, `(shots, elements, samples)`, computed when the first of them is sent."""
        if self._rendered is not None and self._rendered[:2] == (fired.table.number, fired.frame):
            return self._rendered[2]
        table = fired.table
        shape = (len(table.shots), table.element_count, table.samples)
        room = self._rendered[2] if self._rendered is not None and self._rendered[2].shape == shape else None
        out = np.empty(shape, np.int16) if room is None else room
        # The scene begins anew with every start.
        self._renderers[table.number](fired.frame, fired.frame * table.frame_us / 1e6, out)
        self._rendered = (table.number, fired.frame, out)
        return out

    def _status(self) -> Status:
        table = self._table.number if self._table is not None else 0
        return Status(
            self.state,
            self.fault,
            table,
            self._staged,
            self._watchdog_ms,
            self._sequence & 0xFFFFFFFF,
            self._drops,
            self.device_ns(self.clock.now_ns()),
        )

    def _capabilities(self) -> Capabilities:
        file = self._scene.file
        probe = file.probe
        frequency, depth = file.ranges["transmit_frequency_hz"], file.ranges["depth_m"]
        samples = min(LONGEST_SAMPLES, 16 * int(2.5 * depth.maximum / 1540 * file.sampling_hz / 16))
        return Capabilities(
            geometry=GEOMETRIES[probe.kind],
            channels=probe.element_count,
            formats=frozenset(form for form in Format if form is not Format.IQ16),
            sampling_hz=round(file.sampling_hz),
            most_samples=samples,
            most_shots=128,
            watchdog_ms=WATCHDOG_MS,
            least_frequency_hz=round(frequency.minimum),
            most_frequency_hz=round(frequency.maximum),
            least_shot_ns=50_000,
            most_gain_points=64,
            bits=CONVERTER_BITS,
            center_frequency_hz=probe.center_frequency_hz,
            fractional_bandwidth=probe.fractional_bandwidth,
            element_width_m=probe.element_width_m,
            element_height_m=probe.element_height_m,
            elevation_focus_m=probe.elevation_focus_m,
            radius_m=probe.radius_m,
            least_gain_centi_db=-3000,
            most_gain_centi_db=3000,
            name="emulated " + probe.name.removeprefix("simulated "),
            firmware="1.0",
            elements_m=probe.element_positions_m.astype(np.float32),
            normals=probe.element_normals.astype(np.float32),
        )


def encode(samples: NDArray[np.int16], form: Format, layout: Layout, bits: int) -> bytes:
    """Samples (channels, samples[, 2]) of `bits` bits as the payload of a shot."""
    if layout is Layout.SAMPLES:
        samples = np.ascontiguousarray(samples.swapaxes(0, 1))
    if form in (Format.I16, Format.IQ16):
        return samples.astype("<i2").tobytes()
    if form is Format.U16:
        return (samples.astype(np.int32) + (1 << bits - 1)).astype("<u2").tobytes()
    planes = (samples.reshape(-1, 1).astype(np.int32) >> np.arange(bits)) & 1
    return np.packbits(planes.astype(np.uint8).reshape(-1), bitorder="little").tobytes()

"""Does a front-end keep to docs/bulk-rf-protocol.md? Every check says what was expected and what came instead.

Everything runs with the self-test pattern, during which a front-end does not transmit.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from sonod.cext.wire import crc32c, unpack
from sonod.drivers.bulk.frontend import FrontEnd
from sonod.drivers.bulk.protocol import (
    ARM_KEY,
    BULK_IN,
    BULK_OUT,
    HEADER_BYTES,
    REQUEST_IN,
    REQUEST_OUT,
    Fault,
    Flag,
    Format,
    Header,
    Layout,
    Request,
    State,
    message_bytes,
    self_test_samples,
)
from sonod.drivers.bulk.table import SILENT, Shot, Table
from sonod.drivers.errors import DriverError, DriverTimeout
from sonod.drivers.pacing import Clock
from sonod.drivers.transports.bulk import open_stream
from sonod.drivers.transports.resync import MagicLengthCrc, Resynchroniser
from sonod.drivers.transports.stream import ByteStream
from sonod.drivers.transports.usb import Stalled

SAMPLES = 256
SHOTS_READ = 6
FRAME_US = 20_000
SHOT_TIMEOUT_S = 2.0
SHORT_WATCHDOG_MS = 200


class NotConforming(Exception):
    """What the page demands, and what the front-end did."""


@dataclass(frozen=True)
class Finding:
    """One check: '' = kept, else what was wrong."""

    check: str
    problem: str


class BulkConformance:
    """Runs every check on an open front-end, each from IDLE."""

    def __init__(self, front: FrontEnd, clock: Clock) -> None:
        self._front = front
        self._clock = clock
        self._number = 0

    def run(self) -> Iterator[Finding]:
        """One finding after the other; a check that fails does not keep the next from running."""
        for name, check in self._checks():
            try:
                check()
                yield Finding(name, "")
            except NotConforming as error:
                yield Finding(name, str(error))
            except DriverError as error:
                yield Finding(name, f"unexpected: {error}")
            finally:
                self._quiet()

    def _checks(self) -> Iterator[tuple[str, Callable[[], None]]]:
        own = self._front.capabilities
        yield "STOP is always accepted and leads to IDLE", self.stop_leads_to_idle
        yield "capabilities come in pieces from any offset", self.capabilities_in_pieces
        yield "unknown requests stall", self.unknown_requests_stall
        yield "START without ARM is refused with fault 4", self.start_needs_arm
        yield "ARM without its key is refused", self.arm_needs_its_key
        yield "ARM of a table that is not there is refused with fault 3", self.arm_needs_a_table
        yield "a table with a wrong CRC is refused with fault 1", self.table_crc
        yield "a table outside the limits is refused with fault 2", self.table_limits
        for form in sorted(own.formats):
            for layout in sorted(own.layouts):

                def pattern(form: Format = form, layout: Layout = layout) -> None:
                    self.self_test(form, layout)

                yield f"self-test in format {form.name}, layout {layout.name}", pattern
        yield "sequence numbers and device time go on over STOP and START", self.numbers_go_on
        yield "another table takes over between two frames", self.table_changes
        yield "a host that does not read makes drops that are counted", self.drops_are_counted
        yield "the watchdog disarms with fault 5", self.watchdog

    # -- checks ------------------------------------------------------------------------------------------------------

    def stop_leads_to_idle(self) -> None:
        for _ in range(2):
            self._front.stop()
            self._expect_state(State.IDLE)

    def capabilities_in_pieces(self) -> None:
        whole = self._front.capabilities.to_bytes()
        for block in (0, 1, len(whole) // 128):
            got = self._front.usb.control_in(REQUEST_IN, Request.GET_CAPABILITIES, block, 0, 64)
            wanted = whole[64 * block : 64 * block + 64]
            if got != wanted:
                raise NotConforming(f"offset {64 * block}: expected {wanted[:8].hex()}..., got {got[:8].hex()}...")

    def unknown_requests_stall(self) -> None:
        for request in (0x00, 0x7F, 0xFF):
            self._refused(request, 0, b"", None)

    def start_needs_arm(self) -> None:
        self._refused(Request.START, 0, b"", Fault.NOT_ARMED)

    def arm_needs_its_key(self) -> None:
        number = self._load(self._table())
        self._refused(Request.ARM, number, b"arm?" + struct.pack("<I", 1000), None)
        self._refused(Request.ARM, number, b"", None)
        self._expect_state(State.IDLE)

    def arm_needs_a_table(self) -> None:
        self._refused(Request.ARM, 0xFFFE, ARM_KEY + struct.pack("<I", 500), Fault.NO_SUCH_TABLE)

    def table_crc(self) -> None:
        data = bytearray(replace(self._table(), number=self._next_number()).to_bytes())
        data[-1] ^= 0x40
        self._refused_table(bytes(data), Fault.TABLE_CRC)

    def table_limits(self) -> None:
        own = self._front.capabilities
        too_long = replace(self._table(), number=self._next_number(), samples=own.most_samples + 16)
        self._refused_table(too_long.to_bytes(), Fault.TABLE_LIMITS)

    def self_test(self, form: Format, layout: Layout) -> None:
        """Every shot holds the pattern, with right numbers, flags, times and CRCs."""
        table = self._table(form, layout)
        with self._running(table) as (stream, number):
            before: Header | None = None
            for _ in range(SHOTS_READ):
                header, payload = self._shot(stream)
                _expect(header.table == number, f"table {number}", f"{header.table}")
                _expect(bool(header.flags & Flag.SELF_TEST), "flag bit 2 (self-test)", f"flags {int(header.flags)}")
                _expect((header.format, header.layout) == (form, layout), "the table's format and layout", f"{header}")
                last = header.shot == len(table.shots) - 1
                _expect(bool(header.flags & Flag.FIRST_SHOT) == (header.shot == 0), "flag bit 0 on shot 0", f"{header}")
                _expect(bool(header.flags & Flag.LAST_SHOT) == last, "flag bit 1 on the last shot", f"{header}")
                if before is not None:
                    _expect(
                        header.sequence == (before.sequence + 1 + header.drops - before.drops) & 0xFFFFFFFF,
                        "numbers that go up by one, drops counted",
                        f"{header.sequence} after {before.sequence}",
                    )
                    _expect(header.device_ns > before.device_ns, "a later device time", f"{header.device_ns}")
                before = header
                wanted = self_test_samples(
                    header.sequence, header.channels, header.samples, header.bits, form is Format.IQ16
                )
                got = _decoded(header, payload)
                wrong = np.argwhere(got != wanted)
                if len(wrong):
                    where = tuple(int(index) for index in wrong[0])
                    raise NotConforming(
                        f"shot {header.sequence}, (channel, sample) {where}: expected {int(wanted[where])}, got "
                        f"{int(got[where])}; {len(wrong)} samples differ"
                    )

    def numbers_go_on(self) -> None:
        ends = []
        for _ in range(2):
            with self._running(self._table()) as (stream, _):
                for _ in range(3):
                    header, _ = self._shot(stream)
                ends.append((header.sequence, header.device_ns))
        _expect(ends[1] > ends[0], "number and time above those before STOP", f"{ends[1]} after {ends[0]}")

    def table_changes(self) -> None:
        with self._running(self._table()) as (stream, first):
            self._shot(stream)
            second = self._load(replace(self._table(), samples=SAMPLES // 2))
            self._front.select(second)
            seen = []
            for _ in range(200):
                header, _ = self._shot(stream)
                seen.append((header.table, header.shot, header.samples))
                if header.table == second:
                    break
            _expect(seen[-1][0] == second, f"table {second} soon", f"{seen[-1][0]} after {len(seen)} shots")
            _expect(seen[-1][1:] == (0, SAMPLES // 2), "it to begin with shot 0", f"shot {seen[-1][1]}")
            _expect(all(table == first for table, *_ in seen[:-1]), "only the old table before", f"{seen}")

    def drops_are_counted(self) -> None:
        own = self._front.capabilities
        table = replace(self._table(), samples=min(own.most_samples, 4096))
        shot_ns = max(table.shot_ns, round(1.2e9 * table.samples / table.sampling_hz))
        table = replace(table, shot_ns=shot_ns, frame_us=max(1, -(-len(table.shots) * shot_ns // 1000)))
        number = self._load(table)
        self._front.self_test(True)
        before = self._front.arm_and_start(number)
        deadline = self._clock.now_ns() + 5_000_000_000
        while (status := self._front.status()).drops == before.drops:
            if self._clock.now_ns() > deadline:
                # A front-end with very much memory has nothing to drop yet.
                return
            self._clock.sleep_until(self._clock.now_ns() + 50_000_000)
        _expect(status.state is State.RUNNING, "to go on running", status.state.name)
        stream = self._stream(table)
        try:
            last: Header | None = None
            for _ in range(5000):
                header, _ = self._shot(stream)
                if last is not None and header.drops != last.drops:
                    missing = (header.sequence - last.sequence - 1) & 0xFFFFFFFF
                    dropped = (header.drops - last.drops) & 0xFFFFFFFF
                    _expect(missing == dropped, f"{dropped} missing numbers for {dropped} drops", f"{missing} missing")
                    return
                last = header
            raise NotConforming("the status counts drops, but no header does")
        finally:
            stream.close()

    def watchdog(self) -> None:
        number = self._load(self._table())
        self._front.self_test(True)
        self._front.usb.control_out(REQUEST_OUT, Request.ARM, number, 0, ARM_KEY + struct.pack("<I", SHORT_WATCHDOG_MS))
        self._front.start()
        self._clock.sleep_until(self._clock.now_ns() + 3 * SHORT_WATCHDOG_MS * 1_000_000)
        status = self._front.status()
        _expect(
            (status.state, status.fault) == (State.IDLE, Fault.WATCHDOG),
            "IDLE with fault 5 after the watchdog's time",
            f"{status.state.name} with fault {int(status.fault)}",
        )

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _table(self, form: Format | None = None, layout: Layout | None = None) -> Table:
        """Two short shots of every element at once, with an odd number of channels if there are several."""
        own = self._front.capabilities
        channels = own.channels - (own.channels > 1 and own.channels % 2 == 0)
        samples = min(SAMPLES, own.most_samples)
        receive = np.arange(channels, dtype=np.uint16) % own.element_count
        delays = np.zeros(own.element_count, np.int32)
        quiet = np.full(own.element_count, SILENT, np.int32)
        quiet[0] = 0
        frequency = round(own.center_frequency_hz)
        shots = (Shot(frequency, 2, 0, 0, delays, receive), Shot(frequency, 2, 0, 0, quiet, receive))
        shot_ns = max(own.least_shot_ns, round(1.2e9 * samples / own.sampling_hz))
        return Table(
            1,
            min(own.formats) if form is None else form,
            min(own.layouts) if layout is None else layout,
            samples,
            own.sampling_hz,
            min(max(FRAME_US, 2 * shot_ns // 1000 + 1), own.most_frame_us),
            shot_ns,
            shots[: own.most_shots],
            demodulation_hz=frequency if form is Format.IQ16 else 0,
        )

    def _next_number(self) -> int:
        self._number = self._number % 0xFFF0 + 1
        return self._number

    def _load(self, table: Table) -> int:
        number = self._next_number()
        self._front.load(table, number)
        return number

    @contextmanager
    def _running(self, table: Table) -> Iterator[tuple[ByteStream, int]]:
        number = self._load(table)
        self._front.self_test(True)
        stream = self._stream(table)
        try:
            self._front.arm_and_start(number)
            yield stream, number
        finally:
            self._front.stop()
            stream.close()

    def _stream(self, table: Table) -> ByteStream:
        size = HEADER_BYTES + table.format.payload_bytes(table.channel_count, table.samples)
        return open_stream(self._front.usb, BULK_IN, size, self._clock.now_ns)

    def _shot(self, stream: ByteStream) -> tuple[Header, bytes]:
        """The next message; what stands between two is a fault."""
        self._front.keep_alive()
        resync = Resynchroniser(
            stream, MagicLengthCrc(b"SRF1", HEADER_BYTES, message_bytes, 1 << 30), now_ns=self._clock.now_ns
        )
        try:
            message = resync.read(SHOT_TIMEOUT_S)
        except DriverTimeout:
            raise NotConforming(f"expected a shot within {SHOT_TIMEOUT_S:g} s, none came") from None
        if resync.counters.bytes_skipped:
            raise NotConforming(f"expected a header, got {resync.counters.bytes_skipped} other bytes before it")
        header = Header.from_bytes(message)
        payload = message[HEADER_BYTES:]
        if crc32c(payload) != header.payload_crc:
            raise NotConforming(f"shot {header.sequence}: the CRC of its samples is wrong")
        return header, payload

    def _refused(self, request: int, value: int, data: bytes, fault: Fault | None) -> None:
        try:
            self._front.usb.control_out(REQUEST_OUT, request, value, 0, data)
        except Stalled:
            if fault is not None:
                got = self._front.status().fault
                _expect(got is fault, f"fault {int(fault)} ({fault.name})", f"{int(got)}")
            return
        raise NotConforming(f"request {request:#04x}: expected a stall, it was accepted")

    def _refused_table(self, data: bytes, fault: Fault) -> None:
        staged = self._front.status().staged_table
        self._front.usb.write(BULK_OUT, data)
        deadline = self._clock.now_ns() + 2_000_000_000
        while True:
            status = self._front.status()
            if status.fault is not Fault.NONE or self._clock.now_ns() > deadline:
                break
            self._clock.sleep_until(self._clock.now_ns() + 1_000_000)
        _expect(status.fault is fault, f"fault {int(fault)} ({fault.name})", f"{int(status.fault)}")
        _expect(status.staged_table == staged, "no table to be loaded", f"table {status.staged_table}")

    def _expect_state(self, state: State) -> None:
        got = self._front.status().state
        _expect(got is state, state.name, got.name)

    def _quiet(self) -> None:
        try:
            self._front.stop()
            self._front.self_test(False)
        except DriverError:
            # The next check will say so.
            return


def _decoded(header: Header, payload: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    """Samples (channels, samples), with a last axis of 2 for IQ."""
    count = header.channels * header.samples
    raw = np.frombuffer(payload, np.uint8)
    packing = header.format.packing
    if packing is None:
        flat = raw.view("<i2").astype(np.int16)
    else:
        flat = np.empty(count, np.int16)
        unpack(raw, packing, flat, 1 << (header.bits - 1))
    tail = (2,) if header.format is Format.IQ16 else ()
    if header.layout is Layout.SAMPLES:
        return flat.reshape(header.samples, header.channels, *tail).swapaxes(0, 1)
    return flat.reshape(header.channels, header.samples, *tail)


def _expect(kept: bool, wanted: str, got: str) -> None:
    if not kept:
        raise NotConforming(f"expected {wanted}, got {got}")

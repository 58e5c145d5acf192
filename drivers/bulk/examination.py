"""A front-end under examination: what the checks of conformance.py do with it, and how it falls short."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from sonod.cext.wire import crc32c, unpack
from sonod.drivers.bulk.frontend import TABLE_TIMEOUT_S, FrontEnd
from sonod.drivers.bulk.protocol import (
    BULK_IN,
    BULK_OUT,
    HEADER_BYTES,
    REQUEST_OUT,
    Fault,
    Format,
    Header,
    Layout,
    State,
    message_bytes,
)
from sonod.drivers.bulk.table import SILENT, Shot, Table
from sonod.drivers.errors import DriverError, DriverTimeout, ProtocolError
from sonod.drivers.pacing import Clock
from sonod.drivers.transports.bulk import open_stream
from sonod.drivers.transports.resync import MagicLengthCrc, Resynchroniser
from sonod.drivers.transports.stream import ByteStream
from sonod.drivers.transports.usb import Stalled

SAMPLES = 256
FRAME_US = 20_000
SHOT_TIMEOUT_S = 2.0


class NotConforming(Exception):
    """What the page demands, and what the front-end did."""


class Examination:
    """One open front-end, IDLE between the checks."""

    def __init__(self, front: FrontEnd, clock: Clock) -> None:
        self.front = front
        self.clock = clock
        self._number = 0

    def table(self, form: Format | None = None, layout: Layout | None = None) -> Table:
        """Two short shots of every element at once, with an odd number of channels if there are several."""
        own = self.front.capabilities
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

    def next_number(self) -> int:
        self._number = self._number % 0xFFF0 + 1
        return self._number

    def load(self, table: Table) -> int:
        number = self.next_number()
        self.front.load(table, number)
        return number

    @contextmanager
    def running(self, table: Table) -> Iterator[tuple[ByteStream, int]]:
        number = self.load(table)
        self.front.self_test(True)
        stream = self.stream(table)
        try:
            self.front.arm_and_start(number)
            yield stream, number
        finally:
            self.front.stop()
            stream.close()

    def stream(self, table: Table) -> ByteStream:
        size = HEADER_BYTES + table.format.payload_bytes(table.channel_count, table.samples)
        return open_stream(self.front.usb, BULK_IN, size, self.clock.now_ns)

    def shot(self, stream: ByteStream) -> tuple[Header, bytes]:
        """The next message; what stands between two is a fault."""
        framing = MagicLengthCrc(b"SRF1", HEADER_BYTES, message_bytes, 1 << 30)
        resync = Resynchroniser(stream, framing, now_ns=self.clock.now_ns)
        deadline = self.clock.now_ns() + int(SHOT_TIMEOUT_S * 1e9)
        head = b""
        while True:
            self.front.keep_alive()
            try:
                if not head:
                    stream.wait(HEADER_BYTES, self.front.patience_s)
                    head = stream.peek(HEADER_BYTES)
                message = resync.read(self.front.patience_s)
                break
            except DriverTimeout:
                if self.clock.now_ns() >= deadline:
                    raise NotConforming(_why_no_shot(head, stream.available)) from None
        if resync.counters.bytes_skipped:
            raise NotConforming(
                f"{_why_no_shot(head, 0)}; {resync.counters.bytes_skipped} bytes before the next header"
            )
        header = Header.from_bytes(message)
        payload = message[HEADER_BYTES:]
        if crc32c(payload) != header.payload_crc:
            raise NotConforming(
                f"shot {header.sequence}: expected a CRC of its samples of {crc32c(payload):#010x}, got "
                f"{header.payload_crc:#010x}"
            )
        return header, payload

    def refused(self, request: int, value: int, data: bytes, fault: Fault | None) -> None:
        try:
            self.front.usb.control_out(REQUEST_OUT, request, value, 0, data)
        except Stalled:
            if fault is not None:
                got = self.front.status().fault
                expect(got is fault, f"fault {int(fault)} ({fault.name})", f"{int(got)}")
            return
        raise NotConforming(f"request {request:#04x}: expected a stall, it was accepted")

    def taken(self, number: int) -> None:
        deadline = self.clock.now_ns() + int(TABLE_TIMEOUT_S * 1e9)
        while (status := self.front.status()).staged_table != number:
            expect(status.fault is Fault.NONE, f"table {number} to be loaded", f"fault {int(status.fault)}")
            expect(self.clock.now_ns() < deadline, f"table {number} to be loaded", f"table {status.staged_table}")
            self.clock.sleep_until(self.clock.now_ns() + 1_000_000)

    def refused_table(self, data: bytes, fault: Fault) -> None:
        staged = self.front.status().staged_table
        self.front.usb.write(BULK_OUT, data)
        deadline = self.clock.now_ns() + 2_000_000_000
        while True:
            status = self.front.status()
            if status.fault is not Fault.NONE or self.clock.now_ns() > deadline:
                break
            self.clock.sleep_until(self.clock.now_ns() + 1_000_000)
        expect(status.fault is fault, f"fault {int(fault)} ({fault.name})", f"{int(status.fault)}")
        expect(status.staged_table == staged, "no table to be loaded", f"table {status.staged_table}")

    def expect_state(self, state: State) -> None:
        got = self.front.status().state
        expect(got is state, state.name, got.name)

    def quiet(self) -> None:
        try:
            self.front.stop()
            self.front.self_test(False)
        except DriverError:
            # The next check will say so.
            return


def _why_no_shot(head: bytes, available: int) -> str:
    """What is wrong with the first bytes that came."""
    if not head:
        return f"expected a shot within {SHOT_TIMEOUT_S:g} s, {available or 'no'} bytes came"
    try:
        header = Header.from_bytes(head)
    except ProtocolError as error:
        return f"expected a header of 64 bytes, got {head[:16].hex(' ')} ...: {error}"
    return (
        f"expected {header.payload_bytes} bytes after the header of shot {header.sequence}, {available} bytes are there"
    )


def decoded(header: Header, payload: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
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


def expect(kept: bool, wanted: str, got: str) -> None:
    if not kept:
        raise NotConforming(f"expected {wanted}, got {got}")

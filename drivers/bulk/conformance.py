"""Does a front-end keep to docs/bulk-rf-protocol.md? Every check names the rule and its section, and says what was
expected and what came instead.

Everything runs with the self-test pattern, during which a front-end does not transmit.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from sonod.drivers.bulk.examination import SAMPLES, Examination, NotConforming, decoded, expect
from sonod.drivers.bulk.frontend import FrontEnd
from sonod.drivers.bulk.protocol import (
    ARM_KEY,
    BULK_IN,
    BULK_OUT,
    REQUEST_IN,
    REQUEST_OUT,
    Fault,
    Flag,
    Format,
    Header,
    Layout,
    Request,
    State,
    self_test_samples,
)
from sonod.drivers.errors import DriverError
from sonod.drivers.pacing import Clock

INTERFACE_CLASS = (0xFF, 0x53, 0x01)
SHOTS_READ = 6
SHORT_WATCHDOG_MS = 200
# One channel of so many samples of two bytes makes a message of whole packets at either speed.
FULL_SAMPLES = 480
# Much more than one of them; and how often it is tried, for the host itself may be late.
TRANSFER_BYTES, TRANSFERS_READ = 256 * 1024, 3


@dataclass(frozen=True)
class Finding:
    """One check: '' = kept, else what was wrong."""

    check: str
    problem: str


class BulkConformance:
    """Runs every check on an open front-end, each from IDLE."""

    def __init__(self, front: FrontEnd, clock: Clock) -> None:
        self._own = Examination(front, clock)

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
                self._own.quiet()

    def _checks(self) -> Iterator[tuple[str, Callable[[], None]]]:
        own = self._own.front.capabilities
        yield "interface FF/53/01 with bulk OUT 0x01 and IN 0x81, a serial number (section 1)", self.descriptors
        yield "STOP is always accepted and leads to IDLE (section 1)", self.stop_leads_to_idle
        yield "capabilities come in pieces from any offset (sections 1, 2)", self.capabilities_in_pieces
        yield "unknown requests stall (section 1)", self.unknown_requests_stall
        yield "START without ARM is refused with fault 4 (section 1)", self.start_needs_arm
        yield "ARM without its key is refused (section 1)", self.arm_needs_its_key
        yield "ARM of a table that is not there is refused with fault 3 (section 1)", self.arm_needs_a_table
        yield "ARM for longer than the longest watchdog is refused with fault 2 (section 1)", self.arm_needs_its_limit
        yield "SELECT_TABLE is refused with fault 4 unless RUNNING (section 1)", self.select_needs_running
        yield "a table with a wrong CRC is refused with fault 1 (section 4)", self.table_crc
        yield "a table outside the limits is refused with fault 2 (section 4)", self.table_limits
        yield "a table may arrive split anywhere (section 4)", self.table_in_pieces
        yield "STOP throws away a table that has arrived in part (section 4)", self.table_cut_short
        for form in sorted(own.formats):
            for layout in sorted(own.layouts):

                def pattern(form: Format = form, layout: Layout = layout) -> None:
                    self.self_test(form, layout)

                yield f"self-test in format {form.name}, layout {layout.name} (sections 5, 6)", pattern
        yield "a transfer ends when nothing more is there (section 5)", self.transfers_end
        yield "sequence numbers and device time go on over STOP and START (section 5)", self.numbers_go_on
        yield "another table takes over between two frames (section 1)", self.table_changes
        yield "a host that does not read makes drops that are counted (section 5)", self.drops_are_counted
        yield "the watchdog disarms with fault 5 (section 1)", self.watchdog

    # -- checks ------------------------------------------------------------------------------------------------------

    def descriptors(self) -> None:
        usb = self._own.front.usb
        kind = usb.interface_class(0)
        expect(kind == INTERFACE_CLASS, "class, subclass, protocol ff 53 01", " ".join(f"{part:02x}" for part in kind))
        for endpoint in (BULK_OUT, BULK_IN):
            usb.packet_bytes(endpoint)
        expect(bool(usb.identity.serial), "a serial number", "none")

    def stop_leads_to_idle(self) -> None:
        for _ in range(2):
            self._own.front.stop()
            self._own.expect_state(State.IDLE)

    def capabilities_in_pieces(self) -> None:
        whole = self._own.front.capabilities.to_bytes()
        for block in (0, 1, len(whole) // 128):
            got = self._own.front.usb.control_in(REQUEST_IN, Request.GET_CAPABILITIES, block, 0, 64)
            wanted = whole[64 * block : 64 * block + 64]
            if got != wanted:
                raise NotConforming(f"offset {64 * block}: expected {wanted[:8].hex()}..., got {got[:8].hex()}...")

    def unknown_requests_stall(self) -> None:
        for request in (0x00, 0x7F, 0xFF):
            self._own.refused(request, 0, b"", None)

    def start_needs_arm(self) -> None:
        self._own.refused(Request.START, 0, b"", Fault.NOT_ARMED)

    def arm_needs_its_key(self) -> None:
        number = self._own.load(self._own.table())
        self._own.refused(Request.ARM, number, b"arm?" + struct.pack("<I", 1000), None)
        self._own.refused(Request.ARM, number, b"", None)
        self._own.expect_state(State.IDLE)

    def arm_needs_a_table(self) -> None:
        self._own.refused(Request.ARM, 0xFFFE, ARM_KEY + struct.pack("<I", 500), Fault.NO_SUCH_TABLE)

    def arm_needs_its_limit(self) -> None:
        number, longest = self._own.load(self._own.table()), self._own.front.capabilities.watchdog_ms
        for watchdog_ms in (0, longest + 1):
            self._own.refused(Request.ARM, number, ARM_KEY + struct.pack("<I", watchdog_ms), Fault.TABLE_LIMITS)

    def select_needs_running(self) -> None:
        number = self._own.load(self._own.table())
        self._own.refused(Request.SELECT_TABLE, number, b"", Fault.NOT_ARMED)

    def table_crc(self) -> None:
        data = bytearray(replace(self._own.table(), number=self._own.next_number()).to_bytes())
        data[-1] ^= 0x40
        self._own.refused_table(bytes(data), Fault.TABLE_CRC)

    def table_limits(self) -> None:
        own = self._own.front.capabilities
        too_long = replace(self._own.table(), number=self._own.next_number(), samples=own.most_samples + 16)
        self._own.refused_table(too_long.to_bytes(), Fault.TABLE_LIMITS)

    def table_in_pieces(self) -> None:
        number = self._own.next_number()
        data = replace(self._own.table(), number=number).to_bytes()
        for begin, end in pairwise((0, 1, 9, 13, 15, len(data) - 1, len(data))):
            self._own.front.usb.write(BULK_OUT, data[begin:end])
        self._own.taken(number)

    def table_cut_short(self) -> None:
        data = replace(self._own.table(), number=self._own.next_number()).to_bytes()
        self._own.front.usb.write(BULK_OUT, data[: len(data) - 3])
        self._own.front.stop()
        number = self._own.next_number()
        self._own.front.usb.write(BULK_OUT, replace(self._own.table(), number=number).to_bytes())
        self._own.taken(number)

    def self_test(self, form: Format, layout: Layout) -> None:
        """Every shot holds the pattern, with right numbers, flags, times and CRCs."""
        table = self._own.table(form, layout)
        with self._own.running(table) as (stream, number):
            before: Header | None = None
            for _ in range(SHOTS_READ):
                header, payload = self._own.shot(stream)
                expect(header.table == number, f"table {number}", f"{header.table}")
                expect(bool(header.flags & Flag.SELF_TEST), "flag bit 2 (self-test)", f"flags {int(header.flags)}")
                expect((header.format, header.layout) == (form, layout), "the table's format and layout", f"{header}")
                last = header.shot == len(table.shots) - 1
                expect(bool(header.flags & Flag.FIRST_SHOT) == (header.shot == 0), "flag bit 0 on shot 0", f"{header}")
                expect(bool(header.flags & Flag.LAST_SHOT) == last, "flag bit 1 on the last shot", f"{header}")
                if before is not None:
                    expect(
                        header.sequence == (before.sequence + 1 + header.drops - before.drops) & 0xFFFFFFFF,
                        "numbers that go up by one, drops counted",
                        f"{header.sequence} after {before.sequence}",
                    )
                    expect(header.device_ns > before.device_ns, "a later device time", f"{header.device_ns}")
                before = header
                wanted = self_test_samples(
                    header.sequence, header.channels, header.samples, header.bits, form is Format.IQ16
                )
                got = decoded(header, payload)
                wrong = np.argwhere(got != wanted)
                if len(wrong):
                    where = tuple(int(index) for index in wrong[0])
                    raise NotConforming(
                        f"shot {header.sequence}, (channel, sample) {where}: expected {int(wanted[where])}, got "
                        f"{int(got[where])}; {len(wrong)} samples differ"
                    )

    def numbers_go_on(self) -> None:
        last: Header | None = None
        for _ in range(2):
            with self._own.running(self._own.table()) as (stream, _):
                header = self._own.shot(stream)[0]
                if last is not None:
                    ahead = (header.sequence - last.sequence) & 0xFFFFFFFF
                    expect(0 < ahead < 1 << 31, f"a number above {last.sequence}", f"{header.sequence}")
                    expect(header.device_ns > last.device_ns, f"a time after {last.device_ns}", f"{header.device_ns}")
                for _ in range(2):
                    last = self._own.shot(stream)[0]

    def transfers_end(self) -> None:
        """A host that asks for much more than there is must not be left waiting, though the last packet was full."""
        own, usb = self._own.front.capabilities, self._own.front.usb
        plain = sorted(own.formats & {Format.I16, Format.U16})
        if not plain or own.most_samples < FULL_SAMPLES:
            return
        usual = self._own.table(plain[0])
        shots = tuple(replace(shot, receive=shot.receive[:1]) for shot in usual.shots[:1])
        patience_s = self._own.front.patience_s
        period_us = min(round(patience_s * 1e6 / 3), own.most_frame_us)
        number = self._own.load(replace(usual, samples=FULL_SAMPLES, shots=shots, frame_us=period_us))
        self._own.front.self_test(True)
        self._own.front.arm_and_start(number)
        buffer = array("B", bytes(TRANSFER_BYTES))
        for _ in range(TRANSFERS_READ):
            self._own.front.status()
            begun_ns = self._own.clock.now_ns()
            usb.read_into(BULK_IN, buffer, 3 * patience_s)
            if self._own.clock.now_ns() - begun_ns < 2e9 * patience_s:
                return
        raise NotConforming(
            f"expected a transfer to end with a shot, one every {period_us / 1e6:g} s (by an empty packet after a full "
            f"one), got transfers that go on for {3 * patience_s:g} s"
        )

    def table_changes(self) -> None:
        with self._own.running(self._own.table()) as (stream, first):
            self._own.shot(stream)
            second = self._own.load(replace(self._own.table(), samples=SAMPLES // 2))
            self._own.front.select(second)
            seen = []
            for _ in range(200):
                header, _ = self._own.shot(stream)
                seen.append((header.table, header.shot, header.samples))
                if header.table == second:
                    break
            expect(seen[-1][0] == second, f"table {second} soon", f"{seen[-1][0]} after {len(seen)} shots")
            expect(seen[-1][1:] == (0, SAMPLES // 2), "it to begin with shot 0", f"shot {seen[-1][1]}")
            expect(all(table == first for table, *_ in seen[:-1]), "only the old table before", f"{seen}")

    def drops_are_counted(self) -> None:
        own = self._own.front.capabilities
        table = replace(self._own.table(), samples=min(own.most_samples, 4096))
        shot_ns = max(table.shot_ns, round(1.2e9 * table.samples / table.sampling_hz))
        table = replace(table, shot_ns=shot_ns, frame_us=max(1, -(-len(table.shots) * shot_ns // 1000)))
        number = self._own.load(table)
        self._own.front.self_test(True)
        before = self._own.front.arm_and_start(number)
        deadline = self._own.clock.now_ns() + 5_000_000_000
        while (status := self._own.front.status()).drops == before.drops:
            if self._own.clock.now_ns() > deadline:
                # A front-end with very much memory has nothing to drop yet.
                return
            self._own.clock.sleep_until(self._own.clock.now_ns() + 50_000_000)
        expect(status.state is State.RUNNING, "to go on running", status.state.name)
        stream = self._own.stream(table)
        try:
            last: Header | None = None
            for _ in range(5000):
                header, _ = self._own.shot(stream)
                if last is not None and header.drops != last.drops:
                    missing = (header.sequence - last.sequence - 1) & 0xFFFFFFFF
                    dropped = (header.drops - last.drops) & 0xFFFFFFFF
                    expect(missing == dropped, f"{dropped} missing numbers for {dropped} drops", f"{missing} missing")
                    return
                last = header
            raise NotConforming("the status counts drops, but no header does")
        finally:
            stream.close()

    def watchdog(self) -> None:
        number = self._own.load(self._own.table())
        self._own.front.self_test(True)
        self._own.front.usb.control_out(
            REQUEST_OUT, Request.ARM, number, 0, ARM_KEY + struct.pack("<I", SHORT_WATCHDOG_MS)
        )
        self._own.front.start()
        self._own.clock.sleep_until(self._own.clock.now_ns() + 3 * SHORT_WATCHDOG_MS * 1_000_000)
        status = self._own.front.status()
        expect(
            (status.state, status.fault) == (State.IDLE, Fault.WATCHDOG),
            "IDLE with fault 5 after the watchdog's time",
            f"{status.state.name} with fault {int(status.fault)}",
        )

"""The FTDI FT2232H on a board: vendor requests, the MPSSE engine, and status bytes in front of every packet.

A board subclasses `Ft2232h` and implements what hangs on the pins: `pins_changed` and `spi`. Bytes come back at the
pace of the serial clock, so that a board in software is as slow as the real one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from dataclasses import dataclass, field

from sonod.drivers.emulated.description import Description, Endpoint, Interface, Speed
from sonod.drivers.emulated.device import Data, EmulatedDevice, Setup, Stall
from sonod.drivers.pacing import Clock

PACKET_BYTES = 512
STATUS_BYTES = 2
# An idle high-speed chip: clear to send and data set ready; transmitter empty.
STATUS = bytes((0x32, 0x60))
BIT_MODE_RESET, BIT_BANG, MPSSE = 0x00, 0x01, 0x02
BAD_COMMAND = 0xFA
CHIP_SELECT = 0x08
# The slave needs several of its own clocks to put out a bit: sampled on the rising edge it is one bit late above this.
FASTEST_RISING_HZ = 4e6


@dataclass
class Channel:
    """One half of the chip. `pins` are the levels that it drives, `direction` which it drives at all."""

    number: int
    latency_ms: int = 16
    mode: int = BIT_MODE_RESET
    direction: int = 0
    pins: int = 0xFF
    high_pins: int = 0
    base_hz: float = 12e6
    divisor: int = 0
    commands: bytearray = field(default_factory=bytearray)
    # (when the first byte is there, time for each further one, bytes)
    answers: deque[tuple[int, float, bytes]] = field(default_factory=deque)
    # When the engine has done everything it was given.
    free_ns: int = 0
    flush: bool = False
    timer_ns: int = 0

    @property
    def clock_hz(self) -> float:
        return self.base_hz / (2 * (self.divisor + 1))

    def purge_answers(self) -> None:
        self.answers.clear()
        self.flush = False

    def waiting(self, now_ns: int) -> int:
        """Bytes that have been clocked in by now."""
        count = 0
        for start_ns, each_ns, data in self.answers:
            count += _ready(start_ns, each_ns, data, now_ns)
        return count

    @property
    def complete_ns(self) -> int:
        """When the last byte that is under way will be there."""
        if not self.answers:
            return 0
        start_ns, each_ns, data = self.answers[-1]
        return start_ns + round(each_ns * (len(data) - 1))

    def take(self, count: int, now_ns: int) -> bytes:
        """At most `count` of the bytes that are there."""
        taken = bytearray()
        while self.answers and len(taken) < count:
            start_ns, each_ns, data = self.answers[0]
            part = min(_ready(start_ns, each_ns, data, now_ns), count - len(taken))
            if part == 0:
                break
            taken += data[:part]
            if part < len(data):
                self.answers[0] = (start_ns + round(each_ns * part), each_ns, data[part:])
                break
            self.answers.popleft()
        return bytes(taken)


class Ft2232h(EmulatedDevice):
    """The chip. Channel A is interface 0 (OUT 02, IN 81), channel B interface 1 (OUT 04, IN 83)."""

    def __init__(
        self,
        manufacturer: str = "FTDI",
        product: str = "Dual RS232-HS",
        serial: str = "",
        clock: Clock | None = None,
        seed: int = 1,
    ) -> None:
        super().__init__(
            Description(
                0x0403,
                0x6010,
                tuple(
                    Interface(number, 0xFF, 0xFF, 0xFF, (Endpoint(ins, PACKET_BYTES), Endpoint(outs, PACKET_BYTES)))
                    for number, ins, outs in ((0, 0x81, 0x02), (1, 0x83, 0x04))
                ),
                manufacturer=manufacturer,
                product=product,
                serial=serial,
                # This release number is how host software tells the chip from its sisters.
                bcd_device=0x0700,
                speed=Speed.HIGH,
            ),
            clock,
            seed,
        )
        self.channels = {1: Channel(1), 2: Channel(2)}

    # -- what hangs on the pins ----------------------------------------------------------------------------------------

    @abstractmethod
    def pins_changed(self, channel: int, levels: int, driven: int, at_ns: int) -> None:
        """The low byte of a channel, and which of its pins the chip drives; the others are for the board to decide."""

    @abstractmethod
    def spi(self, data: bytes, at_ns: int) -> bytes:
        """What the slave puts out while `data` is clocked into it, byte for byte."""

    # -- USB -----------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        for channel in self.channels.values():
            self.channels[channel.number] = Channel(channel.number)

    def control(self, setup: Setup, data: bytes) -> bytes:
        if setup.request_type not in (0x40, 0xC0):
            raise Stall
        if setup.request == 0x90:
            return b"\xff\xff"  # an empty EEPROM
        channel = self.channels.get(setup.index & 0xFF)
        if channel is None:
            raise Stall
        if setup.is_in:
            return self._ask(channel, setup.request)
        self._tell(channel, setup)
        return b""

    def _ask(self, channel: Channel, request: int) -> bytes:
        if request == 0x05:
            return STATUS
        if request == 0x0A:
            return bytes((channel.latency_ms,))
        if request == 0x0C:
            return bytes((_levels(channel),))
        raise Stall

    def _tell(self, channel: Channel, setup: Setup) -> None:
        value = setup.value
        if setup.request == 0x00:
            if value in (0, 1):
                channel.commands.clear()
            if value in (0, 2):
                channel.purge_answers()
        elif setup.request == 0x09:
            if not 1 <= value <= 255:
                raise Stall
            channel.latency_ms = value
        elif setup.request == 0x0B:
            channel.mode, channel.direction = value >> 8, value & 0xFF
            if channel.mode == BIT_MODE_RESET:
                channel.direction = 0
            channel.commands.clear()
            self.pins_changed(channel.number, _levels(channel), channel.direction, self.clock.now_ns())
        elif setup.request not in (0x01, 0x02, 0x03, 0x04, 0x06, 0x07):
            raise Stall

    def bulk_out(self, endpoint: int, data: bytes) -> None:
        channel = self.channels[1 if endpoint == 0x02 else 2]
        channel.free_ns = max(channel.free_ns, self.clock.now_ns())
        if channel.mode == BIT_BANG:
            for levels in data:
                channel.pins = levels
                self.pins_changed(channel.number, _levels(channel), channel.direction, channel.free_ns)
        elif channel.mode == MPSSE:
            channel.commands += data
            while self._command(channel):
                pass

    def bulk_in(self, endpoint: int, length: int) -> bytes | None:
        channel = self.channels[1 if endpoint == 0x81 else 2]
        now_ns = self.clock.now_ns()
        payload = PACKET_BYTES - STATUS_BYTES
        packets: list[bytes] = []
        for _ in range(length // PACKET_BYTES):
            waiting = channel.waiting(now_ns)
            last = channel.flush and now_ns >= channel.complete_ns
            if waiting < payload and not last and now_ns < self._timer(channel):
                break
            channel.timer_ns = now_ns + channel.latency_ms * 1_000_000
            packets.append(STATUS + channel.take(payload, now_ns))
            if waiting < payload:
                channel.flush = channel.flush and bool(channel.answers)
                break
        return b"".join(packets) or None

    def carries(self, endpoint: int, data: Data) -> bool:
        return len(data) > STATUS_BYTES

    def due_ns(self, endpoint: int) -> int | None:
        channel = self.channels[1 if endpoint == 0x81 else 2]
        timer_ns = self._timer(channel)
        return min(timer_ns, channel.complete_ns) if channel.answers else timer_ns

    def _timer(self, channel: Channel) -> int:
        if channel.timer_ns == 0:
            channel.timer_ns = self.clock.now_ns() + channel.latency_ms * 1_000_000
        return channel.timer_ns

    # -- the MPSSE engine ---------------------------------------------------------------------------------------------

    def _command(self, channel: Channel) -> bool:
        """Carry out the first command, if it is complete."""
        head = channel.commands
        if not head:
            return False
        code = head[0]
        length = 3 if code in (0x80, 0x82, 0x86) else 1
        if code in (0x10, 0x11, 0x20, 0x24, 0x31, 0x34):
            if len(head) < 3:
                return False
            count = int.from_bytes(head[1:3], "little") + 1
            length = 3 if code in (0x20, 0x24) else 3 + count
        if len(head) < length:
            return False
        command = bytes(head[:length])
        del head[:length]
        self._execute(channel, code, command)
        return True

    def _execute(self, channel: Channel, code: int, command: bytes) -> None:
        if code == 0x80:
            channel.pins, channel.direction = command[1], command[2]
            self.pins_changed(channel.number, _levels(channel), channel.direction, channel.free_ns)
        elif code == 0x81:
            self._answer(channel, bytes((_levels(channel),)))
        elif code == 0x82:
            channel.high_pins = command[1]
        elif code == 0x83:
            self._answer(channel, bytes((channel.high_pins,)))
        elif code == 0x86:
            channel.divisor = int.from_bytes(command[1:3], "little")
        elif code in (0x8A, 0x8B):
            channel.base_hz = 60e6 if code == 0x8A else 12e6
        elif code == 0x87:
            channel.flush = bool(channel.answers)
        elif code in (0x10, 0x11):
            self._shift(channel, command[3:])
        elif code in (0x20, 0x24):
            late = code == 0x20 and channel.clock_hz > FASTEST_RISING_HZ
            self._answer_clocked(channel, bytes(int.from_bytes(command[1:3], "little") + 1), late)
        elif code in (0x31, 0x34):
            self._answer_clocked(channel, command[3:], code == 0x34 and channel.clock_hz > FASTEST_RISING_HZ)
        elif code not in (0x84, 0x85, 0x8C, 0x8D, 0x96, 0x97):
            self._answer(channel, bytes((BAD_COMMAND, code)))

    def _shift(self, channel: Channel, data: bytes) -> bytes:
        answer = self.spi(data, channel.free_ns)
        channel.free_ns += round(8e9 * len(data) / channel.clock_hz)
        return answer

    def _answer(self, channel: Channel, data: bytes) -> None:
        channel.answers.append((channel.free_ns, 0.0, data))

    def _answer_clocked(self, channel: Channel, out: bytes, late: bool) -> None:
        start_ns, each_ns = channel.free_ns, 8e9 / channel.clock_hz
        data = self._shift(channel, out)
        if late:
            data = (int.from_bytes(data, "big") >> 1).to_bytes(len(data), "big")
        channel.answers.append((start_ns + round(each_ns), each_ns, data))


def _levels(channel: Channel) -> int:
    """What the pins read: those that are not driven are low."""
    return channel.pins & channel.direction


def _ready(start_ns: int, each_ns: float, data: bytes, now_ns: int) -> int:
    if now_ns < start_ns:
        return 0
    if each_ns == 0:
        return len(data)
    return min(len(data), int((now_ns - start_ns) / each_ns) + 1)

"""What can be done with a un0rick: over its two FTDI channels, without knowing what a frame is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.errors import DriverError, ProtocolError
from sonod.drivers.pacing import Clock
from sonod.drivers.transports.mpsse import (
    BAUD_RATE,
    FLOW_CONTROL,
    MODE_BIT_BANG,
    MODE_RESET,
    RESET,
    FtdiChannel,
    MpsseSpi,
    UsbLink,
)
from sonod.drivers.un0rick.protocol import AUTHOR, VERSION, Register, read_message, write_message

# Channel B: clock, data out and select are driven, and the reset of the FPGA's logic (active high).
OUTPUTS, IDLE, SELECT, LOGIC_RESET = 0x8B, 0x08, 0x08, 0x80
# 60 MHz / (2 * (3 + 1)) = 7.5 MHz; the FPGA's slave takes at most an eighth of 63.75 MHz.
DIVISOR = 3
# Channel A reaches the configuration flash: only the reset of the configuration (active low) may be driven.
CONFIG_RESET = 0x80
BIT_BANG_RATE = 0x003C
RESET_S = 0.01
# Loading the bitstream from flash; published software waits half a second.
CONFIGURE_S = 1.0
POLL_S = 0.002


class Un0rickBoard:
    """Fires only between `arm` and `disarm`, although the board itself knows no such step."""

    def __init__(self, link: UsbLink, clock: Clock, name: str) -> None:
        self._clock = clock
        self._name = name
        self._reset_channel = FtdiChannel(link, clock, 1, in_endpoint=0x81, out_endpoint=0x02)
        self._channel = FtdiChannel(link, clock, 2, in_endpoint=0x83, out_endpoint=0x04)
        self._spi = MpsseSpi(self._channel, outputs=OUTPUTS, idle=IDLE, select=SELECT, divisor=DIVISOR)
        self._word = np.zeros(2, np.uint8)
        self._armed = False
        self.version = 0

    @property
    def armed(self) -> bool:
        return self._armed

    @property
    def line_errors(self) -> int:
        """Packets in which the FTDI chip reported an error of its own."""
        return self._channel.line_errors

    def open(self) -> None:
        """Set the chip up and make sure that a un0rick is behind it, without firing."""
        reset = self._reset_channel
        reset.request(RESET, 0)
        reset.request(FLOW_CONTROL, 0)
        reset.set_mode(MODE_BIT_BANG, CONFIG_RESET)
        reset.request(BAUD_RATE, BIT_BANG_RATE, high_index=2)
        reset.write(bytes((CONFIG_RESET,)))
        self._spi.open()
        self._identify()
        self.reset_logic()

    def close(self) -> None:
        """Let go of all pins; DriverError when the device is away."""
        self._armed = False
        try:
            self._spi.close()
        finally:
            self._reset_channel.set_mode(MODE_RESET, 0)

    def reset_logic(self) -> None:
        """Registers to their reset values (the gain table stays), sequencer at rest, line parity cleared."""
        self._spi.set_pins(IDLE | LOGIC_RESET)
        self._sleep(RESET_S)
        self._spi.set_pins(IDLE)

    def synchronise(self) -> None:
        """After an exchange that failed: back in step with the chip, nothing under way; DriverTimeout."""
        self._spi.synchronise()
        self.reset_logic()

    # -- registers -----------------------------------------------------------------------------------------------------

    def read(self, register: Register) -> int:
        self._spi.read_into(read_message(register), self._word)
        return int(self._word[0]) << 8 | int(self._word[1])

    def write(self, register: Register, *values: int) -> None:
        """Write one register, or a run of them that begins with it."""
        self._spi.write(write_message(register, *values))

    def load(self, registers: Mapping[Register, int], gains: Sequence[int]) -> None:
        """Write these registers and the gain table, and read the table back; ProtocolError when it differs."""
        self.write(Register.DACGAIN, *gains)
        for register, value in registers.items():
            self.write(register, value)
        back = np.zeros(2 * len(gains), np.uint8)
        self._spi.read_into(read_message(Register.DACGAIN, len(gains), increment=True), back)
        if back.view(">u2").tolist() != list(gains):
            raise ProtocolError(f"{self._name}: the gain table reads back otherwise than it was written")

    # -- acquisition ---------------------------------------------------------------------------------------------------

    def arm(self) -> None:
        """Allow firing, once the board has shown that it is in its usual run mode and idle."""
        if self.read(Register.JUMPER2):
            raise DriverError(f"{self._name}: jumper 2 selects the monitor mode, which cannot be read; remove it")
        if self.read(Register.ACQBUSY):
            self.reset_logic()
        self._armed = True

    def disarm(self) -> None:
        """End what fires, and refuse to fire."""
        self._armed = False
        self.reset_logic()

    def fire(self) -> None:
        """Begin an acquisition: high voltage leaves the connector. DriverError unless armed."""
        if not self._armed:
            raise DriverError(f"{self._name}: is not armed")
        self.write(Register.ACQSTART, 1)

    def finished(self) -> bool:
        return bool(self.read(Register.ACQDONE))

    def rewind(self) -> None:
        """The next memory word read is the first."""
        self.write(Register.RAMRADDRRST, 1)

    def read_memory(self, target: NDArray[np.uint8]) -> None:
        """The next len(target) / 2 words of the sample memory, big-endian; at most 16384."""
        self._spi.read_into(read_message(Register.RAMDATA, len(target) // 2), target)

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _identify(self) -> None:
        """AUTHOR and VERSION; a board that was just plugged in still loads its bitstream."""
        deadline_ns = self._clock.now_ns() + int(CONFIGURE_S * 1e9)
        while True:
            author, self.version = self.read(Register.AUTHOR), self.read(Register.VERSION)
            if (author, self.version) == (AUTHOR, VERSION):
                return
            if self._clock.now_ns() >= deadline_ns:
                raise ProtocolError(
                    f"{self._name}: registers AUTHOR and VERSION read {author:#x} and {self.version:#x}, not "
                    f"{AUTHOR:#x} and {VERSION:#x}: not a un0rick, or its flash holds no USB bitstream"
                )
            self._sleep(POLL_S * 10)

    def _sleep(self, seconds: float) -> None:
        self._clock.sleep_until(self._clock.now_ns() + int(seconds * 1e9))

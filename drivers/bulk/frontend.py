"""The conversation with a bulk RF front-end: capabilities, tables, arming, and its clock."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

from sonod.drivers.bulk.protocol import (
    ARM_KEY,
    BULK_OUT,
    CAPABILITIES_BYTES,
    CAPABILITIES_MAGIC,
    PIECE_BYTES,
    REQUEST_IN,
    REQUEST_OUT,
    STATUS_BYTES,
    Capabilities,
    Fault,
    Request,
    State,
    Status,
)
from sonod.drivers.bulk.table import Table
from sonod.drivers.device_time import DeviceTime
from sonod.drivers.errors import DriverError, ProtocolError
from sonod.drivers.pacing import Clock
from sonod.drivers.transports.usb import Identity, Selector, Stalled, UsbDevice, open_device

# A front-end has this long to check and take over a table.
TABLE_TIMEOUT_S = 5.0
# The longest capabilities that are believed: 65535 elements.
MOST_CAPABILITIES_BYTES = CAPABILITIES_BYTES + 24 * 0xFFFF
# The watchdog is fed this many times in its period, and asked for no longer than this.
FEEDINGS = 4
WATCHDOG_MS = 1000


class FrontEnd:
    """One open front-end, idle after `open` and after `stop`."""

    def __init__(self, usb: UsbDevice, capabilities: Capabilities, clock: Clock, time: DeviceTime) -> None:
        self.usb = usb
        self.time = time
        self.capabilities = capabilities
        self._clock = clock
        self._watchdog_ms = min(WATCHDOG_MS, capabilities.watchdog_ms)
        self._fed_ns = 0

    @classmethod
    def open(cls, selector: Selector, backend: Any, clock: Clock, time: DeviceTime) -> FrontEnd:
        """Open, and confirm by its capabilities that it is one; ProtocolError when it is not. `time` is begun anew and
        follows the front-end's clock."""
        usb = open_device(selector, backend)
        try:
            usb.claim(0)
            front = cls(usb, _capabilities(usb), clock, time)
            time.begin_anew()
            # It may have been left running by a program that died.
            front.stop()
            front.status()
        except BaseException:
            usb.close()
            raise
        return front

    @property
    def identity(self) -> Identity:
        return self.usb.identity

    @property
    def patience_s(self) -> float:
        """How long a reader may wait before it must feed the watchdog again."""
        return self._watchdog_ms / 1000 / FEEDINGS

    def close(self) -> None:
        """Stop transmitting, whatever else fails, and let go."""
        try:
            self.stop()
        except DriverError:
            pass
        finally:
            self.usb.close()

    # -- requests ------------------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """Ask how it is; this feeds its watchdog and compares the clocks."""
        before = self._clock.now_ns()
        status = Status.from_bytes(self.usb.control_in(REQUEST_IN, Request.GET_STATUS, 0, 0, STATUS_BYTES))
        self._fed_ns = self._clock.now_ns()
        self.time.compare(status.device_ns, before, self._fed_ns)
        return status

    def load(self, table: Table, number: int) -> None:
        """Send a table under a number; DriverError with the front-end's own reason when it refuses."""
        self.usb.write(BULK_OUT, replace(table, number=number).to_bytes(), TABLE_TIMEOUT_S)
        deadline = self._clock.now_ns() + int(TABLE_TIMEOUT_S * 1e9)
        while True:
            status = self.status()
            if status.staged_table == number:
                return
            if status.fault is not Fault.NONE:
                raise DriverError(f"{self.usb.name}: table refused: {status.fault.name.lower().replace('_', ' ')}")
            if self._clock.now_ns() >= deadline:
                raise ProtocolError(f"{self.usb.name}: table {number} was not taken within {TABLE_TIMEOUT_S:g} s")
            self._clock.sleep_until(self._clock.now_ns() + 1_000_000)

    def select(self, number: int) -> None:
        """Change to another table with the next frame, while running."""
        self._ask(Request.SELECT_TABLE, number)

    def self_test(self, on: bool) -> None:
        """Send the test pattern instead of echoes, without transmitting."""
        self._ask(Request.SELF_TEST, int(on))

    def arm(self, number: int) -> None:
        self._ask(Request.ARM, number, ARM_KEY + struct.pack("<I", self._watchdog_ms))

    def start(self) -> None:
        self._ask(Request.START, 0)

    def arm_and_start(self, number: int) -> Status:
        """Fire table `number`; the status is the one just before, with the number of the first shot."""
        self.arm(number)
        status = self.status()
        if status.state is not State.ARMED:
            raise ProtocolError(f"{self.usb.name}: did not arm, is {status.state.name.lower()}")
        self.start()
        return status

    def stop(self) -> None:
        """Transmit off, disarmed, nothing kept."""
        self._ask(Request.STOP, 0)

    def keep_alive(self) -> None:
        """Feed the watchdog when it is time. DriverError when the front-end has stopped by itself."""
        if self._clock.now_ns() - self._fed_ns < self.patience_s * 1e9:
            return
        status = self.status()
        if status.state is not State.RUNNING:
            raise DriverError(
                f"{self.usb.name}: stopped by itself ({status.state.name.lower()}, "
                f"{status.fault.name.lower().replace('_', ' ')})"
            )

    def _ask(self, request: Request, value: int, data: bytes = b"") -> None:
        try:
            self.usb.control_out(REQUEST_OUT, request, value, 0, data)
        except Stalled as error:
            fault = self.status().fault.name.lower().replace("_", " ")
            raise DriverError(f"{self.usb.name}: {request.name} refused: {fault}") from error
        self._fed_ns = self._clock.now_ns()


def _capabilities(usb: UsbDevice) -> Capabilities:
    try:
        data = _piece(usb, 0)
        if len(data) < 8 or data[:4] != CAPABILITIES_MAGIC:
            raise ProtocolError(f"{usb.name}: does not speak the bulk RF protocol (capabilities are {data[:8].hex()})")
        total = int.from_bytes(data[4:8], "little")
        if not CAPABILITIES_BYTES <= total <= MOST_CAPABILITIES_BYTES:
            raise ProtocolError(f"{usb.name}: capabilities of {total} bytes")
        while len(data) < total:
            more = _piece(usb, len(data))
            if len(more) < min(PIECE_BYTES, total - len(data)):
                raise ProtocolError(f"{usb.name}: capabilities end after {len(data) + len(more)} of {total} bytes")
            data += more
    except Stalled as error:
        raise ProtocolError(f"{usb.name}: does not speak the bulk RF protocol (no capabilities)") from error
    return Capabilities.from_bytes(data[:total])


def _piece(usb: UsbDevice, offset: int) -> bytes:
    return usb.control_in(REQUEST_IN, Request.GET_CAPABILITIES, offset // 64, 0, PIECE_BYTES)

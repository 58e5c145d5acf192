"""The model of one USB device in plain Python, the same behind every front.

A board subclasses `EmulatedDevice`, gives a `Description` and implements what it answers: `control`, `bulk_out`,
`bulk_in`, `interrupt_in`, `reset`. The fronts (memory.py, usbfs.py, pty.py) call the `host_...` methods, which add what
every USB device has in common: standard requests, strings, halted endpoints, faults, unplugging.
"""

from __future__ import annotations

import random
import struct
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass

from sonod.drivers.emulated.description import (
    CONFIGURATION_DESCRIPTOR,
    DEVICE_DESCRIPTOR,
    STRING_DESCRIPTOR,
    Description,
    Transfer,
)
from sonod.drivers.emulated.faults import Faults
from sonod.drivers.pacing import Clock, MonotonicClock

# Standard requests that the device itself answers (USB 2.0, table 9-4).
GET_STATUS, CLEAR_FEATURE, SET_FEATURE, GET_DESCRIPTOR = 0, 1, 3, 6
GET_CONFIGURATION, SET_CONFIGURATION, GET_INTERFACE, SET_INTERFACE = 8, 9, 10, 11
ENDPOINT_RECIPIENT = 2
# How far a read is cut by the `short_packets` fault: neither a packet nor a sample boundary.
SHORT_BY_BYTES = 37


# What a board sends: a view must stay true until the next call.
Data = bytes | memoryview


class Stall(Exception):
    """The device does not understand the request: the endpoint stalls."""


class BusError(Exception):
    """The transfer failed on the wire (EPROTO)."""


class Gone(Exception):
    """The device has been unplugged."""


@dataclass(frozen=True)
class Setup:
    """The eight bytes that begin a control transfer."""

    request_type: int
    request: int
    value: int
    index: int
    length: int

    @property
    def is_in(self) -> bool:
        return bool(self.request_type & 0x80)

    @property
    def is_standard(self) -> bool:
        return self.request_type & 0x60 == 0

    @classmethod
    def from_bytes(cls, data: bytes) -> Setup:
        return cls(*struct.unpack("<BBHHH", data[:8]))


class EmulatedDevice(ABC):
    """One board. All methods are called with `lock` held, from whichever thread the host's side uses."""

    def __init__(self, description: Description, clock: Clock | None = None, seed: int = 1) -> None:
        self.description = description
        self.clock: Clock = clock or MonotonicClock()
        self.faults = Faults()
        self.lock = threading.RLock()
        self.plugged = True
        # Counts the lives between two unpluggings.
        self.generation = 0
        self.configuration_value = 1
        # When the host submitted the IN transfer that is being served, where the front knows; else now.
        self.asked_ns = 0
        self._noise = random.Random(seed)

    # -- what a board implements -------------------------------------------------------------------------------------

    @abstractmethod
    def control(self, setup: Setup, data: bytes) -> bytes:
        """Answer a class or vendor request: the bytes for IN, b'' for OUT; Stall when it is not known."""

    def bulk_out(self, endpoint: int, data: bytes) -> None:
        """Take bytes from the host, split anywhere."""
        raise Stall

    def bulk_in(self, endpoint: int, length: int) -> Data | None:
        """The next bytes for the host, at most `length`; None = nothing yet.

        A result that is not a whole number of packets ends the host's transfer, b'' (an empty packet) too; a whole
        number of packets does not, as on the wire.
        """
        return None

    def interrupt_in(self, endpoint: int, length: int) -> Data | None:
        """The same for an interrupt endpoint."""
        return None

    def between_messages(self, endpoint: int) -> bool:
        """Whether what comes next begins a message, where the board knows: the faults of transfers wait for it, so that
        what they cost does not depend on when they were asked for."""
        return True

    def carries(self, endpoint: int, data: Data) -> bool:
        """Whether this piece has something in it that a short or an oversize packet spoils."""
        return True

    def due_ns(self, endpoint: int) -> int | None:
        """When an endpoint that has nothing now will have something; None = not known. Only to wait well."""
        return None

    @abstractmethod
    def reset(self) -> None:
        """Back to the state after power-on."""

    # -- what a person or a test does ----------------------------------------------------------------------------------

    def unplug(self) -> None:
        """Pull the cable."""
        with self.lock:
            self.plugged = False

    def plug(self) -> None:
        """Put the cable back in: powered anew, with nothing remembered."""
        with self.lock:
            self.plugged = True
            self.generation += 1
            self.configuration_value = 1
            self.faults.clear()
            self.reset()

    # -- what a front calls ------------------------------------------------------------------------------------------

    def host_reset(self) -> None:
        """The host resets the port."""
        with self.lock:
            self._require_plugged()
            self.faults.halt.clear()
            self.reset()

    def host_control(self, setup: Setup, data: bytes = b"") -> bytes:
        """One control transfer; Stall, Gone. Never more bytes than asked."""
        with self.lock:
            self._require_plugged()
            if self.faults.take("stall_control"):
                raise Stall
            answer = self._standard(setup) if setup.is_standard else self.control(setup, data)
            return answer[: setup.length] if setup.is_in else b""

    def host_bulk_out(self, endpoint: int, data: bytes) -> None:
        """One bulk OUT transfer; Stall, BusError, Gone."""
        with self.lock:
            self._require_plugged()
            self._require_running(endpoint)
            self.bulk_out(endpoint, data)

    def host_in(self, endpoint: int, length: int, asked_ns: int = 0) -> Data | None:
        """Part of a bulk or interrupt IN transfer of which `length` bytes are still wanted; as `bulk_in`.

        May be longer than asked when the `oversize` fault is set: an overflow.
        """
        with self.lock:
            faults = self.faults
            self.asked_ns = asked_ns or self.clock.now_ns()
            self._require_plugged()
            self._require_running(endpoint)
            if faults.unplug_after_bytes == 0:
                self.plugged = False
                raise Gone
            if faults.silent:
                return None
            if faults.take("bus_errors"):
                raise BusError
            if faults.take("zero_packets"):
                return b""
            begins = self.between_messages(endpoint)
            if faults.garbage_bytes > 0 and begins:
                count = min(faults.garbage_bytes, length)
                faults.garbage_bytes -= count
                return self._limited(self._noise.randbytes(count))
            data = self._next(endpoint, length)
            if not data:
                return data
            if begins and self.carries(endpoint, data):
                if faults.take("short_packets"):
                    data = data[: max(len(data) - SHORT_BY_BYTES, 0)]
                if faults.take("oversize"):
                    data = bytes(data) + bytes(length + 1 - len(data))
            return self._limited(data)

    def clear_halt(self, endpoint: int) -> None:
        with self.lock:
            self._require_plugged()
            self.faults.halt.discard(endpoint)

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _next(self, endpoint: int, length: int) -> Data | None:
        if self.description.endpoint(endpoint).transfer is Transfer.INTERRUPT:
            return self.interrupt_in(endpoint, length)
        return self.bulk_in(endpoint, length)

    def _limited(self, data: Data) -> Data:
        """Only so much before the cable is pulled."""
        left = self.faults.unplug_after_bytes
        if left < 0:
            return data
        self.faults.unplug_after_bytes = left - min(left, len(data))
        return data[:left]

    def _require_plugged(self) -> None:
        if not self.plugged:
            raise Gone

    def _require_running(self, endpoint: int) -> None:
        if endpoint in self.faults.halt:
            raise Stall

    def _standard(self, setup: Setup) -> bytes:
        if setup.request == GET_DESCRIPTOR and setup.is_in:
            kind, index = setup.value >> 8, setup.value & 0xFF
            found = {
                DEVICE_DESCRIPTOR: self.description.device_descriptor(),
                CONFIGURATION_DESCRIPTOR: self.description.configuration_descriptor() if index == 0 else None,
                STRING_DESCRIPTOR: self.description.string_descriptor(index) if kind == STRING_DESCRIPTOR else None,
            }.get(kind)
            if found is None:
                raise Stall
            return found
        if setup.request == GET_STATUS:
            halted = setup.request_type & 0x1F == ENDPOINT_RECIPIENT and setup.index in self.faults.halt
            return bytes([int(halted), 0])
        if setup.request == GET_CONFIGURATION:
            return bytes([self.configuration_value])
        if setup.request == GET_INTERFACE:
            return b"\0"
        if setup.request == SET_CONFIGURATION:
            self.configuration_value = setup.value
        elif setup.request == CLEAR_FEATURE:
            if setup.request_type & 0x1F == ENDPOINT_RECIPIENT:
                self.faults.halt.discard(setup.index)
        elif setup.request not in (SET_INTERFACE, SET_FEATURE):
            raise Stall
        return b""

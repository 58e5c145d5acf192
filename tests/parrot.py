"""A device that repeats what it hears, for tests of what carries bytes."""

from __future__ import annotations

from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.emulated.description import Description, Endpoint, Interface, Speed
from sonod.drivers.emulated.device import EmulatedDevice, Setup, Stall


class Parrot(EmulatedDevice):
    """Sends back what it was sent; vendor request 1 answers with its setup."""

    def __init__(self, serial: str = "P1") -> None:
        data = (Endpoint(0x01, 64), Endpoint(0x81, 64))
        super().__init__(
            Description(
                0x1234, 0x5678, (Interface(0, 0xFF, 0, 0, data),), "Someone", "Parrot", serial, speed=Speed.FULL
            ),
            ManualClock(),
        )
        self.waiting = bytearray()

    def control(self, setup: Setup, data: bytes) -> bytes:
        if setup.request != 1:
            raise Stall
        return bytes([setup.request_type, setup.request, setup.value, setup.index])

    def bulk_out(self, endpoint: int, data: bytes) -> None:
        self.waiting += data

    def bulk_in(self, endpoint: int, length: int) -> bytes | None:
        if not self.waiting:
            return None
        data = bytes(self.waiting[:length])
        del self.waiting[:length]
        return data

    def reset(self) -> None:
        self.waiting.clear()

"""A source that keeps its pace whether anybody listens or not: for measuring what a host loses.

It sends messages of the bulk RF protocol with a fixed payload. Vendor request 1 (OUT) starts, 3 (OUT) stops at the end
of a message, 2 (IN) answers two u64le: messages made, and messages lost because no transfer was waiting in time.
"""

from __future__ import annotations

import struct

import numpy as np

from sonod.cext.wire import crc32c
from sonod.drivers.bulk.protocol import BULK_IN, HEADER_BYTES, Flag, Format, Header, Layout
from sonod.drivers.emulated.description import Description, Endpoint, Interface, Speed
from sonod.drivers.emulated.device import Data, EmulatedDevice, Setup, Stall
from sonod.drivers.pacing import Clock

VENDOR_ID, PRODUCT_ID = 0x1209, 0x0002
START, COUNTS, STOP = 1, 2, 3
# What a plain FIFO bridge holds.
FIFO_BYTES = 64 * 1024


class PacedSource(EmulatedDevice):
    """`rate_bytes_s` in messages of `channels` x `samples` int16; by default a message is one transfer of 256 KiB."""

    def __init__(
        self,
        serial: str = "PACED1",
        clock: Clock | None = None,
        *,
        rate_bytes_s: float = 300e6,
        channels: int = 120,
        samples: int = 1092,
    ) -> None:
        super().__init__(
            Description(
                VENDOR_ID,
                PRODUCT_ID,
                (Interface(0, 0xFF, 0, 0, (Endpoint(BULK_IN, 1024),)),),
                "sonod",
                "paced source",
                serial,
                bcd_usb=0x0300,
                speed=Speed.SUPER,
            ),
            clock,
        )
        payload = np.random.default_rng(1).integers(-8192, 8192, channels * samples).astype("<i2").tobytes()
        self._header = Header(
            0, len(payload), 0, 1, 0, Format.I16, Layout.CHANNELS, channels, samples, 0, 40_000_000,
            flags=Flag.FIRST_SHOT | Flag.LAST_SHOT, payload_crc=crc32c(payload),
        )  # fmt: skip
        self._message = bytearray(HEADER_BYTES) + payload
        self._period_ns = 1e9 * len(self._message) / rate_bytes_s
        self._held_ns = 1e9 * FIFO_BYTES / rate_bytes_s
        self.reset()

    def reset(self) -> None:
        self._begun_ns = 0
        self._stopping = False
        self._number = 0
        self._lost = 0
        self._sent = 0

    def control(self, setup: Setup, data: bytes) -> bytes:
        if setup.request == START and not setup.is_in:
            self.reset()
            self._begun_ns = self.clock.now_ns()
            return b""
        if setup.request == STOP and not setup.is_in:
            self._stopping = True
            return b""
        if setup.request == COUNTS and setup.is_in:
            return struct.pack("<QQ", self._number, self._lost)
        raise Stall

    def due_ns(self, endpoint: int) -> int | None:
        return round(self._begun_ns + (self._number + 1) * self._period_ns) if self._begun_ns else None

    def bulk_in(self, endpoint: int, length: int) -> Data | None:
        if not self._begun_ns:
            return None
        if not self._sent:
            if self._stopping:
                return None
            # The transfer must have been waiting before the FIFO was full of this message.
            self._lose_until(self.asked_ns)
            due_ns = self._begun_ns + (self._number + 1) * self._period_ns
            if self.clock.now_ns() < due_ns:
                return None
            header = Header(**{**self._header.__dict__, "sequence": self._number, "device_ns": round(due_ns)})
            self._message[:HEADER_BYTES] = header.to_bytes()
        part = memoryview(self._message)[self._sent : self._sent + length]
        self._sent += len(part)
        if self._sent == len(self._message):
            self._sent = 0
            self._number += 1
        return part

    def _lose_until(self, asked_ns: int) -> None:
        if not self._begun_ns or self._sent:
            return
        late = (asked_ns - self._begun_ns - self._held_ns) / self._period_ns - self._number
        if late > 0:
            count = int(late) + 1
            self._lost += count
            self._number += count

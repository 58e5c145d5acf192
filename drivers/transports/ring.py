"""Streaming at wire speed: bulk IN transfers kept in flight by compiled code on the handle that pyusb opened.

One transfer after the other leaves the device without a buffer between two of them; several in flight never do. The
ring calls the libusb that pyusb has loaded (docs/decisions/0010-a-ring-of-transfers.md).
"""

from __future__ import annotations

import ctypes
import time
from enum import IntEnum
from typing import Any

from sonod.drivers.errors import Disconnected, DriverError, DriverTimeout
from sonod.drivers.transports import _ring
from sonod.drivers.transports.stream import ByteStream, TransferCounters
from sonod.drivers.transports.usb import NO_MEMORY, OutOfMemory, UsbDevice, usbfs_budget

# Sixteen of 256 KiB hide 14 ms at 300 MB/s, in which a loaded machine may do something else.
DEPTH = 16
# Linux lets all transfers of the system together hold 16 MiB; some of it belongs to others.
MOST_IN_FLIGHT_BYTES = 12 << 20
# Slots that wait for a reader whose GIL a busy Python thread holds, or whose processor another program has: 112 of
# 256 KiB are 98 ms at 300 MB/s.
SLOTS = 128
CALLS = (
    "libusb_alloc_transfer",
    "libusb_free_transfer",
    "libusb_submit_transfer",
    "libusb_cancel_transfer",
    "libusb_handle_events_timeout_completed",
    "libusb_interrupt_event_handler",
)


class Policy(IntEnum):
    """When nobody reads: drop the oldest bytes (live pictures), or stop asking for more and count it (recording)."""

    DROP_OLDEST = 0
    PARK = 1


class RingStream(ByteStream):
    """The bytes of a bulk IN endpoint. DriverError when the transfers cannot be started."""

    def __init__(
        self,
        device: UsbDevice,
        endpoint: int,
        transfer_bytes: int = 256 * 1024,
        depth: int = DEPTH,
        slots: int = SLOTS,
        policy: Policy = Policy.DROP_OLDEST,
    ) -> None:
        packet = device.packet_bytes(endpoint)
        if transfer_bytes % packet:
            raise DriverError(f"{device.name}: transfers of {transfer_bytes} bytes are not whole packets of {packet}")
        if depth * transfer_bytes > MOST_IN_FLIGHT_BYTES:
            raise DriverError(
                f"{device.name}: {depth} transfers of {transfer_bytes} bytes exceed {MOST_IN_FLIGHT_BYTES} bytes; "
                + usbfs_budget()
            )
        self._device = device
        self._endpoint = endpoint
        context, handle, calls = _native_handles(device)
        self._ring = _ring.TransferRing(
            calls, context, handle, endpoint, transfer_bytes, depth, max(slots, depth + 4), policy
        )
        self._closed = False
        self._last = TransferCounters()
        error = self._ring.start()
        if error:
            self.close()
            if error == NO_MEMORY:
                raise OutOfMemory(
                    f"{device.name}: the system's memory for USB transfers does not hold {depth} of {transfer_bytes} "
                    f"bytes; {usbfs_budget()}"
                )
            if error == -4:
                device.lost = True
                raise Disconnected(f"{device.name}: has been unplugged")
            raise DriverError(f"{device.name}: transfers cannot be started (libusb error {error})")

    @property
    def counters(self) -> TransferCounters:  # type: ignore[override]
        if not self._closed:
            transfers, count, errors, halts, overruns, overrun_bytes, parks = self._ring.counters()
            self._last = TransferCounters(transfers, count, errors, halts, overrun_bytes, overruns, parks)
        return self._last

    @property
    def available(self) -> int:
        return self._ring.available()

    @property
    def byte_ns(self) -> int:
        return self._ring.byte_ns()

    @property
    def in_flight(self) -> int:
        """Transfers that the system is working on."""
        return 0 if self._closed else self._ring.in_flight()

    def wait(self, count: int, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            end = self._ring.wait(count, max(0.0, deadline - time.monotonic()))
            if end == _ring.READY:
                return
            if end == _ring.GONE:
                self._device.lost = True
                raise Disconnected(f"{self._device.name}: has been unplugged")
            if end == _ring.FAILED:
                raise Disconnected(f"{self._device.name}: transfers failed one after the other")
            if end == _ring.HALTED:
                # Not from the ring's own thread: clearing a halt waits for the device.
                self._device.clear_halt(self._endpoint)
                self._ring.resume()
                continue
            raise DriverTimeout(f"{self._device.name}: {self.available} of {count} bytes within {timeout_s:g} s")

    def peek(self, count: int) -> bytes:
        out = bytearray(count)
        self._ring.copy_into(memoryview(out), 0)
        return bytes(out)

    def copy_into(self, out: memoryview, offset: int = 0) -> None:
        self._ring.copy_into(out.cast("B") if out.format != "B" else out, offset)

    def skip(self, count: int) -> None:
        self._ring.skip(count)

    def close(self) -> None:
        if not self._closed:
            _ = self.counters
            self._closed = True
            self._ring.close()


def has_native_handles(device: UsbDevice) -> bool:
    """Whether the device was opened through libusb, so that a ring can work on it."""
    return hasattr(getattr(device.handle, "backend", None), "lib")


def _native_handles(device: UsbDevice) -> tuple[int, int, tuple[int, ...]]:
    """libusb's context and handle behind pyusb's device, and the addresses of the entry points in CALLS."""
    context: Any = device.handle._ctx
    context.managed_open()
    library = context.backend.lib
    try:
        calls = tuple(ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in CALLS)
    except AttributeError as error:
        raise DriverError(f"libusb: too old for streaming ({error}); install libusb-package 1.0.26 or newer") from error
    return context.backend.ctx.value or 0, context.handle.handle.value or 0, calls

"""Vendor control requests beside a bulk IN stream: what an array front-end needs of USB."""

from __future__ import annotations

import time
from collections.abc import Callable

from sonod.drivers.transports.stream import ByteStream, PolledStream
from sonod.drivers.transports.usb import UsbDevice

# Measured best for streaming through libusb: large enough that a transfer's cost vanishes, small enough that sixteen
# of them stay far below the system's 16 MiB for all transfers.
TRANSFER_BYTES = 256 * 1024


def open_stream(
    device: UsbDevice,
    endpoint: int,
    message_bytes: int,
    now_ns: Callable[[], int] = time.monotonic_ns,
) -> ByteStream:
    """The endpoint's bytes, room for several messages of `message_bytes`; transfers are kept in flight where the
    device was opened through libusb, else made one by one."""
    return PolledStream(device, endpoint, TRANSFER_BYTES, 4 * message_bytes + 2 * TRANSFER_BYTES, now_ns)

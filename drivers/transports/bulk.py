"""Vendor control requests beside a bulk IN stream: what an array front-end needs of USB."""

from __future__ import annotations

import time
from collections.abc import Callable

from sonod.drivers.transports.ring import SLOTS, Policy, RingStream, has_native_handles
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
    policy: Policy = Policy.DROP_OLDEST,
    transfer_bytes: int = TRANSFER_BYTES,
) -> ByteStream:
    """The endpoint's bytes, room for several messages of `message_bytes`; transfers are kept in flight where the
    device was opened through libusb, else made one by one."""
    if has_native_handles(device):
        # Two whole messages on top of what may wait: the ring keeps what a reader has been promised.
        slots = SLOTS + -(-2 * message_bytes // transfer_bytes)
        return RingStream(device, endpoint, transfer_bytes, slots=slots, policy=policy)
    return PolledStream(device, endpoint, transfer_bytes, 4 * message_bytes + 2 * transfer_bytes, now_ns)

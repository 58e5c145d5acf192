"""A measured usbmon capture through the bulk transport: its known payload, its known losses, its end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sonod.drivers.emulated.capture import CapturedDevice, packets
from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.emulated.memory import Bus, MemoryBackend
from sonod.drivers.errors import Disconnected, DriverError
from sonod.drivers.transports.stream import PolledStream
from sonod.drivers.transports.usb import Selector, open_device

# Facts from the data's README: 41 transfers of 32768 bytes, then the device went away.
TRANSFERS, TRANSFER_BYTES = 41, 32768
# Words between two places where the FIFO lost some.
BLOCK_WORDS = 2048


@pytest.fixture
def capture(data_folder: Path) -> Path:
    return data_folder / "usb" / "ft600_enumeration_and_bulk.pcapng"


@pytest.mark.data
def test_capture_replays_with_its_payload_and_its_losses(capture: Path) -> None:
    board = CapturedDevice(capture, 2, 20, ManualClock())
    bus = Bus()
    bus.attach(board)
    device = open_device(Selector(0x0403, 0x601E, "000000000001"), MemoryBackend(bus))
    assert (device.identity.manufacturer, device.identity.product) == ("FTDI", "FTDI SuperSpeed-FIFO Bridge")
    device.claim(0, 1)
    assert len(device.control_in(0xC0, 0xCF, 1, 0, 64)) > 0
    stream = PolledStream(device, 0x82, TRANSFER_BYTES, 1 << 21, board.clock.now_ns)
    with pytest.raises(Disconnected):
        stream.wait(TRANSFERS * TRANSFER_BYTES + 1, 1.0)
    assert (stream.counters.transfers, stream.counters.bytes) == (TRANSFERS, TRANSFERS * TRANSFER_BYTES)
    assert stream.counters.errors == 1
    words = np.frombuffer(stream.peek(stream.available), "<u2")
    assert (words >> 8 == 0xFF).all()
    low = (words & 0xFF).astype(np.int64)
    counter = low & ~0x0C | (low & 0x04) << 1 | (low & 0x08) >> 1
    jumps = np.flatnonzero((np.diff(counter) & 0xFF) != 1) + 1
    assert len(jumps) == len(words) // BLOCK_WORDS - 1 == 327
    assert (jumps % BLOCK_WORDS == 0).all()
    device.close()


@pytest.mark.data
def test_every_packet_of_the_capture_is_read(capture: Path) -> None:
    assert sum(1 for _ in packets(capture)) == 298


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(b"no capture at all")
    with pytest.raises(DriverError, match="pcapng"):
        list(packets(path))

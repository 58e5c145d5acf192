"""The reading half of the streaming measurement, in a process under umockdev's preload library: prints one JSON line.

python -m sonod.daemon.bench.usb_reader ring|polled SECONDS BUSY_THREADS
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from sonod.cext.wire import crc32c
from sonod.drivers.bulk.protocol import BULK_IN, HEADER_BYTES, Header, message_bytes
from sonod.drivers.emulated.paced import COUNTS, PRODUCT_ID, START, STOP, VENDOR_ID
from sonod.drivers.emulated.server import board_processors
from sonod.drivers.errors import DriverTimeout
from sonod.drivers.frame import Slot
from sonod.drivers.transports.resync import MagicLengthCrc, Resynchroniser, SequenceCheck, StreamCounters
from sonod.drivers.transports.ring import RingStream
from sonod.drivers.transports.stream import ByteStream, PolledStream
from sonod.drivers.transports.usb import Selector, open_device

TRANSFER_BYTES = 256 * 1024
SLOTS = 8
# Nothing for so long after the source was stopped: nothing more comes.
TAIL_S = 0.2


def main(arguments: list[str]) -> None:
    mode, seconds, busy = arguments[0], float(arguments[1]), int(arguments[2])
    processors = os.sched_getaffinity(0)
    # The source stands for a device, which takes no processor time from this process.
    os.sched_setaffinity(0, processors - board_processors() or processors)
    device = open_device(Selector(VENDOR_ID, PRODUCT_ID))
    device.claim(0)
    stream: ByteStream
    if mode == "ring":
        stream = RingStream(device, BULK_IN, TRANSFER_BYTES)
    else:
        stream = PolledStream(device, BULK_IN, TRANSFER_BYTES, 4 * TRANSFER_BYTES)
    counters = StreamCounters()
    framing = MagicLengthCrc(b"SRF1", HEADER_BYTES, message_bytes, 1 << 30)
    resync = Resynchroniser(stream, framing, counters)
    sequence = SequenceCheck(counters, 1 << 32)
    # Numbers begin at 0: what is lost before the first message counts too.
    sequence.follow(0xFFFFFFFF)
    slots = [Slot(TRANSFER_BYTES * 2) for _ in range(SLOTS)]
    views = [memoryview(slot.memory) for slot in slots]
    leaving = threading.Event()
    hogs = [threading.Thread(target=_burn, args=(leaving,), daemon=True) for _ in range(busy)]
    for hog in hogs:
        hog.start()
    device.control_out(0x40, START, 0, 0)
    stolen, waited = _stolen_s(), _waited_s()
    begun, cpu, own_cpu = time.monotonic(), time.process_time(), time.thread_time()
    taken = taken_bytes = 0
    stopped = False
    while True:
        if not stopped and time.monotonic() - begun >= seconds:
            cpu, own_cpu = time.process_time() - cpu, time.thread_time() - own_cpu
            elapsed, timed = time.monotonic() - begun, taken_bytes
            device.control_out(0x40, STOP, 0, 0)
            stopped = True
        try:
            length = resync.next(TAIL_S)
        except DriverTimeout:
            if stopped:
                break
            continue
        header = Header.from_bytes(stream.peek(HEADER_BYTES))
        place = views[taken % SLOTS][: header.payload_bytes]
        stream.copy_into(place, HEADER_BYTES)
        if crc32c(place) != header.payload_crc:
            resync.damaged(length)
            continue
        stream.skip(length)
        sequence.follow(header.sequence)
        taken += 1
        taken_bytes += length
    stolen, waited = _stolen_s() - stolen, _waited_s() - waited
    made, late = struct.unpack("<QQ", device.control_in(0xC0, COUNTS, 0, 0, 16))
    # What is missing after the last message that came.
    sequence.follow(made)
    leaving.set()
    for hog in hogs:
        hog.join()
    transfers = asdict(stream.counters)
    stream.close()
    device.close()
    print(  # noqa: T201  the answer to the parent process
        json.dumps(
            {
                "seconds": elapsed,
                "messages": taken,
                "bytes": timed,
                "made": made,
                "late": late,
                "missing": counters.lost,
                "out_of_order": counters.duplicates,
                "crc_errors": counters.crc_errors,
                "stolen_s": stolen,
                "waited_s": waited,
                "overruns": transfers["overruns"],
                "process_cpu_s": cpu,
                "reader_cpu_s": own_cpu,
            }
        )
    )


def _stolen_s() -> float:
    """Processor time, all processors together, that this machine's host gave to others (proc(5)); 0 if unknown."""
    try:
        with open("/proc/stat") as file:
            return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return 0.0


def _waited_s() -> float:
    """Time, all threads of this process together, in which one could have run but had no processor."""
    waited = 0
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError, IndexError, ValueError):
            waited += int((task / "schedstat").read_text().split()[1])
    return waited / 1e9


def _burn(leaving: threading.Event) -> None:
    while not leaving.is_set():
        sum(range(2000))


if __name__ == "__main__":
    main(sys.argv[1:])

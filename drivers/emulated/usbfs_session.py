"""One open device file of a program under umockdev's preload library: requests, and the transfers they stand for.

The requests are those of linux/usbdevice_fs.h on 64 bits. Every endpoint has a queue and a thread of its own, so that
control requests pass bulk reads that wait, as on the wire.
"""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from sonod.drivers.emulated.client_memory import HEADER, ClientMemory, receive
from sonod.drivers.emulated.description import Speed
from sonod.drivers.emulated.device import BusError, Data, Gone, Setup, Stall
from sonod.drivers.emulated.faults import OpenFault
from sonod.drivers.emulated.memory import Port

# umockdev's protocol on the socket, 0.17 to 0.19: what the program sends, and the end of an answer.
IOCTL, READ, DONE = 1, 7, 3

SUBMITURB, DISCARDURB, REAPURBNDELAY = 0x8038550A, 0x550B, 0x4008550D
GET_CAPABILITIES, CLAIMINTERFACE, RELEASEINTERFACE = 0x8004551A, 0x8004550F, 0x80045510
SETINTERFACE, SETCONFIGURATION, RESET, CLEAR_HALT = 0x80085504, 0x80045505, 0x5514, 0x80045515
GETDRIVER, DISCONNECT_CLAIM, GET_SPEED = 0x41045508, 0x8108551B, 0x551F
# Zero packet, no limit of a transfer's size, scatter and gather, reap after disconnect.
CAPABILITY_BITS = 0x1D
URB = struct.Struct("=BBxxiIxxxxQiiiiiIQ")
URB_BYTES = 56
assert URB.size == URB_BYTES
CONTROL = 2
# The kernel's limit for the buffers of all transfers together.
BUDGET_BYTES = 16 << 20
SPEED_NUMBERS = {Speed.FULL: 2, Speed.HIGH: 3, Speed.SUPER: 5}
# Of a device that promises nothing.
ASK_AGAIN_S = 0.0005
LONGEST_PAUSE_S = 0.01


class Node(Protocol):
    """What a session needs of the device file."""

    port: Port

    def settle(self) -> None:
        """Show whether a transfer has ended."""


@dataclass
class _Urb:
    """One transfer that the program has submitted."""

    address: int
    kind: int
    endpoint: int
    flags: int
    buffer: int
    length: int
    context: int
    stream: int = 0
    setup: Setup | None = None
    data: bytes = b""
    received: list[bytes] = field(default_factory=list)
    filled: int = 0
    status: int = 0
    asked_ns: int = 0
    done: bool = False
    # Held while bytes are taken from the board for this transfer.
    lock: threading.Lock = field(default_factory=threading.Lock)

    def result(self) -> bytes:
        return URB.pack(
            self.kind, self.endpoint, self.status, self.flags, self.buffer, self.length, self.filled, 0, self.stream,
            0, 0, self.context,
        )  # fmt: skip


class Session:
    """One open file of the program: its requests, one after the other, and the transfers it has submitted."""

    def __init__(self, node: Node, client: socket.socket) -> None:
        self._node = node
        self._device = node.port.device
        self._client = client
        self._memory = ClientMemory(client)
        self._claimed: set[int] = set()
        self._waiting: dict[int, deque[_Urb]] = {}
        self._ended: deque[_Urb] = deque()
        self._held_bytes = 0
        self._changed = threading.Condition()
        self.closed = False
        self._workers: dict[int, threading.Thread] = {}
        self._read_at = 0
        self._thread = threading.Thread(target=self._serve, name="usbfs-session", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        """Whether a transfer has ended that the program has not fetched."""
        return bool(self._ended) and not self.closed

    # -- requests ------------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        client = self._client
        try:
            while True:
                command, first, second = HEADER.unpack(receive(client, HEADER.size))
                if command == IOCTL:
                    value, error = self._ioctl(first, second)
                    client.sendall(HEADER.pack(DONE, value & 0xFFFFFFFFFFFFFFFF, error))
                elif command == READ:
                    self._read(first, second)
                else:
                    client.sendall(HEADER.pack(DONE, 0xFFFFFFFFFFFFFFFF, errno.EINVAL))
        except OSError:
            pass
        finally:
            with self._changed:
                self.closed = True
                self._changed.notify_all()
            client.close()

    def _read(self, buffer: int, length: int) -> None:
        description = self._device.description
        data = (description.device_descriptor() + description.configuration_descriptor())[self._read_at :][:length]
        self._read_at += len(data)
        self._memory.write((buffer, data))
        self._client.sendall(HEADER.pack(DONE, len(data), 0))

    def _ioctl(self, request: int, argument: int) -> tuple[int, int]:
        gone = self._node.port.gone
        if request == REAPURBNDELAY:
            return self._reap(argument)
        if gone:
            return -1, errno.ENODEV
        if request == SUBMITURB:
            return self._submit(argument)
        if request == DISCARDURB:
            return self._discard(argument)
        if request == GET_CAPABILITIES:
            self._memory.write((argument, struct.pack("=I", CAPABILITY_BITS)))
            return 0, 0
        if request in (CLAIMINTERFACE, DISCONNECT_CLAIM):
            if self._device.faults.open_fault is OpenFault.BUSY:
                return -1, errno.EBUSY
            self._claimed.add(int.from_bytes(self._memory.read(argument, 4), "little"))
            return 0, 0
        if request == RELEASEINTERFACE:
            self._claimed.discard(int.from_bytes(self._memory.read(argument, 4), "little"))
            return 0, 0
        if request in (SETINTERFACE, SETCONFIGURATION):
            return 0, 0
        try:
            if request == RESET:
                self._device.host_reset()
                return 0, 0
            if request == CLEAR_HALT:
                self._device.clear_halt(int.from_bytes(self._memory.read(argument, 4), "little"))
                return 0, 0
        except Gone:
            return -1, errno.ENODEV
        if request == GETDRIVER:
            return -1, errno.ENODATA
        if request == GET_SPEED:
            return SPEED_NUMBERS[self._device.description.speed], 0
        return -1, errno.ENOTTY

    # -- transfers -----------------------------------------------------------------------------------------------------

    def _submit(self, argument: int) -> tuple[int, int]:
        kind, endpoint, _, flags, buffer, length, _, _, stream, _, _, context = URB.unpack(
            self._memory.read(argument, URB_BYTES)
        )
        urb = _Urb(argument, kind, endpoint, flags, buffer, length, context, stream)
        urb.asked_ns = self._device.clock.now_ns()
        faults = self._device.faults
        if self._held_bytes + length > BUDGET_BYTES or (faults.open_fault is OpenFault.MEMORY and kind != CONTROL):
            return -1, errno.ENOMEM
        if kind == CONTROL:
            setup = Setup.from_bytes(self._memory.read(buffer, 8))
            urb.setup = setup
            if not setup.is_in and setup.length:
                urb.data = self._memory.read(buffer + 8, setup.length)
        else:
            try:
                interface = self._device.description.interface_of(endpoint)
            except KeyError:
                return -1, errno.ENOENT
            if interface not in self._claimed:
                return -1, errno.EINVAL
            if not endpoint & 0x80:
                urb.data = self._memory.read(buffer, length) if length else b""
        queue = endpoint if kind != CONTROL else 0
        with self._changed:
            self._held_bytes += length
            self._waiting.setdefault(queue, deque()).append(urb)
            if queue not in self._workers:
                worker = threading.Thread(target=self._work, args=(queue,), name=f"usbfs-{queue:#x}", daemon=True)
                self._workers[queue] = worker
                worker.start()
            self._changed.notify_all()
        return 0, 0

    def _discard(self, address: int) -> tuple[int, int]:
        with self._changed:
            for queue in self._waiting.values():
                for urb in queue:
                    if urb.address == address:
                        with urb.lock:
                            queue.remove(urb)
                            self._end(urb, -errno.ENOENT)
                        return 0, 0
        return -1, errno.EINVAL

    def _reap(self, argument: int) -> tuple[int, int]:
        with self._changed:
            if not self._ended:
                self._node.settle()
                return -1, errno.ENODEV if self._node.port.gone else errno.EAGAIN
            urb = self._ended.popleft()
            self._held_bytes -= urb.length
            if not self._ended:
                self._node.settle()
        parts: list[tuple[int, Data]] = []
        at = urb.buffer + 8 if urb.kind == CONTROL else urb.buffer
        for part in urb.received:
            parts.append((at, part))
            at += len(part)
        self._memory.write(*parts, (urb.address, urb.result()), (argument, struct.pack("=Q", urb.address)))
        return 0, 0

    def _end(self, urb: _Urb, status: int) -> None:
        """With the lock held."""
        urb.status, urb.done = status, True
        self._ended.append(urb)
        self._node.settle()

    def unplugged(self) -> None:
        with self._changed:
            for queue in self._waiting.values():
                while queue:
                    self._end(queue.popleft(), -errno.ESHUTDOWN)
            self._node.settle()
            self._changed.notify_all()

    # -- one thread per endpoint ---------------------------------------------------------------------------------------

    def _work(self, queue: int) -> None:
        waiting = self._waiting[queue]
        while True:
            with self._changed:
                while not waiting and not self.closed:
                    self._changed.wait(0.2)
                if self.closed:
                    return
                urb = waiting[0]
            status = self._progress(urb)
            if status is None:
                self._pause(queue)
                continue
            with self._changed:
                # It may have been discarded or ended by unplugging meanwhile.
                if waiting and waiting[0] is urb:
                    waiting.popleft()
                    self._end(urb, status)

    def _pause(self, queue: int) -> None:
        clock = self._device.clock
        due = self._device.due_ns(queue)
        pause = ASK_AGAIN_S if due is None else min(max((due - clock.now_ns()) / 1e9, 0.0), LONGEST_PAUSE_S)
        with self._changed:
            if not self.closed:
                self._changed.wait(max(pause, 0.00005))

    def _progress(self, urb: _Urb) -> int | None:
        """The status with which the transfer ends, or None while it goes on."""
        device = self._device
        if self._node.port.gone:
            return -errno.ESHUTDOWN
        try:
            if urb.setup is not None:
                answer = bytes(device.host_control(urb.setup, urb.data))
                urb.received, urb.filled = ([answer] if answer else []), len(answer)
                if not urb.setup.is_in:
                    urb.filled = urb.setup.length
                return 0
            if not urb.endpoint & 0x80:
                device.host_bulk_out(urb.endpoint, urb.data)
                urb.filled = urb.length
                return 0
            packet = device.description.endpoint(urb.endpoint).packet_bytes
            while urb.filled < urb.length:
                # A transfer that is discarded just now must not take bytes with it.
                with urb.lock:
                    if urb.done:
                        return 0
                    data: Data | None = device.host_in(urb.endpoint, urb.length - urb.filled, urb.asked_ns)
                    if data is None:
                        return None
                    count = len(data)
                    if count > urb.length - urb.filled:
                        return -errno.EOVERFLOW
                    if count and self._memory.direct:
                        self._memory.write((urb.buffer + urb.filled, data))
                    elif count:
                        urb.received.append(bytes(data))
                    urb.filled += count
                if not count or count % packet:
                    return 0
            return 0
        except Stall:
            return -errno.EPIPE
        except BusError:
            return -errno.EPROTO
        except (Gone, OSError):
            # OSError: the program has ended, nobody will fetch this.
            return -errno.ESHUTDOWN

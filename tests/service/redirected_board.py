"""An emulated board as a device of a virtual machine: the side of the usbredir protocol that has the device.

    with RedirectedBoard(SomeBoard(), Path("board.sock")):
        subprocess.run([..., "-chardev", "socket,id=u,path=board.sock", "-device", "usb-redir,chardev=u,bus=x.0"])

qemu shows the board to the guest's own kernel, whose host controller driver, usbfs and udev are real. The protocol is
that of usbredir 0.7 (usb-redirection-protocol.md of that project), as far as qemu's `usb-redir` uses it for control and
bulk endpoints. Every endpoint has a queue and a thread of its own, as in sonod.drivers.emulated.usbfs_session. qemu may
go and another one come.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from sonod.drivers.emulated.description import Speed, Transfer
from sonod.drivers.emulated.device import BusError, EmulatedDevice, Gone, Setup, Stall

VERSION = b"sonod emulated board"
HELLO_HEAD = struct.Struct("<III")
HEAD = struct.Struct("<IIQ")
HELLO = struct.Struct("<64sI")
CONTROL_HEAD = struct.Struct("<BBBBHHH")
BULK_HEAD = struct.Struct("<BBHIH")
# connect_device_version, device_disconnect_ack, ep_info_max_packet_size, 64bits_ids, 32bits_bulk_length: of both sides.
CAPABILITIES = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6
ENDPOINTS = 32
INTERFACES = 32
NO_ENDPOINT = 255
TYPES = {Transfer.BULK: 2, Transfer.INTERRUPT: 3}
SPEEDS = {Speed.FULL: 1, Speed.HIGH: 2, Speed.SUPER: 3}
# Of a device that promises nothing, and the longest that an unplugging goes unnoticed.
ASK_AGAIN_S = 0.0005
LONGEST_PAUSE_S = 0.01
LOOK_S = 0.02
# qemu acknowledges an unplugging at once; a guest that is just being reset does not.
ACKNOWLEDGED_S = 2.0


class Kind(IntEnum):
    HELLO = 0
    DEVICE_CONNECT = 1
    DEVICE_DISCONNECT = 2
    RESET = 3
    INTERFACE_INFO = 4
    EP_INFO = 5
    SET_CONFIGURATION = 6
    GET_CONFIGURATION = 7
    CONFIGURATION_STATUS = 8
    SET_ALT_SETTING = 9
    GET_ALT_SETTING = 10
    ALT_SETTING_STATUS = 11
    CANCEL_DATA_PACKET = 21
    DEVICE_DISCONNECT_ACK = 24
    CONTROL_PACKET = 100
    BULK_PACKET = 101


class Status(IntEnum):
    SUCCESS = 0
    CANCELLED = 1
    IO_ERROR = 3
    STALL = 4
    BABBLE = 6


class RedirectedBoard:
    """A board behind a Unix socket on which it waits for qemu; `unplug` and `plug` of the device show in the guest."""

    def __init__(self, device: EmulatedDevice, path: Path) -> None:
        self.device = device
        self._leaving = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._accept, name="usbredir", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while not self._leaving.is_set():
            try:
                machine, _ = self._listener.accept()
            except OSError:
                return
            with machine, suppress(OSError, EOFError):
                _Session(self.device, machine).serve()

    def close(self) -> None:
        self._leaving.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass
class _Packet:
    """One transfer that the guest has asked for."""

    number: int
    endpoint: int
    length: int
    stream: int = 0
    data: bytes = b""
    setup: Setup | None = None
    received: list[bytes] = field(default_factory=list)
    filled: int = 0
    asked_ns: int = 0
    done: bool = False
    # Held while bytes are taken from the board for this transfer.
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Session:
    """One qemu, from its hello to its end."""

    def __init__(self, device: EmulatedDevice, machine: socket.socket) -> None:
        self._device = device
        self._machine = machine
        self._sending = threading.Lock()
        self._changed = threading.Condition()
        self._waiting: dict[int, deque[_Packet]] = {}
        self._closed = False
        self._acknowledged = threading.Event()
        # The life of the device that the guest sees; -1 = none.
        self._shown = -1

    def serve(self) -> None:
        with self._sending:
            self._machine.sendall(HELLO_HEAD.pack(Kind.HELLO, HELLO.size, 0) + HELLO.pack(VERSION, CAPABILITIES))
        try:
            kind, length, _ = HELLO_HEAD.unpack(self._receive(HELLO_HEAD.size))
            _, theirs = HELLO.unpack(self._receive(length)[: HELLO.size])
            if kind != Kind.HELLO or theirs & CAPABILITIES != CAPABILITIES:
                raise EOFError(f"usbredir: the other side has the capabilities {theirs:#x}, not {CAPABILITIES:#x}")
            threading.Thread(target=self._follow, name="usbredir-plug", daemon=True).start()
            while True:
                kind, length, number = HEAD.unpack(self._receive(HEAD.size))
                self._take(kind, number, self._receive(length))
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()

    # -- plugging ------------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        with suppress(OSError):
            while not self._closed:
                life = self._device.generation if self._device.plugged else -1
                if life != self._shown:
                    if self._shown >= 0:
                        self._hide()
                    if life >= 0:
                        self._show()
                    self._shown = life
                time.sleep(LOOK_S)

    def _show(self) -> None:
        own = self._device.description
        interfaces = [one for one in own.interfaces if one.alternate == 0]
        columns = [
            [getattr(one, name) for one in interfaces] for name in ("number", "class_code", "subclass", "protocol")
        ]
        body = struct.pack("<I", len(interfaces)) + b"".join(
            bytes(column).ljust(INTERFACES, b"\0") for column in columns
        )
        self._send(Kind.INTERFACE_INFO, 0, body)
        types, intervals, owners, packets = (
            bytearray([NO_ENDPOINT] * ENDPOINTS), bytearray(ENDPOINTS), bytearray(ENDPOINTS), [0] * ENDPOINTS,
        )  # fmt: skip
        for control in (0, 16):
            types[control], packets[control] = 0, own.control_packet_bytes
        for endpoint in own.endpoints:
            place = endpoint.address & 0x0F | (endpoint.address & 0x80) >> 3
            types[place], intervals[place] = TYPES[endpoint.transfer], endpoint.interval
            owners[place], packets[place] = own.interface_of(endpoint.address), endpoint.packet_bytes
        self._send(Kind.EP_INFO, 0, bytes(types + intervals + owners) + struct.pack(f"<{ENDPOINTS}H", *packets))
        facts = (own.class_code, own.subclass, own.protocol, own.vendor_id, own.product_id, own.bcd_device)
        self._send(Kind.DEVICE_CONNECT, 0, struct.pack("<BBBBHHH", SPEEDS[own.speed], *facts))

    def _hide(self) -> None:
        with self._changed:
            for queue in self._waiting.values():
                for packet in queue:
                    packet.done = True
                queue.clear()
        self._acknowledged.clear()
        self._send(Kind.DEVICE_DISCONNECT, 0, b"")
        self._acknowledged.wait(ACKNOWLEDGED_S)

    # -- messages ------------------------------------------------------------------------------------------------------

    def _take(self, kind: int, number: int, body: bytes) -> None:
        match kind:
            case Kind.CONTROL_PACKET:
                endpoint, request, request_type, _, value, index, length = CONTROL_HEAD.unpack_from(body)
                setup = Setup(request_type, request, value, index, length)
                self._queue(_Packet(number, endpoint, length, data=body[CONTROL_HEAD.size :], setup=setup), 0)
            case Kind.BULK_PACKET:
                endpoint, _, low, stream, high = BULK_HEAD.unpack_from(body)
                self._queue(_Packet(number, endpoint, high << 16 | low, stream, body[BULK_HEAD.size :]), endpoint)
            case Kind.CANCEL_DATA_PACKET:
                self._cancel(number)
            case Kind.RESET:
                with suppress(Gone):
                    self._device.host_reset()
            case Kind.SET_CONFIGURATION:
                self._device.configuration_value = body[0]
                self._send(Kind.CONFIGURATION_STATUS, number, bytes((Status.SUCCESS, body[0])))
            case Kind.GET_CONFIGURATION:
                value = self._device.configuration_value
                self._send(Kind.CONFIGURATION_STATUS, number, bytes((Status.SUCCESS, value)))
            case Kind.SET_ALT_SETTING:
                self._send(Kind.ALT_SETTING_STATUS, number, bytes((Status.SUCCESS, body[0], body[1])))
            case Kind.GET_ALT_SETTING:
                self._send(Kind.ALT_SETTING_STATUS, number, bytes((Status.SUCCESS, body[0], 0)))
            case Kind.DEVICE_DISCONNECT_ACK:
                self._acknowledged.set()

    def _send(self, kind: Kind, number: int, *parts: bytes) -> None:
        head = HEAD.pack(kind, sum(map(len, parts)), number)
        with self._sending:
            self._machine.sendall(b"".join((head, *parts)))

    def _receive(self, count: int) -> bytes:
        data = bytearray(count)
        view = memoryview(data)
        while view:
            got = self._machine.recv_into(view)
            if not got:
                raise EOFError("usbredir: the virtual machine has ended")
            view = view[got:]
        return bytes(data)

    # -- transfers -----------------------------------------------------------------------------------------------------

    def _queue(self, packet: _Packet, place: int) -> None:
        packet.asked_ns = self._device.clock.now_ns()
        with self._changed:
            if place not in self._waiting:
                self._waiting[place] = deque()
                threading.Thread(target=self._work, args=(place,), name=f"usbredir-{place:#x}", daemon=True).start()
            self._waiting[place].append(packet)
            self._changed.notify_all()

    def _cancel(self, number: int) -> None:
        with self._changed:
            found = [(queue, one) for queue in self._waiting.values() for one in queue if one.number == number]
            for queue, packet in found:
                with packet.lock:
                    packet.done = True
                    queue.remove(packet)
        for _, packet in found:
            self._answer(packet, Status.CANCELLED)

    def _work(self, place: int) -> None:
        waiting = self._waiting[place]
        with suppress(OSError):
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: waiting or self._closed)
                    if self._closed:
                        return
                    packet = waiting[0]
                try:
                    status = self._progress(packet)
                except Gone:
                    # The guest hears of it from _follow; this transfer ends with the device.
                    time.sleep(LOOK_S)
                    continue
                if status is None:
                    self._pause(place)
                    continue
                with self._changed:
                    # It may have been cancelled or ended by unplugging meanwhile.
                    if packet.done or not waiting or waiting[0] is not packet:
                        continue
                    waiting.popleft()
                self._answer(packet, status)

    def _pause(self, place: int) -> None:
        due = self._device.due_ns(place)
        now_ns = self._device.clock.now_ns()
        pause = ASK_AGAIN_S if due is None else min(max((due - now_ns) / 1e9, 0.0), LONGEST_PAUSE_S)
        time.sleep(max(pause, 0.00005))

    def _progress(self, packet: _Packet) -> Status | None:
        """The status with which the transfer ends, or None while it goes on; Gone."""
        device = self._device
        try:
            if packet.setup is not None:
                answer = bytes(device.host_control(packet.setup, packet.data))
                packet.received = [answer]
                packet.filled = len(answer) if packet.setup.is_in else packet.length
                return Status.SUCCESS
            if not packet.endpoint & 0x80:
                device.host_bulk_out(packet.endpoint, packet.data)
                packet.filled = packet.length
                return Status.SUCCESS
            size = device.description.endpoint(packet.endpoint).packet_bytes
            while packet.filled < packet.length:
                with packet.lock:
                    if packet.done:
                        return Status.CANCELLED
                    data = device.host_in(packet.endpoint, packet.length - packet.filled, packet.asked_ns)
                    if data is None:
                        return None
                    if len(data) > packet.length - packet.filled:
                        return Status.BABBLE
                    packet.received.append(bytes(data))
                    packet.filled += len(data)
                if not data or len(data) % size:
                    break
        except Stall:
            return Status.STALL
        except BusError:
            return Status.IO_ERROR
        return Status.SUCCESS

    def _answer(self, packet: _Packet, status: Status) -> None:
        own = packet.setup
        if own is not None:
            head = CONTROL_HEAD.pack(
                packet.endpoint, own.request, own.request_type, status, own.value, own.index, packet.filled
            )
            self._send(Kind.CONTROL_PACKET, packet.number, head, *packet.received)
        else:
            low, high = packet.filled & 0xFFFF, packet.filled >> 16
            head = BULK_HEAD.pack(packet.endpoint, status, low, packet.stream, high)
            self._send(Kind.BULK_PACKET, packet.number, head, *packet.received)

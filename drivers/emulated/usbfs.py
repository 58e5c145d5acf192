"""Emulated devices as Linux shows them to programs: unmodified pyusb and libusb under umockdev's preload library.

    with UsbfsFront(folder) as front:
        front.attach(SomeBoard())
        subprocess.run([...], env=own_environment | front.environment)

The program is started with libumockdev-preload.so.0, which turns its accesses to /sys, /dev/bus/usb and their ioctls
towards a folder of files and sockets; this module is what answers there. The protocol on the sockets is umockdev's own
(0.17 to 0.19), the requests are those of linux/usbdevice_fs.h on 64 bits.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from sonod.drivers.emulated.description import Description, Speed
from sonod.drivers.emulated.device import BusError, Data, EmulatedDevice, Gone, Setup, Stall
from sonod.drivers.emulated.faults import OpenFault
from sonod.drivers.emulated.memory import Bus, Port

PRELOAD_LIBRARY = "libumockdev-preload.so.0"

HEADER = struct.Struct("=QQQ")
IOCTL, READ, WRITE = 1, 7, 8
DONE, READ_MEMORY, WRITE_MEMORY = 3, 5, 6

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
SPEED_NAMES = {Speed.FULL: "12", Speed.HIGH: "480", Speed.SUPER: "5000"}
SPEED_NUMBERS = {Speed.FULL: 2, Speed.HIGH: 3, Speed.SUPER: 5}
SET_PIPE_SIZE = 1031
# Of a device that promises nothing.
ASK_AGAIN_S = 0.0005
LONGEST_PAUSE_S = 0.01


def preload_library() -> Path | None:
    """Where umockdev's library is, or None when the package umockdev is not installed."""
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"):
        path = Path(folder, PRELOAD_LIBRARY)
        if path.exists():
            return path
    return None


def sleep_exactly() -> None:
    """Let this process and its children sleep as short as asked: the preload library sleeps 0 after every request,
    which the usual timer slack makes 60 us."""
    ctypes.CDLL(None).prctl(29, 1, 0, 0, 0)


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

    def result(self) -> bytes:
        return URB.pack(
            self.kind, self.endpoint, self.status, self.flags, self.buffer, self.length, self.filled, 0, self.stream,
            0, 0, self.context,
        )  # fmt: skip


class UsbfsFront:
    """A tree of files and sockets in `folder` (short: a socket's path has 108 bytes), and the threads behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bus = Bus()
        self._nodes: list[_Node] = []
        self._leaving = threading.Event()
        self._refreshing = threading.Lock()
        for name in ("sys/bus/usb/devices", "sys/devices/pci0000:00/0000:00:14.0/usb1", "sys/class", "run/udev/data"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("dev/bus/usb/001", "dev/.node", "ioctl/dev/bus/usb/001"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._watch = threading.Thread(target=self._follow, name="usbfs-plug", daemon=True)
        self._watch.start()

    @property
    def environment(self) -> dict[str, str]:
        """What a program must be started with to see the devices."""
        library = preload_library()
        return {"LD_PRELOAD": str(library or PRELOAD_LIBRARY), "UMOCKDEV_DIR": str(self.folder)}

    def attach(self, device: EmulatedDevice) -> None:
        """Plug in; from now on its `unplug` and `plug` show in the tree."""
        self.bus.attach(device)
        self.refresh()

    def refresh(self) -> None:
        """Bring the tree to what is plugged in now."""
        with self._refreshing:
            self._refresh()

    def _refresh(self) -> None:
        ports = {id(port): port for port in self.bus.ports}
        for node in [node for node in self._nodes if id(node.port) not in ports]:
            self._nodes.remove(node)
            node.remove()
        known = {id(node.port) for node in self._nodes}
        for key, port in ports.items():
            if key not in known:
                self._nodes.append(_Node(self.folder, port))

    def _follow(self) -> None:
        while not self._leaving.wait(0.02):
            if any(node.port.gone for node in self._nodes) or len(self.bus.ports) != len(self._nodes):
                self.refresh()

    def close(self) -> None:
        """Take everything away."""
        self._leaving.set()
        self._watch.join()
        for node in self._nodes:
            node.remove()
        self._nodes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Node:
    """The files of one port, and the socket on which its requests come."""

    def __init__(self, folder: Path, port: Port) -> None:
        self.port = port
        self._folder = folder
        description = port.device.description
        self._name = f"{port.bus}-{port.number}"
        self._device_file = f"dev/bus/usb/{port.bus:03}/{port.address:03}"
        self.minor = (port.bus - 1) * 128 + port.address - 1
        self._path = f"sys/devices/pci0000:00/0000:00:14.0/usb{port.bus}/{self._name}"
        self._write_files(description)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Paths of sockets are short: bind by a link to the folder.
        where = os.open(folder / "ioctl/dev/bus/usb" / f"{port.bus:03}", os.O_PATH | os.O_DIRECTORY)
        try:
            self.listener.bind(f"/proc/self/fd/{where}/{port.address:03}")
        finally:
            os.close(where)
        self.listener.listen(8)
        fifo = folder / self._device_file
        os.mkfifo(fifo)
        self.fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self.fifo, SET_PIPE_SIZE, 4096)
        self._signal_lock = threading.Lock()
        self._ready = True
        self._sessions: list[_Session] = []
        self.settle()
        self._removed = False
        (folder / "sys/bus/usb/devices" / self._name).symlink_to(f"../../../devices/{self._path[12:]}")
        self._thread = threading.Thread(target=self._accept, name=f"usbfs-{self._name}", daemon=True)
        self._thread.start()
        self._uevent("add")

    def _write_files(self, description: Description) -> None:
        port, path = self.port, self._folder / self._path
        path.mkdir(parents=True, exist_ok=True)
        texts = {
            "busnum": port.bus,
            "devnum": port.address,
            "speed": SPEED_NAMES[description.speed],
            "bConfigurationValue": 1,
            "idVendor": f"{description.vendor_id:04x}",
            "idProduct": f"{description.product_id:04x}",
            "dev": f"189:{self.minor}",
            "devpath": port.number,
            "uevent": "\n".join(f"{name}={value}" for name, value in self._properties().items()),
        }
        for name, text in texts.items():
            (path / name).write_text(f"{text}\n")
        (path / "descriptors").write_bytes(description.device_descriptor() + description.configuration_descriptor())
        if not (path / "subsystem").is_symlink():
            (path / "subsystem").symlink_to("../../../../../bus/usb")
        (self._folder / "dev/.node" / self._device_file[4:].replace("/", "_")).symlink_to(f"189:{self.minor}")

    def _properties(self) -> dict[str, object]:
        port = self.port
        return {
            "MAJOR": 189,
            "MINOR": self.minor,
            "DEVNAME": f"bus/usb/{port.bus:03}/{port.address:03}",
            "DEVTYPE": "usb_device",
            "BUSNUM": f"{port.bus:03}",
            "DEVNUM": f"{port.address:03}",
        }

    def settle(self) -> None:
        """A FIFO that can be written to is how poll() in libusb learns that a transfer has ended; a pipe of one page
        with one byte in it cannot."""
        with self._signal_lock:
            ready = self.port.gone or any(session.has_ended for session in self._sessions)
            if ready == self._ready:
                return
            self._ready = ready
            if ready:
                os.read(self.fifo, 1)
            else:
                os.write(self.fifo, b"x")

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            session = _Session(self, client)
            # Known before it answers: else its first transfer could end without `settle` seeing it.
            self._sessions = [*(one for one in self._sessions if not one.closed), session]
            session.start()

    def remove(self) -> None:
        """Unplugged: transfers end, files go; programs that have it open keep their socket and hear ENODEV."""
        if self._removed:
            return
        self._removed = True
        for session in self._sessions:
            session.unplugged()
        link = self._folder / "sys/bus/usb/devices" / self._name
        link.unlink(missing_ok=True)
        shutil.rmtree(self._folder / self._path, ignore_errors=True)
        (self._folder / self._device_file).unlink(missing_ok=True)
        (self._folder / "dev/.node" / self._device_file[4:].replace("/", "_")).unlink(missing_ok=True)
        (self._folder / "ioctl" / self._device_file).unlink(missing_ok=True)
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._uevent("remove")

    def _uevent(self, action: str) -> None:
        properties = {
            "ACTION": action,
            "DEVPATH": f"/{self._path[4:]}",
            "SEQNUM": time.monotonic_ns() // 1000,
            "SUBSYSTEM": "usb",
            **self._properties(),
            "DEVNAME": f"/{self._device_file}",
        }
        body = b"".join(f"{name}={value}".encode() + b"\0" for name, value in properties.items())
        head = struct.pack("=8sIIII", b"libudev\0", socket.htonl(0xFEEDCAFE), 40, 40, len(body))
        head += struct.pack(">II", _murmur2(b"usb"), _murmur2(b"usb_device")) + bytes(8)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            for listener in self._folder.glob("event*"):
                try:
                    sender.sendto(head + body, str(listener))
                except OSError:
                    continue


class _Session:
    """One open file of the program: its requests, one after the other, and the transfers it has submitted."""

    def __init__(self, node: _Node, client: socket.socket) -> None:
        self._node = node
        self._device = node.port.device
        self._client = client
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
                head = _receive(client, HEADER.size)
                if head is None:
                    break
                command, first, second = HEADER.unpack(head)
                if command == IOCTL:
                    value, error = self._ioctl(first, second)
                    if value is not None:
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
        self._client.sendall(HEADER.pack(WRITE_MEMORY, buffer, len(data)) + data + HEADER.pack(DONE, len(data), 0))

    def _ioctl(self, request: int, argument: int) -> tuple[int | None, int]:
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
            self._client.sendall(
                HEADER.pack(WRITE_MEMORY, argument, 4) + struct.pack("=I", CAPABILITY_BITS) + HEADER.pack(DONE, 0, 0)
            )
            return None, 0
        if request in (CLAIMINTERFACE, DISCONNECT_CLAIM):
            if self._device.faults.open_fault is OpenFault.BUSY:
                return -1, errno.EBUSY
            self._claimed.add(int.from_bytes(self._memory(argument, 4), "little"))
            return 0, 0
        if request == RELEASEINTERFACE:
            self._claimed.discard(int.from_bytes(self._memory(argument, 4), "little"))
            return 0, 0
        if request in (SETINTERFACE, SETCONFIGURATION):
            return 0, 0
        try:
            if request == RESET:
                self._device.host_reset()
                return 0, 0
            if request == CLEAR_HALT:
                self._device.clear_halt(int.from_bytes(self._memory(argument, 4), "little"))
                return 0, 0
        except Gone:
            return -1, errno.ENODEV
        if request == GETDRIVER:
            return -1, errno.ENODATA
        if request == GET_SPEED:
            return SPEED_NUMBERS[self._device.description.speed], 0
        return -1, errno.ENOTTY

    def _memory(self, address: int, length: int) -> bytes:
        self._client.sendall(HEADER.pack(READ_MEMORY, address, length))
        data = _receive(self._client, length)
        if data is None:
            raise ConnectionResetError
        return data

    # -- transfers -----------------------------------------------------------------------------------------------------

    def _submit(self, argument: int) -> tuple[int, int]:
        kind, endpoint, _, flags, buffer, length, _, _, stream, _, _, context = URB.unpack(
            self._memory(argument, URB_BYTES)
        )
        urb = _Urb(argument, kind, endpoint, flags, buffer, length, context, stream)
        urb.asked_ns = self._device.clock.now_ns()
        faults = self._device.faults
        if self._held_bytes + length > BUDGET_BYTES or (faults.open_fault is OpenFault.MEMORY and kind != CONTROL):
            return -1, errno.ENOMEM
        if kind == CONTROL:
            setup = Setup.from_bytes(self._memory(buffer, 8))
            urb.setup = setup
            if not setup.is_in and setup.length:
                urb.data = self._memory(buffer + 8, setup.length)
        else:
            try:
                interface = self._device.description.interface_of(endpoint)
            except KeyError:
                return -1, errno.ENOENT
            if interface not in self._claimed:
                return -1, errno.EINVAL
            if not endpoint & 0x80:
                urb.data = self._memory(buffer, length) if length else b""
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
                        queue.remove(urb)
                        self._end(urb, -errno.ENOENT)
                        return 0, 0
        return -1, errno.EINVAL

    def _reap(self, argument: int) -> tuple[int | None, int]:
        with self._changed:
            if not self._ended:
                self._node.settle()
                return -1, errno.ENODEV if self._node.port.gone else errno.EAGAIN
            urb = self._ended.popleft()
            self._held_bytes -= urb.length
            if not self._ended:
                self._node.settle()
        at = urb.buffer + 8 if urb.kind == CONTROL else urb.buffer
        for part in urb.received:
            self._client.sendall(HEADER.pack(WRITE_MEMORY, at, len(part)))
            self._client.sendall(part)
            at += len(part)
        self._client.sendall(
            HEADER.pack(WRITE_MEMORY, urb.address, URB_BYTES)
            + urb.result()
            + HEADER.pack(WRITE_MEMORY, argument, 8)
            + struct.pack("=Q", urb.address)
            + HEADER.pack(DONE, 0, 0)
        )
        return None, 0

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
                with self._changed:
                    if urb.done:
                        return 0
                    data: Data | None = device.host_in(urb.endpoint, urb.length - urb.filled, urb.asked_ns)
                    if data is None:
                        return None
                    part = bytes(data)
                    if len(part) > urb.length - urb.filled:
                        return -errno.EOVERFLOW
                    if part:
                        urb.received.append(part)
                    urb.filled += len(part)
                if not part or len(part) % packet:
                    return 0
            return 0
        except Stall:
            return -errno.EPIPE
        except BusError:
            return -errno.EPROTO
        except Gone:
            return -errno.ESHUTDOWN


def _receive(client: socket.socket, length: int) -> bytes | None:
    data = client.recv(length)
    while 0 < len(data) < length:
        more = client.recv(length - len(data))
        if not more:
            return None
        data += more
    return data if len(data) == length else None


def _murmur2(data: bytes) -> int:
    """MurmurHash2, 32 bits, seed 0 (A. Appleby): how udev's monitors filter."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = len(data)
    while len(data) >= 4:
        k = int.from_bytes(data[:4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
        data = data[4:]
    if data:
        h = (h ^ int.from_bytes(data, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15

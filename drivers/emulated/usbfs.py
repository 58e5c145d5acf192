"""Emulated devices as Linux shows them to programs: unmodified pyusb and libusb under umockdev's preload library.

    with UsbfsFront(folder) as front:
        front.attach(SomeBoard())
        subprocess.run([...], env=own_environment | front.environment)

The program is started with libumockdev-preload.so.0, which turns its accesses to /sys, /dev/bus/usb and their ioctls
towards a folder of files and sockets, which are made here; what comes on a socket is answered by usbfs_session.py.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from sonod.drivers.emulated.description import Description, Speed
from sonod.drivers.emulated.device import EmulatedDevice
from sonod.drivers.emulated.faults import OpenFault
from sonod.drivers.emulated.memory import Bus, Port
from sonod.drivers.emulated.usbfs_session import Session

PRELOAD_LIBRARY = "libumockdev-preload.so.0"

SPEED_NAMES = {Speed.FULL: "12", Speed.HIGH: "480", Speed.SUPER: "5000"}
SET_PIPE_SIZE = 1031


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
        for node in self._nodes:
            node.permit(node.port.device.faults.open_fault is not OpenFault.ACCESS)
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
        self._sessions: list[Session] = []
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

    def permit(self, allowed: bool) -> None:
        """Whether the device file may be opened (by anybody but a root that may do everything)."""
        os.chmod(self._folder / self._device_file, 0o666 if allowed else 0)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self._sessions = [session for session in self._sessions if not session.closed]
            session = Session(self, client)
            # Known before its first request, so that the end of its first transfer is seen.
            self._sessions = [*self._sessions, session]
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

"""A serial device file (/dev/ttyACM0, a pseudo-terminal) as a byte port: the way in when the kernel has the device."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import select
import struct
import termios
from pathlib import Path

from sonod.drivers.errors import AccessDenied, DeviceNotFound, Disconnected, DriverError, DriverTimeout
from sonod.drivers.pacing import Clock
from sonod.drivers.transports.byte_port import BytePort, Identity

# From asm-generic/ioctls.h and termbits.h: any baud rate, which the termios module has no names for.
_TCGETS2, _TCSETS2 = 0x802C542A, 0x402C542B
_TERMIOS2 = struct.Struct("<IIIIB19sII")
_BOTHER, _CBAUD = 0o010000, 0o010017
_GONE = frozenset({errno.EIO, errno.ENODEV, errno.ENXIO, errno.EBADF})


class TtyPort(BytePort):
    """Raw 8N1, exclusive. Baud is ignored by native USB ports and by pseudo-terminals."""

    def __init__(self, path: str, baud: int = 115200, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self._file = -1
        try:
            self._file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise DeviceNotFound(f"{path}: there is no such device; is the board plugged in?") from error
        except PermissionError as error:
            group = _group(path)
            raise AccessDenied(
                f"{path}: permission denied; add yourself to the group {group}, or run as root"
            ) from error
        except OSError as error:
            kind = AccessDenied if error.errno == errno.EBUSY else DeviceNotFound
            raise kind(f"{path}: cannot be opened ({os.strerror(error.errno or 0)})") from error
        try:
            self._set_up(path, baud)
        except BaseException:
            os.close(self._file)
            raise
        self.identity = _identity(path)
        self._place = path

    def read_into(self, view: memoryview, timeout_s: float) -> int:
        try:
            ready, _, _ = select.select([self._file], [], [], timeout_s)
            if not ready:
                return 0
            count = os.readv(self._file, [view])
        except BlockingIOError:
            return 0
        except (OSError, ValueError) as error:
            raise self._gone(error) from error
        if count == 0:
            raise Disconnected(f"{self._place}: the device went away")
        return count

    def write(self, data: bytes, timeout_s: float = 1.0) -> None:
        deadline_ns = self.clock.now_ns() + int(timeout_s * 1e9)
        rest = memoryview(data)
        while rest:
            try:
                _, ready, _ = select.select([], [self._file], [], timeout_s)
                rest = rest[os.write(self._file, rest) :] if ready else rest
            except BlockingIOError:
                pass
            except (OSError, ValueError) as error:
                raise self._gone(error) from error
            if rest and self.clock.now_ns() >= deadline_ns:
                raise DriverTimeout(f"{self._place}: the device does not take what is sent to it")

    def set_dtr(self, up: bool) -> None:
        lines = array.array("i", [termios.TIOCM_DTR | termios.TIOCM_RTS])
        # A pseudo-terminal has no such lines; its other end knows that somebody is there.
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._file, termios.TIOCMBIS if up else termios.TIOCMBIC, lines)

    def close(self) -> None:
        if self._file < 0:
            return
        self.set_dtr(False)
        with contextlib.suppress(OSError):
            os.close(self._file)
        self._file = -1

    def _set_up(self, path: str, baud: int) -> None:
        try:
            fcntl.ioctl(self._file, termios.TIOCEXCL)
            attributes = termios.tcgetattr(self._file)
            attributes[0] = attributes[1] = attributes[3] = 0
            attributes[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
            attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 0, 0
            termios.tcsetattr(self._file, termios.TCSANOW, attributes)
            raw = bytearray(_TERMIOS2.size)
            fcntl.ioctl(self._file, _TCGETS2, raw)
            fields = list(_TERMIOS2.unpack(raw))
            fields[2] = (fields[2] & ~_CBAUD) | _BOTHER
            fields[6] = fields[7] = baud
            fcntl.ioctl(self._file, _TCSETS2, _TERMIOS2.pack(*fields))
            termios.tcflush(self._file, termios.TCIOFLUSH)
        except (OSError, termios.error) as error:
            raise DeviceNotFound(f"{path}: is not a serial device ({error})") from error

    def _gone(self, error: Exception) -> DriverError:
        if isinstance(error, OSError) and error.errno not in _GONE:
            return DriverError(f"{self._place}: {error}")
        return Disconnected(f"{self._place}: the device went away")


def _group(path: str) -> str:
    try:
        return Path(path).group()
    except (OSError, KeyError):
        return "dialout"


def _identity(path: str) -> Identity:
    """What sysfs says of the USB device behind a tty; empty strings for any other."""
    place = Path("/sys/class/tty") / Path(path).resolve().name / "device"
    for folder in (place, *place.resolve().parents)[:4]:
        if (folder / "idVendor").exists():
            manufacturer, product, serial = (_text(folder / name) for name in ("manufacturer", "product", "serial"))
            return Identity(manufacturer, product, serial, path)
    return Identity(place=path)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""

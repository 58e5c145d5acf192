"""The memory of the program under umockdev's preload library, which the front of usbfs.py reads and writes.

As a host controller does, straight where the kernel lets us (process_vm_readv and process_vm_writev: the same user, no
stricter rule for tracing); else by the protocol on the socket, which costs two more copies and a change of process for
every read.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct

from sonod.drivers.emulated.device import Data

HEADER = struct.Struct("=QQQ")
READ_MEMORY, WRITE_MEMORY = 5, 6
# Parts in one call; Linux takes 1024.
MOST_PARTS = 512


class _Vector(ctypes.Structure):
    """struct iovec"""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_LIBRARY = ctypes.CDLL(None, use_errno=True)
for _call in ("process_vm_readv", "process_vm_writev"):
    getattr(_LIBRARY, _call).argtypes = (
        ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong,
    )  # fmt: skip
    getattr(_LIBRARY, _call).restype = ctypes.c_ssize_t


class ClientMemory:
    """Of the program at the other end of `client`; OSError when it has gone.

    `direct`: the kernel lets us, so that bytes can be written at any time; else only while the program waits for the
    answer to a request. Settled by the first access.
    """

    def __init__(self, client: socket.socket, direct: bool = True) -> None:
        self._client = client
        self._process = struct.unpack("=iII", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        self.direct = direct

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes from `address` on."""
        if self.direct:
            own = ctypes.create_string_buffer(length)
            self._move("process_vm_readv", [(ctypes.addressof(own), address, length)])
        if self.direct:
            return own.raw
        self._client.sendall(HEADER.pack(READ_MEMORY, address, length))
        return receive(self._client, length)

    def write(self, *parts: tuple[int, Data]) -> None:
        """Pairs of an address and the bytes that go there."""
        if self.direct:
            held = [(address, _pinned(data)) for address, data in parts if len(data)]
            self._move("process_vm_writev", [(_address(own), address, len(own)) for address, own in held])
        if not self.direct:
            for address, data in parts:
                # The program does not put a header together again that comes in two pieces.
                self._client.sendall(HEADER.pack(WRITE_MEMORY, address, len(data)))
                self._client.sendall(data)

    def _move(self, call: str, parts: list[tuple[int, int, int]]) -> None:
        """Own address, the program's address, length; on refusal `direct` ends."""
        for begin in range(0, len(parts), MOST_PARTS):
            some = parts[begin : begin + MOST_PARTS]
            own = (_Vector * len(some))(*[_Vector(address, length) for address, _, length in some])
            other = (_Vector * len(some))(*[_Vector(address, length) for _, address, length in some])
            moved = getattr(_LIBRARY, call)(self._process, own, len(some), other, len(some), 0)
            if moved == sum(length for _, _, length in some):
                continue
            error = ctypes.get_errno() if moved < 0 else errno.EFAULT
            if error not in (errno.EPERM, errno.ENOSYS):
                raise OSError(error, os.strerror(error))
            self.direct = False
            return


def receive(client: socket.socket, length: int) -> bytes:
    """Just so many bytes; ConnectionResetError when the other end has closed."""
    data = client.recv(length)
    while len(data) < length:
        more = client.recv(length - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


def _pinned(data: Data) -> Data:
    """Bytes whose address can be had."""
    return bytes(data) if isinstance(data, memoryview) and data.readonly else data


def _address(data: Data) -> int:
    if isinstance(data, bytes):
        return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
    return ctypes.addressof(ctypes.c_char.from_buffer(data))

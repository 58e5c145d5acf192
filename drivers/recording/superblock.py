"""The first 48 bytes of an HDF5 file: whether somebody writes it, and where it ends."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from sonod.drivers.errors import RecordingError

# HDF5 File Format Specification, version 3.0, II.A: superblock version 3.
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK = struct.Struct("<8sBBBBQQQQI")
_SUPERBLOCK_VERSION = 3
_MASK = 0xFFFFFFFF


def close_abandoned(path: Path) -> None:
    """Say that nobody writes any more, and that the file ends where it ends; RecordingError when somebody writes."""
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RecordingError(f"{path}: is being written by another program; wait until it is closed") from error
        values = _SUPERBLOCK.unpack(file.read(_SUPERBLOCK.size))
        signature, version, offsets, lengths, _, base, extension, end, root, _ = values
        if signature != _SIGNATURE or version != _SUPERBLOCK_VERSION:
            raise RecordingError(f"{path}: is not of HDF5's superblock version 3; nothing of sonod's to close")
        end = max(end, os.fstat(file.fileno()).st_size)
        head = struct.pack("<8sBBBBQQQQ", signature, version, offsets, lengths, 0, base, extension, end, root)
        file.seek(0)
        file.write(head + struct.pack("<I", lookup3(head)))
        file.flush()
        os.fsync(file.fileno())


def trim(path: Path) -> None:
    """Give back what was reserved beyond the end of a file that is closed."""
    with path.open("r+b") as file:
        values = _SUPERBLOCK.unpack(file.read(_SUPERBLOCK.size))
        signature, version, end = values[0], values[1], values[7]
        if signature == _SIGNATURE and version == _SUPERBLOCK_VERSION and end < os.fstat(file.fileno()).st_size:
            os.ftruncate(file.fileno(), end)


def lookup3(data: bytes) -> int:
    """HDF5's checksum of metadata: Bob Jenkins' lookup3, hashlittle with the initial value 0."""
    a: int
    b: int
    c: int
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    place = 0
    while len(data) - place > 12:
        x, y, z = struct.unpack_from("<III", data, place)
        a, b, c = (a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK
        a = ((a - c) & _MASK) ^ _turned(c, 4)
        c = (c + b) & _MASK
        b = ((b - a) & _MASK) ^ _turned(a, 6)
        a = (a + c) & _MASK
        c = ((c - b) & _MASK) ^ _turned(b, 8)
        b = (b + a) & _MASK
        a = ((a - c) & _MASK) ^ _turned(c, 16)
        c = (c + b) & _MASK
        b = ((b - a) & _MASK) ^ _turned(a, 19)
        a = (a + c) & _MASK
        c = ((c - b) & _MASK) ^ _turned(b, 4)
        b = (b + a) & _MASK
        place += 12
    if place == len(data):
        return c
    x, y, z = struct.unpack("<III", data[place:].ljust(12, b"\0"))
    a, b, c = (a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK
    c = ((c ^ b) - _turned(b, 14)) & _MASK
    a = ((a ^ c) - _turned(c, 11)) & _MASK
    b = ((b ^ a) - _turned(a, 25)) & _MASK
    c = ((c ^ b) - _turned(b, 16)) & _MASK
    a = ((a ^ c) - _turned(c, 4)) & _MASK
    b = ((b ^ a) - _turned(a, 14)) & _MASK
    return ((c ^ b) - _turned(b, 24)) & _MASK


def _turned(value: int, bits: int) -> int:
    """Rotated to the left, within 32 bits."""
    return ((value << bits) | (value >> (32 - bits))) & _MASK

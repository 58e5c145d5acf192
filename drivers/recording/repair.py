"""Closing a recording in the place of a writer that has ended without doing so."""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sonod.drivers.errors import RecordingError
from sonod.drivers.recording.reader import Recording

# HDF5 File Format Specification, version 3.0, II.A: superblock version 3.
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK = struct.Struct("<8sBBBBQQQQI")
_SUPERBLOCK_VERSION = 3
_MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class Repaired:
    """`was_open`: the file had to be closed. `damaged`: numbers of the frames that are not what was recorded."""

    was_open: bool
    frames: int
    damaged: tuple[int, ...]


def repair_recording(path: Path) -> Repaired:
    """Close the file if it is open, and compare every frame with its digest; RecordingError when it cannot be read or
    is still being written. Closed files are not touched."""
    with Recording(path) as recording:
        was_open = recording.abandoned
        frame = np.empty(recording.acquisition.shape, recording.acquisition.dtype)
        numbers = recording.numbers
        damaged = tuple(
            int(numbers[index]) for index in range(recording.frame_count) if not recording.whole(index, frame)
        )
        frames = recording.frame_count
    if was_open:
        _close(path)
        with Recording(path) as recording:
            frames = min(frames, recording.frame_count)
    return Repaired(was_open, frames, damaged)


def _close(path: Path) -> None:
    """Say in the superblock that nobody writes any more, and that the file ends where it ends."""
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

"""A saved clip as a tar file, made while it is sent; nothing of it is kept in memory or on the disk."""

from __future__ import annotations

import asyncio
import os
import stat
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "manifest.json"
# A clip has a handful of files, all in its folder.
FILE_LIMIT = 256
CHUNK_BYTES = 1 << 20


class NoBundle(Exception):
    """The clip cannot be had; one line says why."""


@dataclass(frozen=True)
class Bundle:
    """Names and sizes of the files of a clip's folder."""

    folder: Path
    files: tuple[tuple[str, int], ...]

    @property
    def name(self) -> str:
        return f"{self.folder.name}.tar"

    @property
    def size_bytes(self) -> int:
        return sum(tarfile.BLOCKSIZE + size + _fill(size) for _, size in self.files) + 2 * tarfile.BLOCKSIZE

    async def chunks(self) -> AsyncIterator[bytes]:
        """The tar file, piece by piece; NoBundle when a file is not what it was."""
        for name, size in self.files:
            header = tarfile.TarInfo(f"{self.folder.name}/{name}")
            header.size, header.mode = size, 0o644
            with _opened(self.folder / name) as file:
                header.mtime = int(os.fstat(file).st_mtime)
                yield header.tobuf(tarfile.GNU_FORMAT)
                left = size
                while left:
                    # A disk may be slow, and the gateway has others to serve.
                    piece = await asyncio.to_thread(os.read, file, min(CHUNK_BYTES, left))
                    if not piece:
                        raise NoBundle(f"{name}: became shorter while it was sent")
                    left -= len(piece)
                    yield piece
            yield bytes(_fill(size))
        yield bytes(2 * tarfile.BLOCKSIZE)


def bundle_of(folder: Path) -> Bundle:
    """The files of a finished clip's folder: regular ones that lie in it, and nothing that they point at."""
    try:
        with os.scandir(folder) as entries:
            found = [(one.name, one.stat(follow_symlinks=False)) for one in entries]
    except OSError as error:
        raise NoBundle(f"{folder}: cannot be read here ({error.strerror})") from error
    files = sorted((name, status.st_size) for name, status in found if stat.S_ISREG(status.st_mode))
    if MANIFEST not in dict(files) or len(files) > FILE_LIMIT:
        raise NoBundle(f"{folder}: is not the folder of a clip")
    return Bundle(folder, tuple(files))


def _fill(size: int) -> int:
    return -size % tarfile.BLOCKSIZE


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise NoBundle(f"{path.name}: cannot be read ({error.strerror})") from error
    try:
        yield file
    finally:
        os.close(file)

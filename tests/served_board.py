"""Emulated boards in processes of their own, for the tests under umockdev's preload library."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sonod.drivers.emulated.server import RemoteBoard


@contextmanager
def served(board: str, **options: Any) -> Iterator[RemoteBoard]:
    """A board in a process of its own, in a folder whose name is short enough for a socket."""
    with (
        tempfile.TemporaryDirectory(prefix="sonod-") as folder,
        RemoteBoard(board, Path(folder, "t"), **options) as remote,
    ):
        yield remote


def shown(remote: RemoteBoard, monkeypatch: pytest.MonkeyPatch) -> RemoteBoard:
    monkeypatch.setenv("UMOCKDEV_DIR", remote.environment["UMOCKDEV_DIR"])
    remote.unplug()
    remote.plug()
    return remote

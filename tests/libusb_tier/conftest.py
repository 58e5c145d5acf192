"""Run by tests/drivers/test_libusb_tier.py, in a process started under umockdev's preload library."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sonod.drivers.emulated.server import RemoteBoard


@pytest.fixture(scope="session")
def remote() -> Iterator[RemoteBoard]:
    with (
        tempfile.TemporaryDirectory(prefix="sonod-") as folder,
        RemoteBoard("bulk", Path(folder, "t"), phantom="wires", probe="phased") as remote,
    ):
        yield remote


@pytest.fixture
def board(remote: RemoteBoard, monkeypatch: pytest.MonkeyPatch) -> RemoteBoard:
    """A bulk front-end in a process of its own, just plugged in, the only device that this process sees."""
    monkeypatch.setenv("UMOCKDEV_DIR", remote.environment["UMOCKDEV_DIR"])
    remote.unplug()
    remote.plug()
    return remote

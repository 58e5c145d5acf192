"""Run by tests/drivers/test_libusb_tier.py, in a process started under umockdev's preload library."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from served_board import served, shown

from sonod.drivers.emulated.server import RemoteBoard


@pytest.fixture(scope="session")
def bulk_process() -> Iterator[RemoteBoard]:
    with served("bulk", phantom="wires", probe="phased") as remote:
        yield remote


@pytest.fixture
def board(bulk_process: RemoteBoard, monkeypatch: pytest.MonkeyPatch) -> RemoteBoard:
    """A bulk front-end, just plugged in, the only device that this process sees."""
    return shown(bulk_process, monkeypatch)


@pytest.fixture(scope="class")
def class_process(request: pytest.FixtureRequest) -> Iterator[RemoteBoard]:
    """The board that the test class names in `board`."""
    with served(request.cls.board_name) as remote:
        yield remote


@pytest.fixture
def class_board(class_process: RemoteBoard, monkeypatch: pytest.MonkeyPatch) -> RemoteBoard:
    """That board, just plugged in."""
    return shown(class_process, monkeypatch)

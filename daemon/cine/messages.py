"""What the daemon and its writing processes say to each other over a pipe of their own.

Both ends are the same installation. Configurations go over once and are named by number from then on.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonod.daemon.cine.facts import PictureFacts, RawFacts
from sonod.daemon.cine.ring import Entry
from sonod.drivers.compression import CompressionName
from sonod.drivers.frame import Acquisition, Configuration

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


@dataclass(frozen=True)
class Policy:
    """How files are written: handed to the operating system every `flush_s`, forced to the disk every `fsync_s` (0 =
    never), ended before less than `keep_free_bytes` are left; how the samples of recordings are compressed."""

    flush_s: float = 0.5
    fsync_s: float = 5.0
    keep_free_bytes: int = 0
    compression: CompressionName = "none"


@dataclass(frozen=True)
class RecordJob:
    """Raw frames into the file, until told to end; `acquisition` is that of the first frame."""

    path: Path
    attributes: Mapping[str, str | float | int | bool]
    policy: Policy
    acquisition: Acquisition


@dataclass(frozen=True)
class ClipJob:
    """Raw frames and pictures into a folder that is there when all of it is."""

    path: Path
    attributes: Mapping[str, str | float | int | bool]
    policy: Policy


@dataclass(frozen=True)
class Configured:
    """A configuration that entries name from now on."""

    number: int
    configuration: Configuration


@dataclass(frozen=True)
class Batch:
    """Frames in the rings."""

    raw: list[Entry[RawFacts]]
    pictures: list[Entry[PictureFacts]]


@dataclass(frozen=True)
class End:
    """No more frames come. For a clip: what its manifest says, and how many frames the ring had overwritten before they
    were told of."""

    complete: bool = True
    reason: str = ""
    missed: int = 0
    manifest: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Begun:
    """The file or folder can be written."""


@dataclass(frozen=True)
class Progress:
    """Frames written, and those of them that the operating system has."""

    frames: int
    flushed: int


@dataclass(frozen=True)
class Done:
    """The end: what there is."""

    paths: tuple[Path, ...]
    frames: int
    complete: bool
    reason: str = ""
    pictures: int = 0


@dataclass(frozen=True)
class Refused:
    """Nothing can be written, and nothing was."""

    reason: str


Told = RecordJob | ClipJob | Configured | Batch | End
Answer = Begun | Progress | Done | Refused


class Sender:
    """The daemon's end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Kept, so that no other object gets the identity of one that is known.
        self._known: dict[int, tuple[int, Configuration]] = {}

    def send(self, message: Told) -> None:
        """OSError when the other end is gone."""
        if isinstance(message, Batch):
            for raw in message.raw:
                self._introduce(raw.facts.configuration)
            for picture in message.pictures:
                self._introduce(picture.facts.configuration)
        stream = io.BytesIO()
        pickler = pickle.Pickler(stream, pickle.HIGHEST_PROTOCOL)
        pickler.persistent_id = self._number_of  # type: ignore[method-assign]
        pickler.dump(message)
        self._connection.send_bytes(stream.getvalue())

    def _introduce(self, configuration: Configuration) -> None:
        if id(configuration) in self._known:
            return
        number = len(self._known)
        # The driver's own detail stays with the driver.
        own = Configuration(configuration.settings, configuration.acquisition, None, configuration.applied)
        self.send(Configured(number, own))
        self._known[id(configuration)] = (number, configuration)

    def _number_of(self, value: object) -> int | None:
        known = self._known.get(id(value)) if isinstance(value, Configuration) else None
        return None if known is None else known[0]


class Receiver:
    """The writing process's end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._configurations: dict[int, Configuration] = {}

    def receive(self) -> Told:
        """The next message; EOFError when the daemon is gone."""
        unpickler = pickle.Unpickler(io.BytesIO(self._connection.recv_bytes()))
        unpickler.persistent_load = self._configurations.__getitem__  # type: ignore[method-assign]
        message: Told = unpickler.load()
        if isinstance(message, Configured):
            self._configurations[message.number] = message.configuration
        return message

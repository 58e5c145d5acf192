"""From frames in a ring to recordings on the disk, in the process that writes."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sonod.client.wire.geometry import ImageGeometry
from sonod.daemon.cine.facts import PictureFacts, RawFacts
from sonod.daemon.cine.ring import Entry, RingView
from sonod.drivers.compression import CompressionName
from sonod.drivers.digests import PictureRow
from sonod.drivers.frame import Acquisition, Configuration, DataKind, PixelGrid, SampleFormat
from sonod.drivers.recording import RecordingWriter

Attributes = Mapping[str, str | float | int | bool]


@dataclass
class _File:
    """One file, and the numbers of the frames in it."""

    path: Path
    writer: RecordingWriter
    numbers: array[int] = field(default_factory=lambda: array("q"))


class RawSink:
    """Raw frames into `first`; a change of settings that alters the data continues in `NAME-2.h5`, and so on.

    RecordingError when a file cannot be written.
    """

    def __init__(
        self, first: Path, attributes: Attributes, view: RingView, compression: CompressionName = "none"
    ) -> None:
        self._first = first
        self._attributes = attributes
        self._view = view
        self._compression = compression
        self._buffer = np.zeros(0, np.uint8)
        self._files: list[_File] = []
        self._open: list[_File] = []
        self.lost_by_device = 0
        self.revisions: set[int] = set()

    @property
    def paths(self) -> list[Path]:
        return [file.path for file in self._files]

    @property
    def numbers(self) -> list[int]:
        """Of every frame written."""
        return [number for file in self._files for number in file.numbers]

    @property
    def frames(self) -> int:
        return sum(len(file.numbers) for file in self._files)

    @property
    def flushed(self) -> int:
        return sum(file.writer.flushed_frames for file in self._files)

    def begin(self, acquisition: Acquisition) -> None:
        """Make the first file, before there is any frame."""
        self._next(acquisition)

    def write(self, entry: Entry[RawFacts]) -> bool:
        """Write a frame; False when the ring has overwritten it already."""
        if self._buffer.nbytes < entry.nbytes:
            self._buffer = np.zeros(entry.nbytes, np.uint8)
        raw = self._buffer[: entry.nbytes]
        if not self._view.copy(entry, raw):
            return False
        facts = entry.facts
        acquisition = facts.configuration.acquisition
        if not self._open or not self._open[-1].writer.can_append(facts.configuration):
            self._next(acquisition)
        file = self._open[-1]
        file.writer.add_settings(facts.configuration)
        file.writer.append_frame(
            raw.view(acquisition.dtype).reshape(acquisition.shape),
            number=facts.number,
            revision=facts.configuration.settings.revision,
            transmit_ns=facts.transmit_ns,
            transmit_uncertainty_ns=facts.transmit_uncertainty_ns,
            first_byte_ns=facts.first_byte_ns,
            last_byte_ns=facts.last_byte_ns,
            device_ticks=facts.device_ticks,
            lost=facts.lost,
            truth=facts.truth,
        )
        if file.numbers:
            self.lost_by_device += facts.lost
        file.numbers.append(facts.number)
        self.revisions.add(facts.configuration.settings.revision)
        return True

    def picture(self, row: PictureRow) -> None:
        """Note what was made of a frame, in the file that holds it."""
        for file in self._open:
            if file.numbers and file.numbers[0] <= row.number <= file.numbers[-1]:
                file.writer.add_picture(row)
                # Pictures come in order: nothing more will be said of earlier files.
                while self._open[0] is not file:
                    self._open.pop(0).writer.close()
                return

    def flush(self, sync: bool) -> None:
        for file in self._open:
            file.writer.flush()
            if sync:
                file.writer.sync()

    def close(self, complete: bool, reason: str) -> None:
        """Finish every file; the last one bears the reason."""
        while self._open:
            last = len(self._open) == 1
            self._open.pop(0).writer.close(complete or not last, reason if last else "")

    def _next(self, acquisition: Acquisition) -> None:
        if self._open and not self._open[-1].numbers:
            # Made before the settings changed, and never used.
            self._open.pop().writer.close()
            self._files.pop().path.unlink()
        count = len(self._files) + 1
        path = self._first if count == 1 else self._first.with_name(f"{self._first.stem}-{count}{self._first.suffix}")
        writer = RecordingWriter(path, acquisition, self._attributes, self._compression)
        file = _File(path, writer)
        self._files.append(file)
        self._open.append(file)


class PictureSink:
    """Pictures into recordings of finished pictures, one for each place where their pixels lie."""

    def __init__(self, first: Path, attributes: Attributes, view: RingView) -> None:
        self._first = first
        self._attributes = attributes
        self._view = view
        self._buffer = np.zeros(0, np.uint8)
        self._files: dict[str, RecordingWriter] = {}
        self.paths: list[Path] = []
        self.geometries: dict[str, ImageGeometry] = {}
        self.facts: list[PictureFacts] = []

    def write(self, entry: Entry[PictureFacts]) -> bool:
        """Write a picture; False when the ring has overwritten it already."""
        if self._buffer.nbytes < entry.nbytes:
            self._buffer = np.zeros(entry.nbytes, np.uint8)
        pixels = self._buffer[: entry.nbytes]
        if not self._view.copy(entry, pixels):
            return False
        facts = entry.facts
        writer = self._writer(facts)
        configuration = Configuration(facts.configuration.settings, writer.acquisition)
        writer.add_settings(configuration)
        writer.append_frame(
            pixels.reshape(facts.geometry.shape),
            number=facts.number,
            revision=facts.row.revision,
            last_byte_ns=facts.last_byte_ns,
        )
        self.facts.append(facts)
        return True

    def flush(self) -> None:
        for writer in self._files.values():
            writer.flush()

    def close(self) -> None:
        for writer in self._files.values():
            writer.close()

    def _writer(self, facts: PictureFacts) -> RecordingWriter:
        fingerprint = facts.geometry.fingerprint
        writer = self._files.get(fingerprint)
        if writer is None:
            count = len(self._files) + 1
            name = self._first.name if count == 1 else f"{self._first.stem}-{count}{self._first.suffix}"
            path = self._first.with_name(name)
            acquisition = picture_acquisition(facts.configuration.acquisition, facts.geometry)
            attributes = {**self._attributes, "frame_rate_hz": facts.configuration.settings.frame_rate_hz}
            writer = self._files[fingerprint] = RecordingWriter(path, acquisition, attributes)
            self.paths.append(path)
            self.geometries[path.name] = facts.geometry
        return writer


def picture_acquisition(raw: Acquisition, geometry: ImageGeometry) -> Acquisition:
    """Finished pictures that were made of `raw`."""
    rows, columns = geometry.shape
    x_m, y_m, z_m = geometry.first_pixel_m
    row_m, column_m = geometry.spacing_m
    return replace(
        raw,
        kind=DataKind.IMAGE,
        sample_format=SampleFormat.LOG8,
        shape=(rows, columns),
        dtype=np.dtype(np.uint8),
        sampling_hz=1.0,
        demodulation_hz=0.0,
        sample_scale=1.0,
        sample_unit="grey level",
        sound_speed_m_s=geometry.sound_speed_m_s or raw.sound_speed_m_s,
        reference_amplitude=0.0,
        lines=None,
        image=PixelGrid(rows, columns, x_m, z_m, column_m, row_m, y_m),
        layers=(),
    )

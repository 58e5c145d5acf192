"""Writing a recording so that whatever ends the writer leaves a file that opens.

HDF5's way of writing while others read (SWMR) puts what is pointed at on its way before the pointer; so the file is
whole at every moment of its making, and what was flushed is in it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from sonod.drivers.compression import CompressionName
from sonod.drivers.digests import DIGEST_BYTES, PictureRow, digest_of
from sonod.drivers.errors import RecordingError
from sonod.drivers.frame import Acquisition, Configuration, GroundTruth, Slot
from sonod.drivers.recording.compare import difference
from sonod.drivers.recording.describe import Attribute, describe, write_geometry
from sonod.drivers.recording.filters import Options, filter_options
from sonod.drivers.recording.layout import AXES, FORMAT, SAMPLES, VERSION, samples_object
from sonod.drivers.recording.superblock import trim
from sonod.drivers.recording.tables import PictureTable, SettingsLog

# One chunk holds one frame, or as many of its transmits as fit; HDF5 is at its best near this size.
CHUNK_BYTES = 1 << 20
# After so many frames at the latest everything goes to the operating system: what the end of the writer can lose.
FLUSH_FRAMES = 16
# The disk is asked for room in such portions, before it is needed: HDF5 does not survive a disk that is full.
RESERVED_BYTES = 16 << 20
# What a frame takes beside its samples, and what closing a file may take; more than either does.
ROW_BYTES, CLOSING_BYTES = 4096, 4 << 20
# Room for the reason, which is written where it stands.
REASON_BYTES = 500
# The oldest HDF5 that knows SWMR reads what we write.
HDF5_VERSION = ("v110", "v110")

ABANDONED = "the writer ended without closing the recording"

_INTEGERS = (
    "number",
    "revision",
    "transmit_ns",
    "transmit_uncertainty_ns",
    "first_byte_ns",
    "last_byte_ns",
    "device_ticks",
    "lost",
)
_NUMBERS = ("scene_time_s", "needle_diameter_m")
_POINTS = ("needle_tip_m", "needle_shaft_m")
_DIGEST = "digest"


class RecordingWriter:
    """Writes raw frames of one acquisition to a new file; RecordingError when it cannot.

    The file says `complete = False` until `close(complete=True)`, so a crash leaves a file that tells the truth. An
    existing file is not overwritten. One thread uses one writer.
    """

    def __init__(
        self,
        path: str | Path,
        acquisition: Acquisition,
        attributes: Mapping[str, Attribute] | None = None,
        compression: CompressionName = "none",
    ) -> None:
        self.path = Path(path)
        self.acquisition = acquisition
        self.frame_count = 0
        self.flushed_frames = 0
        self._failed = False
        self._rows: dict[str, list[Any]] = {name: [] for name in (*_INTEGERS, *_NUMBERS, *_POINTS, _DIGEST)}
        self._accepted: Configuration | None = None
        self._settings = SettingsLog()
        self._pictures = PictureTable()
        try:
            self._name = samples_object(acquisition.kind, acquisition.sample_format)
        except ValueError as error:
            raise RecordingError(f"{self.path}: {error}") from error
        options = filter_options(compression)
        self._compressed = bool(options)
        wanted = SAMPLES[self._name].dtype
        if acquisition.dtype != wanted:
            raise RecordingError(
                f"{self.path}: {self._name} holds {wanted.name}, the driver delivers {acquisition.dtype}"
            )
        if not self.path.parent.is_dir():
            raise RecordingError(f"{self.path}: folder {self.path.parent} does not exist; make it first")
        try:
            self._file = h5py.File(self.path, "x", libver=HDF5_VERSION)
        except FileExistsError as error:
            raise RecordingError(f"{self.path}: exists already; choose another name") from error
        except (OSError, RuntimeError) as error:
            raise RecordingError(f"{self.path}: cannot be written ({error})") from error
        try:
            self._guard(lambda: self._lay_out(attributes or {}, options))
            self._needed = self._reserved = os.fstat(self._file.id.get_vfd_handle()).st_size
            self._reserve(CLOSING_BYTES)
        except RecordingError:
            self._file.close()
            self.path.unlink()
            raise

    # -- frames ------------------------------------------------------------------------------------------------------

    def can_append(self, configuration: Configuration) -> bool:
        """Whether frames of this configuration mean the same as those in the file; else a new file is needed."""
        if configuration is self._accepted:
            return True
        if difference(self.acquisition, configuration.acquisition):
            return False
        self._accepted = configuration
        return True

    def append(self, slot: Slot) -> None:
        """Write the slot's frame with its times, settings and truth; RecordingError when `can_append` is False."""
        configuration = slot.configuration
        if configuration is None:
            raise RecordingError(f"{self.path}: the slot holds no frame")
        if not self.can_append(configuration):
            what = difference(self.acquisition, configuration.acquisition)
            raise RecordingError(f"{self.path}: {what} changed; frames of the new settings need a new file")
        self.add_settings(configuration)
        self.append_frame(
            slot.data,
            number=slot.number,
            revision=configuration.settings.revision,
            transmit_ns=slot.transmit_ns,
            transmit_uncertainty_ns=slot.transmit_uncertainty_ns,
            first_byte_ns=slot.first_byte_ns,
            last_byte_ns=slot.last_byte_ns,
            device_ticks=slot.device_ticks,
            lost=slot.lost,
            truth=slot.truth,
        )

    def append_frame(
        self,
        data: NDArray[Any],
        *,
        number: int,
        revision: int = 0,
        transmit_ns: int = 0,
        transmit_uncertainty_ns: int = -1,
        first_byte_ns: int = 0,
        last_byte_ns: int = 0,
        device_ticks: int = -1,
        lost: int = 0,
        truth: GroundTruth | None = None,
    ) -> None:
        """Write one frame of the acquisition's shape and dtype."""
        if data.shape != self.acquisition.shape or data.dtype != self.acquisition.dtype:
            raise RecordingError(
                f"{self.path}: frames are {self.acquisition.shape} {self.acquisition.dtype}, "
                f"got {data.shape} {data.dtype}; new settings need a new file"
            )
        integers = (
            number,
            revision,
            transmit_ns,
            transmit_uncertainty_ns,
            first_byte_ns,
            last_byte_ns,
            device_ticks,
            lost,
        )
        needle = truth.needle if truth else None
        nowhere = (math.nan,) * 3
        row = dict(zip(_INTEGERS, integers, strict=True)) | {
            "scene_time_s": truth.scene_time_s if truth else math.nan,
            "needle_diameter_m": needle.diameter_m if needle else math.nan,
            "needle_tip_m": needle.tip_m if needle else nowhere,
            "needle_shaft_m": needle.shaft_m if needle else nowhere,
        }
        self._reserve(data.nbytes + ROW_BYTES)
        self._guard(lambda: self._write(data))
        row[_DIGEST] = np.frombuffer(digest_of(data), np.uint8)
        for name, value in row.items():
            self._rows[name].append(value)
        self.frame_count += 1
        if len(self._rows["number"]) >= FLUSH_FRAMES:
            self.flush()

    def add_settings(self, configuration: Configuration) -> None:
        """Store the settings under their revision, once."""
        self._guard(lambda: self._settings.add(self._file, configuration))

    def add_picture(self, row: PictureRow) -> None:
        """Store what was made of a frame; frames of which no picture was made have no row."""
        self._pictures.add(row)

    def flush(self) -> None:
        """Hand everything appended so far to the operating system."""
        self._guard(self._flush)

    def sync(self) -> None:
        """Have everything flushed so far on the disk; waits for it."""
        self._guard(lambda: os.fsync(self._file.id.get_vfd_handle()))

    def close(self, complete: bool = True, reason: str = "") -> None:
        """Finish the file; `reason` says why it is not complete. Twice is allowed.

        After a write has failed the file is not touched any more, and RecordingError says so: it is then as if the
        writer had been killed. The process should end by `os._exit`, so that HDF5 does not touch it either."""
        if not self._file:
            return

        if self._failed:
            # Closing would write what the disk has refused, or half of it, over what is whole.
            raise RecordingError(f"{self.path}: is left as it was flushed")

        def finish() -> None:
            self._flush()
            self._file.attrs.modify("incomplete_reason", _fixed("" if complete else (reason or "not stated")))
            self._file.attrs.modify("complete", complete)
            self._file.close()
            self._settings.complete(self.path)
            trim(self.path)

        self._guard(finish)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(complete=kind is None, reason="" if value is None else f"{type(value).__name__}: {value}")

    # -- the file ----------------------------------------------------------------------------------------------------

    def _guard(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, RuntimeError, ValueError) as error:
            self._failed = True
            raise RecordingError(f"{self.path}: cannot be written ({_reason(error)})") from error

    def _reserve(self, nbytes: int) -> None:
        """Have room for so much more before HDF5 learns of it; RecordingError when there is none, and the file can
        still be closed in what was reserved before."""
        needed = self._needed + nbytes
        if needed > self._reserved:
            more = max(RESERVED_BYTES, needed - self._reserved)
            try:
                os.posix_fallocate(self._file.id.get_vfd_handle(), self._reserved, more)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise RecordingError(f"{self.path}: cannot be written ({error.strerror})") from error
            self._reserved += more
        self._needed = needed

    def _write(self, data: NDArray[Any]) -> None:
        if not self._file.swmr_mode:
            # From here on nothing new can be made in the file, only what is there grow.
            self._file.swmr_mode = True
            # HDF5 has let go of its own lock; this one tells `sonod repair` that somebody writes.
            with contextlib.suppress(OSError):
                fcntl.lockf(self._file.id.get_vfd_handle(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._samples.resize(self.frame_count + 1, axis=0)
        self._samples[self.frame_count] = data
        if self._compressed:
            # Room was asked for as if it were not.
            unwritten = (len(self._rows["number"]) + 1) * ROW_BYTES
            self._needed = int(self._file.id.get_filesize()) + unwritten + CLOSING_BYTES

    def _flush(self) -> None:
        count = self.frame_count
        # First the samples, out of HDF5's own buffers, too: what has a row and a digest is there.
        self._file.flush()
        for name, rows in self._rows.items():
            if rows:
                column = self._columns[name]
                column.resize(count, axis=0)
                column[count - len(rows) :] = rows
                rows.clear()
        self._pictures.write()
        self._file.flush()
        self.flushed_frames = count

    def _lay_out(self, attributes: Mapping[str, Attribute], options: Options) -> None:
        file, acquisition = self._file, self.acquisition
        for name, value in (describe(acquisition) | dict(attributes)).items():
            file.attrs[name] = value
        file.attrs.update(format=FORMAT, format_version=VERSION, complete=False)
        file.attrs.create("incomplete_reason", _fixed(ABANDONED))
        shape = acquisition.shape
        rest = math.prod(shape[1:]) * acquisition.dtype.itemsize
        # Chunks of the same size, so that the last one is not half empty.
        chunks = math.ceil(shape[0] / max(1, CHUNK_BYTES // rest))
        chunk = (1, math.ceil(shape[0] / chunks), *shape[1:])
        samples = file.create_dataset(
            self._name,
            shape=(0, *shape),
            maxshape=(None, *shape),
            chunks=chunk,
            dtype=acquisition.dtype,
            **options,
            # Chunks go out as they come; what goes wrong then is told then.
            rdcc_nbytes=0,
        )
        samples.attrs["axes"] = AXES[self._name, acquisition.kind]
        write_geometry(file, acquisition)
        # Kept open: HDF5 writes what it holds back when one is closed, and nobody hears of an error then.
        self._samples = samples
        frames = file.create_group("frames")
        for name in _INTEGERS:
            frames.create_dataset(name, (0,), np.int64, maxshape=(None,), chunks=(1024,))
        for name in _NUMBERS:
            frames.create_dataset(name, (0,), np.float64, maxshape=(None,), chunks=(1024,))
        for name in _POINTS:
            frames.create_dataset(name, (0, 3), np.float64, maxshape=(None, 3), chunks=(1024, 3))
        frames.create_dataset(_DIGEST, (0, DIGEST_BYTES), np.uint8, maxshape=(None, DIGEST_BYTES), chunks=(1024, 16))
        self._columns = {name: frames[name] for name in (*_INTEGERS, *_NUMBERS, *_POINTS, _DIGEST)}
        self._settings.lay_out(file)
        self._pictures.lay_out(file)
        file.flush()


def _reason(error: Exception) -> str:
    """What the operating system said, which HDF5 hides in a long line."""
    said = re.search(r"error message = '([^']*)'", str(error))
    return said.group(1) if said else " ".join(str(error).split())


def _fixed(text: str) -> np.bytes_:
    """Text of a length that does not change."""
    return np.bytes_(text.encode()[:REASON_BYTES].ljust(REASON_BYTES, b" "))

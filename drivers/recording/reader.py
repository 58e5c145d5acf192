"""Reading a recording."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.digests import PictureRow, digest_of
from sonod.drivers.errors import DriverError, RecordingError
from sonod.drivers.frame import GroundTruth, NeedlePose
from sonod.drivers.recording.filters import unreadable_filter
from sonod.drivers.recording.layout import FORMAT, VERSION
from sonod.drivers.recording.meaning import read_acquisition
from sonod.drivers.recording.source import RecordingSource
from sonod.drivers.recording.tables import read_pictures, read_settings

T = TypeVar("T")

# What h5py raises, over and above OSError, when the inner structure of a file is broken.
DAMAGE = (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError, MemoryError, OverflowError)


class Recording:
    """An open `sonod-rf` file, completely checked; RecordingError names file, object and remedy.

    `acquisition` says what the samples mean; `attributes` holds the root attributes as they are in the file;
    `device_ticks (frames,)` when the device fired by its own clock, -1 = not known, or None.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._source = RecordingSource(self.path)
        try:
            self._read_meaning()
        except DriverError:
            self._source.close()
            raise
        except DAMAGE as error:
            self._source.close()
            reason = " ".join(str(error).split())
            raise RecordingError(f"{self.path}: cannot be read ({reason}); the file is damaged") from error

    @property
    def complete(self) -> bool:
        """Whether the writer closed the recording as complete; a file that says nothing is complete."""
        said = self.attributes.get("complete")
        return True if said is None else bool(said)

    @property
    def incomplete_reason(self) -> str:
        """Why the recording is not complete, or ''."""
        return "" if self.complete else self._source.text("incomplete_reason")

    def read_frame(self, index: int, out: NDArray[Any]) -> None:
        """Frame `index` into `out`, a C-contiguous array of the acquisition's shape and dtype."""
        if not 0 <= index < self.frame_count:
            raise IndexError(f"{self.path}: frame {index} does not exist; there are {self.frame_count}")
        wanted = self.acquisition
        if out.shape != wanted.shape or out.dtype != wanted.dtype:
            raise ValueError(f"out: must be {wanted.shape} {wanted.dtype}, got {out.shape} {out.dtype}")
        dataset = self._source.file[self._samples]
        try:
            dataset.read_direct(out, np.s_[index])
        except (OSError, RuntimeError) as error:
            raise self._source.fail(
                self._samples, f"frame {index} cannot be read ({error}); the file is damaged"
            ) from error

    @property
    def abandoned(self) -> bool:
        """Whether the file is still written, or its writer ended without closing it; `sonod repair` closes it."""
        return self._source.abandoned

    @property
    def pictures(self) -> list[PictureRow]:
        """What was made of the frames while they were recorded, as far as it was noted."""
        return self._guarded("pictures", lambda: read_pictures(self._source.file))

    @property
    def settings(self) -> dict[int, tuple[dict[str, Any], frozenset[str]]]:
        """Revision -> the settings by name, and the names of those on which the device had acted."""
        return self._guarded("settings", lambda: read_settings(self._source.file))

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Frame numbers of the session, (frames,); from 1 on where the file has none."""
        numbers = self._source.table("frames/number", (None,))
        if numbers is None or len(numbers) < self.frame_count:
            return np.arange(1, self.frame_count + 1, dtype=np.int64)
        return numbers[: self.frame_count].astype(np.int64)

    @property
    def revisions(self) -> NDArray[np.int64]:
        """Settings revision of each frame, (frames,); 0 where the file has none."""
        revisions = self._source.table("frames/revision", (None,))
        if revisions is None or len(revisions) < self.frame_count:
            return np.zeros(self.frame_count, np.int64)
        return revisions[: self.frame_count].astype(np.int64)

    def digest(self, index: int) -> bytes | None:
        """The digest stored with frame `index`, or None; that of `read_frame`'s array is `digest_of`."""
        dataset = self._source.dataset("frames/digest")
        if dataset is None or index >= dataset.shape[0]:
            return None
        return bytes(self._guarded("frames/digest", lambda: dataset[index].tobytes()))

    def whole(self, index: int, out: NDArray[Any]) -> bool:
        """Read frame `index` and compare it with its digest; True for one without."""
        self.read_frame(index, out)
        stored = self.digest(index)
        return stored is None or digest_of(out) == stored

    def truth(self, index: int) -> GroundTruth | None:
        """What the simulated scene knew at this frame; None for everything else."""
        times = self._truth["scene_time_s"]
        if times is None or index >= len(times) or math.isnan(times[index]):
            return None
        tip, shaft = self._needle["needle_tip_m"], self._needle["needle_shaft_m"]
        diameter = self._truth["needle_diameter_m"]
        needle = None
        if (
            tip is not None
            and shaft is not None
            and diameter is not None
            and index < min(len(tip), len(shaft), len(diameter))
            and np.isfinite(tip[index]).all()
        ):
            needle = NeedlePose(_point(tip[index]), _point(shaft[index]), float(diameter[index]))
        return GroundTruth(float(times[index]), needle)

    def close(self) -> None:
        """Let go of the file; twice is allowed."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _guarded(self, where: str, read: Callable[[], T]) -> T:
        try:
            return read()
        except DAMAGE as error:
            raise self._source.fail(where, f"cannot be read ({error}); the file is damaged") from error

    def _read_meaning(self) -> None:
        self._check_format()
        self.acquisition, self._samples, self.frame_count = read_acquisition(self._source)
        self._require_filter()
        self.attributes: Mapping[str, Any] = {
            str(name): self._source.attribute(str(name)) for name in self._source.file.attrs
        }
        self._leave_out_unfinished()
        self.title = self._source.text("title", default=self.path.stem)
        self.frame_rate_hz = self._frame_rate()
        self._truth = {name: self._column(name) for name in ("scene_time_s", "needle_diameter_m")}
        self.device_ticks = self._source.whole_numbers("frames/device_ticks")
        self._needle = {name: self._column(name, 3) for name in ("needle_tip_m", "needle_shaft_m")}

    def _require_filter(self) -> None:
        problem = unreadable_filter(self._source.file[self._samples])
        if problem:
            raise self._source.fail(self._samples, problem)

    def _leave_out_unfinished(self) -> None:
        """Frames whose row was not flushed any more are not frames; only files with digests have rows for all."""
        rows = self._source.dataset("frames/digest")
        if rows is None:
            return
        self.frame_count = min(self.frame_count, rows.shape[0])
        if self.frame_count < 1:
            raise self._source.fail("samples", "holds no flushed frame")

    def _check_format(self) -> None:
        stated = self._source.attribute("format")
        if stated is None:
            raise self._source.fail("attribute format", f"missing; a recording says format = {FORMAT!r}")
        if self._source.text("format") != FORMAT:
            raise self._source.fail("attribute format", f"must be {FORMAT!r}, got {stated!r}")
        version = self._source.number("format_version")
        if version != VERSION:
            raise self._source.fail("attribute format_version", f"must be {VERSION}, got {version:g}")

    def _frame_rate(self) -> float:
        """Frames per second as the file states them, 0 when it does not."""
        stated = self._source.number("frame_rate_hz", default=0.0)
        if stated > 0:
            return stated
        period = self._source.number("frame_period_s", default=0.0)
        if period > 0:
            return 1 / period
        pulses = self._source.number("pulse_repetition_frequency_hz", default=0.0)
        transmits = len(self.acquisition.sequence.events)
        return pulses / transmits if pulses > 0 else 0.0

    def _column(self, name: str, width: int = 0) -> NDArray[np.float64] | None:
        return self._source.table(f"frames/{name}", (None, width) if width else (None,), nan=True)


def _point(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z

"""A clip as a folder: recordings and a manifest, complete or not there at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from sonod.daemon.cine.messages import Batch, ClipJob, Done, End
from sonod.daemon.cine.ring import RingView
from sonod.daemon.cine.sink import PictureSink, RawSink
from sonod.daemon.cine.space import require_space
from sonod.drivers.errors import RecordingError
from sonod.drivers.recording.layout import FORMAT, VERSION

MANIFEST, RAW, PICTURES = "manifest.json", "raw.h5", "pictures.h5"
BUNDLE_FORMAT, BUNDLE_VERSION = "sonod-clip", 1
_BLOCK_BYTES = 1 << 20


class ClipWriter:
    """Carries out a ClipJob. RecordingError when the folder is there already or cannot be made."""

    def __init__(self, job: ClipJob, raw: RingView, pictures: RingView) -> None:
        self._path = job.path
        self._part = job.path.with_name(f".{job.path.name}.part-{os.getpid()}")
        if os.path.lexists(job.path):
            raise RecordingError(f"{job.path}: exists already; choose another name")
        if not job.path.parent.is_dir():
            raise RecordingError(f"{job.path}: folder {job.path.parent} does not exist; make it first")
        require_space(job.path.parent, 0, job.policy)
        try:
            self._part.mkdir()
        except OSError as error:
            raise RecordingError(f"{job.path}: cannot be made ({error.strerror})") from error
        self._policy = job.policy
        self.sink = RawSink(self._part / RAW, job.attributes, raw)
        self._pictures = PictureSink(self._part / PICTURES, job.attributes, pictures)
        self._overwritten = self._pictures_overwritten = 0

    def write(self, batch: Batch) -> None:
        """Frames that the ring has overwritten are counted; RecordingError when the disk takes no more."""
        for entry in batch.raw:
            require_space(self._part, entry.nbytes, self._policy)
            self._overwritten += not self.sink.write(entry)
        for picture in batch.pictures:
            if picture.nbytes:
                self._pictures_overwritten += not self._pictures.write(picture)
            self.sink.picture(picture.facts.row)

    def tick(self) -> None:
        """Nobody reads a clip before it is whole."""

    def finish(self, end: End) -> Done:
        """Complete the folder and give it its name, or remove it."""
        try:
            self._overwritten += end.missed
            if not end.complete:
                raise RecordingError(end.reason)
            if not self.sink.frames and not self._pictures.facts:
                raise RecordingError("there are no frames of that time")
            self.sink.close(True, "")
            self._pictures.close()
            complete = not (self._overwritten or self._pictures_overwritten)
            self._write_manifest(end, complete)
            _sync(self._part)
            os.rename(self._part, self._path)
            _sync(self._path.parent)
        except (RecordingError, OSError) as error:
            shutil.rmtree(self._part, ignore_errors=True)
            return Done((), 0, False, str(error))
        reason = "" if complete else "frames were overwritten before they were written: the disk is too slow"
        return Done((self._path,), self.sink.frames, complete, reason, len(self._pictures.facts))

    def _write_manifest(self, end: End, complete: bool) -> None:
        files = [*self.sink.paths, *self._pictures.paths]
        manifest: dict[str, Any] = {
            "format": BUNDLE_FORMAT,
            "format_version": BUNDLE_VERSION,
            "complete": complete,
            **end.manifest,
            "recording_format": f"{FORMAT} {VERSION}",
            "frames": _range(list(self.sink.numbers)),
            "pictures": _range([facts.number for facts in self._pictures.facts]),
            "settings_revisions": sorted(self.sink.revisions),
            "geometry": {name: json.loads(geometry.text) for name, geometry in self._pictures.geometries.items()},
            "losses": self._losses(),
            "files": {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in files},
        }
        path = self._part / MANIFEST
        with path.open("w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=2, ensure_ascii=False, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        for path in files:
            _sync(path)

    def _losses(self) -> dict[str, int]:
        """Frames between the first and the last that are not in the clip, by cause."""
        facts = self._pictures.facts
        first, last = (facts[0], facts[-1]) if facts else (None, None)
        return {
            "device": self.sink.lost_by_device,
            "overwritten": self._overwritten,
            "pictures_ring": last.ring_lost - first.ring_lost if first and last else 0,
            "pictures_processing": last.failed - first.failed if first and last else 0,
            "pictures_overwritten": self._pictures_overwritten,
        }


def sha256_of(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _range(numbers: list[int]) -> dict[str, int | None]:
    return {
        "count": len(numbers),
        "first": numbers[0] if numbers else None,
        "last": numbers[-1] if numbers else None,
    }


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

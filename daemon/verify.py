"""Whether this release makes of a recording the pictures that were made when it was recorded, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sonod.daemon.cine.bundle import BUNDLE_FORMAT, MANIFEST, PICTURES, RAW, sha256_of
from sonod.daemon.errors import DaemonError
from sonod.daemon.pipeline.options import ImageOptions
from sonod.daemon.pipeline.plan import Plan, build_plan
from sonod.drivers.digests import STAGES, PictureRow, digest_of
from sonod.drivers.errors import RecordingError
from sonod.drivers.frame import Configuration, Slot
from sonod.drivers.recording import Recording
from sonod.drivers.settings import Settings, Value

# What the stages are to a reader.
STAGE_NAMES = {
    "prepare": "demodulation",
    "beamform": "delay and sum",
    "detect": "envelope",
    "scan_convert": "scan conversion",
    "compress": "compression",
}
Progress = Callable[[int, int], None]


class Unverifiable(DaemonError):
    """There is nothing to compare with; the message says why."""


@dataclass
class Verified:
    """What was compared, and the first thing that differs ('' = nothing)."""

    files: int = 0
    frames: int = 0
    pictures: int = 0
    # Pictures whose pixels depend on pictures from before the recording.
    unknown_history: int = 0
    stages: set[str] = field(default_factory=set)
    difference: str = ""

    @property
    def same(self) -> bool:
        return not self.difference


def verify(path: Path, progress: Progress = lambda done, total: None) -> Verified:
    """Compare a recording, or a bundle and the recordings in it, up to the first difference.

    Raises RecordingError for what cannot be read, Unverifiable for a recording without digests of pictures.
    """
    found = Verified()
    if path.is_dir():
        _bundle(path, found, progress)
    else:
        _recording(path, found, progress)
    return found


def _bundle(folder: Path, found: Verified, progress: Progress) -> None:
    """The hashes of the files, then what is in them."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        stated = {str(name): str(facts["sha256"]) for name, facts in manifest["files"].items()}
        if manifest["format"] != BUNDLE_FORMAT:
            raise ValueError(f"format is {manifest['format']!r}, not {BUNDLE_FORMAT!r}")
    except OSError as error:
        raise RecordingError(f"{folder}: no {MANIFEST} ({error.strerror}); name a recording or a clip") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordingError(f"{folder / MANIFEST}: is not the manifest of a clip ({error})") from error
    for name, sha256 in stated.items():
        file = folder / name
        if Path(name).name != name or not file.is_file():
            found.difference = f"{name}: named in the manifest, and not there"
        elif sha256_of(file) != sha256:
            found.difference = f"{name}: its SHA-256 is not that of the manifest"
        if not found.same:
            return
        found.files += 1
    rows: dict[int, bytes] = {}
    for name in _of(RAW, stated):
        rows |= _recording(folder / name, found, progress)
        if not found.same:
            return
    for name in _of(PICTURES, stated):
        _pictures(folder / name, rows, found)
        if not found.same:
            return


def _of(first: str, names: Iterable[str]) -> list[str]:
    """The files `raw.h5`, `raw-2.h5`, ... in their order."""
    stem = first.removesuffix(".h5")
    own = [name for name in names if name == first or name.startswith(f"{stem}-")]
    return sorted(own, key=lambda name: (len(name), name))


def _recording(path: Path, found: Verified, progress: Progress) -> dict[int, bytes]:
    """Compare one recording; frame number -> digest of its picture as it was published."""
    with Recording(path) as recording:
        rows = recording.pictures
        if not rows:
            raise Unverifiable(
                f"{path}: holds no digests of pictures: it was not recorded by this release or a later one, or nothing "
                "was made of its frames"
            )
        pipeline = _Pipeline(recording)
        places = {int(number): index for index, number in enumerate(recording.numbers)}
        by_number = {row.number: row for row in rows}
        for count, (number, index) in enumerate(places.items()):
            progress(count, len(places))
            problem = pipeline.compare(number, index, by_number.get(number), found)
            if problem:
                found.difference = f"{path.name}: frame {number}: {problem}"
                break
    return {row.number: row.digests["compress"] for row in rows if "compress" in row.digests}


class _Pipeline:
    """The pipeline of this release, run over the frames of a recording in their order."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._settings = recording.settings
        try:
            self._options = ImageOptions(**json.loads(str(recording.attributes["image_options"])))
        except (KeyError, ValueError, TypeError) as error:
            raise Unverifiable(f"{recording.path}: does not say how its pictures were made ({error})") from error
        self._slot = Slot(recording.acquisition.nbytes)
        self._plan: Plan | None = None
        self._revision = -1
        # How many pictures the plan had made, when everything that came before is known.
        self._history = -1

    def compare(self, number: int, index: int, row: PictureRow | None, found: Verified) -> str:
        """What differs in this frame, '' = nothing. Without a row no picture was made of it, and none is made here."""
        recording, slot = self._recording, self._slot
        configuration = self._configuration(row)
        slot.prepare(configuration)
        if not recording.whole(index, slot.data):
            return "its samples are not those that were recorded"
        found.frames += 1
        if row is None:
            return ""
        plan = self._plan_for(row, configuration)
        slot.number = number
        wanted = {"bmode"}
        wanted |= {"envelope"} if "scan_convert" in row.digests else set()
        wanted |= {"lines"} if "detect" in row.digests else set()
        plan.run(slot, frozenset(wanted))
        known = row.pictures_before == self._history or not configuration.settings.persistence
        self._history = row.pictures_before + 1 if row.pictures_before == self._history else -1
        for stage in STAGES:
            stored = row.digests.get(stage)
            if stored is None or (stage == "compress" and not known):
                continue
            output = plan.stage_outputs.get(stage)
            if output is None or digest_of(output) != stored:
                return f"{STAGE_NAMES[stage]} differs"
            found.stages.add(stage)
        if known:
            found.pictures += 1
        else:
            found.unknown_history += 1
        return ""

    def _configuration(self, row: PictureRow | None) -> Configuration:
        revision = self._revision if row is None else row.revision
        if self._plan is not None and revision == self._revision:
            return self._plan.configuration
        values, applied = self._settings.get(revision, ({}, frozenset()))
        return Configuration(_settings(values, revision), self._recording.acquisition, None, applied)

    def _plan_for(self, row: PictureRow, configuration: Configuration) -> Plan:
        begins = row.pictures_before == 0
        if self._plan is None or row.revision != self._revision or begins:
            if row.revision not in self._settings:
                raise Unverifiable(f"{self._recording.path}: settings of revision {row.revision} are not in it")
            try:
                self._plan = build_plan(configuration, self._options)
            except ValueError as error:
                raise Unverifiable(f"{self._recording.path}: no picture can be made of it: {error}") from error
            self._revision = row.revision
            self._history = 0 if begins else -1
        # What was shown white then was perhaps found before the recording began.
        self._plan.level.amplitude = row.level
        return self._plan


def _pictures(path: Path, rows: dict[int, bytes], found: Verified) -> None:
    """The pictures of a clip are those that were published."""
    with Recording(path) as recording:
        pixels = np.empty(recording.acquisition.shape, recording.acquisition.dtype)
        for index, number in enumerate(recording.numbers.tolist()):
            if not recording.whole(index, pixels):
                found.difference = f"{path.name}: frame {number}: its pixels are not those that were saved"
                return
            stored = rows.get(number)
            if stored is not None and digest_of(pixels) != stored:
                found.difference = f"{path.name}: frame {number}: its pixels are not those that were published"
                return


def _settings(values: dict[str, Any], revision: int) -> Settings:
    read: dict[str, Value] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return Settings().with_values(read, revision)

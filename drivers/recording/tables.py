"""What a recording holds beside its frames: settings by revision, and digests of what was made of each frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sonod.drivers.digests import DIGEST_BYTES, DIGEST_NAME, STAGES, PictureRow
from sonod.drivers.frame import Configuration

SETTINGS_LOG = "settings_log"
PICTURES = "pictures"
_INTEGERS = ("number", "revision", "pictures_before")
_NOTHING = bytes(DIGEST_BYTES)
_CHUNK = 1024


class PictureTable:
    """Group `pictures`: one row for each frame of which a picture was made."""

    def __init__(self) -> None:
        self._rows: list[PictureRow] = []
        self._count = 0

    def lay_out(self, file: h5py.File) -> None:
        group = file.create_group(PICTURES)
        group.attrs["digest"] = DIGEST_NAME
        for name in _INTEGERS:
            group.create_dataset(name, (0,), np.int64, maxshape=(None,), chunks=(_CHUNK,))
        group.create_dataset("level", (0,), np.float64, maxshape=(None,), chunks=(_CHUNK,))
        for name in STAGES:
            shape = (DIGEST_BYTES,)
            group.create_dataset(name, (0, *shape), np.uint8, maxshape=(None, *shape), chunks=(_CHUNK, *shape))
        # Kept open: nobody hears of an error when one is closed.
        self._columns = dict(group.items())

    def add(self, row: PictureRow) -> None:
        self._rows.append(row)

    def write(self) -> None:
        """Append what was added."""
        rows, self._rows = self._rows, []
        if not rows:
            return
        columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in (*_INTEGERS, "level")}
        for name in STAGES:
            joined = b"".join(row.digests.get(name, _NOTHING) for row in rows)
            columns[name] = np.frombuffer(joined, np.uint8).reshape(-1, DIGEST_BYTES)
        before, self._count = self._count, self._count + len(rows)
        for name, values in columns.items():
            self._columns[name].resize(self._count, axis=0)
            self._columns[name][before:] = values


def read_pictures(file: h5py.File) -> list[PictureRow]:
    """The rows of group `pictures`, none when there is no such group."""
    group = file.get(PICTURES)
    if group is None:
        return []
    integers = {name: group[name][...].tolist() for name in _INTEGERS}
    level = group["level"][...].tolist()
    stages = {name: group[name][...] for name in STAGES}
    # A writer that was killed may have lengthened some columns and not others.
    count = min(map(len, (*integers.values(), level, *stages.values())))
    return [
        PictureRow(
            integers["number"][index],
            integers["revision"][index],
            integers["pictures_before"][index],
            level[index],
            {name: found for name in STAGES if (found := stages[name][index].tobytes()) != _NOTHING},
        )
        for index in range(count)
    ]


class SettingsLog:
    """Settings by revision: as attributes of group `settings`, and, because none can be added while frames are written,
    as lines of JSON in `settings_log`, which also say what the device had acted on."""

    def __init__(self) -> None:
        self._revisions: set[int] = set()
        self._later: dict[str, str] = {}

    def lay_out(self, file: h5py.File) -> None:
        file.create_group("settings")
        self._log = file.create_dataset(SETTINGS_LOG, (0,), np.uint8, maxshape=(None,), chunks=(4096,))

    def add(self, file: h5py.File, configuration: Configuration) -> None:
        settings = configuration.settings
        if settings.revision in self._revisions:
            return
        values = settings.as_mapping()
        text = json.dumps(values)
        if file.swmr_mode:
            self._later[str(settings.revision)] = text
        else:
            file["settings"].attrs[str(settings.revision)] = text
        line = {"revision": settings.revision, "settings": values, "applied": sorted(configuration.applied)}
        data = np.frombuffer(json.dumps(line).encode() + b"\n", np.uint8)
        before = self._log.shape[0]
        self._log.resize(before + len(data), axis=0)
        self._log[before:] = data
        self._revisions.add(settings.revision)

    def complete(self, path: Path) -> None:
        """Add the attributes that could not be made before; the file is closed."""
        if not self._later:
            return
        with h5py.File(path, "r+", libver=("v110", "v110")) as file:
            file["settings"].attrs.update(self._later)


def read_settings(file: h5py.File) -> dict[int, tuple[dict[str, Any], frozenset[str]]]:
    """Revision -> the settings, and the names of those on which the device had acted."""
    found: dict[int, tuple[dict[str, Any], frozenset[str]]] = {}
    log = file.get(SETTINGS_LOG)
    if log is None:
        group = file.get("settings")
        return (
            {} if group is None else {int(name): (json.loads(text), frozenset()) for name, text in group.attrs.items()}
        )
    for line in log[...].tobytes().splitlines():
        values = json.loads(line)
        found[values["revision"]] = (values["settings"], frozenset(values["applied"]))
    return found

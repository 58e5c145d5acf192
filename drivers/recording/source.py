"""Checked access to the objects of a recording: every problem becomes one line naming file, object and remedy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from sonod.drivers.errors import RecordingError
from sonod.drivers.recording.layout import MAX_TABLE_ENTRIES


class RecordingSource:
    """An open HDF5 file whose readers raise RecordingError and nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise RecordingError(f"{path}: no such file; check the path")
        if not path.is_file():
            raise RecordingError(f"{path}: is not a file; name one HDF5 recording")
        self.abandoned = False
        try:
            self.file = h5py.File(path, "r")
        except OSError as error:
            if "already open" not in str(error):
                raise self._unusable(error) from error
            self.file = self._open_abandoned()
        except RuntimeError as error:
            raise self._unusable(error) from error

    def _open_abandoned(self) -> h5py.File:
        """A file that is being written, or whose writer has ended without closing it."""
        try:
            file = h5py.File(self.path, "r", swmr=True, libver="latest")
        except (OSError, RuntimeError) as error:
            raise self._unusable(error) from error
        self.abandoned = True
        return file

    def _unusable(self, error: Exception) -> RecordingError:
        if isinstance(error, PermissionError):
            return RecordingError(f"{self.path}: may not be read by this user; check its permissions")
        return RecordingError(f"{self.path}: {_reason(error)}")

    def close(self) -> None:
        self.file.close()

    def fail(self, where: str, problem: str) -> RecordingError:
        """The error to raise about one object or attribute."""
        return RecordingError(f"{self.path}: {where}: {problem}")

    def attribute(self, name: str, where: str = "/") -> Any:
        """The attribute's value, or None when it is not there."""
        node = self.file.get(where)
        if node is None or name not in node.attrs:
            return None
        try:
            return node.attrs[name]
        except (OSError, RuntimeError, TypeError, ValueError, KeyError) as error:
            raise self.fail(_attribute(where, name), f"cannot be read ({error}); the file is damaged") from error

    def text(self, name: str, where: str = "/", default: str = "") -> str:
        """A text attribute."""
        value = self.attribute(name, where)
        if value is None:
            return default
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace").rstrip()
        if isinstance(value, np.ndarray | np.generic | int | float) and not isinstance(value, np.str_):
            raise self.fail(_attribute(where, name), f"must be text, got {value!r}")
        return str(value)

    def number(
        self,
        name: str,
        where: str = "/",
        *,
        default: float | None = None,
        above: float = -math.inf,
        nan: bool = False,
    ) -> float:
        """A number attribute that is finite (or NaN where `nan` is allowed) and larger than `above`."""
        value = self.attribute(name, where)
        if value is None:
            if default is None:
                raise self.fail(_attribute(where, name), "missing; give one finite number")
            return default
        flat = np.asarray(value)
        if flat.size != 1 or flat.dtype.kind not in "iufb":
            raise self.fail(_attribute(where, name), f"must be one number, got {value!r}")
        number = float(flat.reshape(-1)[0])
        if math.isnan(number) and nan:
            return number
        if not math.isfinite(number) or not number > above:
            limit = "finite" if above == -math.inf else f"finite and > {above:g}"
            raise self.fail(_attribute(where, name), f"must be {limit}, got {number:g}")
        return number

    def dataset(self, name: str) -> h5py.Dataset | None:
        """The dataset, or None when there is none of this name."""
        try:
            node = self.file.get(name)
        except (OSError, RuntimeError, KeyError) as error:
            raise self.fail(name, f"cannot be read ({error}); the file is damaged") from error
        if node is None:
            return None
        if not isinstance(node, h5py.Dataset):
            raise self.fail(name, "must be a dataset, is a group")
        return node

    def table(
        self,
        name: str,
        shape: tuple[int | None, ...],
        *,
        what: str = "",
        nan: bool = False,
    ) -> NDArray[np.float64] | None:
        """A numeric table as float64, or None when it is not there and not required (`what` empty).

        `what` says in words what a missing table should have held. None in `shape` is any length.
        """
        dataset = self.dataset(name)
        if dataset is None:
            if what:
                raise self.fail(name, f"missing; {what}")
            return None
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        have = dataset.shape or ()
        if dataset.dtype.kind not in "iufb":
            raise self.fail(name, f"must hold numbers, is of type {dataset.dtype}")
        if len(have) != len(shape) or any(
            want is not None and want != length for want, length in zip(shape, have, strict=True)
        ):
            raise self.fail(name, f"must have shape ({wanted}), has {have}")
        if math.prod(have) > MAX_TABLE_ENTRIES:
            raise self.fail(name, f"shape {have} is larger than the {MAX_TABLE_ENTRIES} entries allowed")
        try:
            values = np.asarray(dataset[...], dtype=np.float64)
        except (OSError, RuntimeError) as error:
            raise self.fail(name, f"cannot be read ({error}); the file is damaged") from error
        bad = np.isinf(values) if nan else ~np.isfinite(values)
        if bad.any():
            at = tuple(int(index) for index in np.argwhere(bad)[0])
            raise self.fail(name, f"must be finite{' or NaN' if nan else ''}, entry {at} is {values[at]}")
        return values

    def whole_numbers(self, name: str) -> NDArray[np.int64] | None:
        """A row of whole numbers, or None when it is not there."""
        dataset = self.dataset(name)
        if dataset is None:
            return None
        if dataset.dtype.kind not in "iu":
            raise self.fail(name, f"must hold whole numbers, is of type {dataset.dtype}")
        if dataset.ndim != 1 or dataset.size > MAX_TABLE_ENTRIES:
            raise self.fail(name, f"must be a row of at most {MAX_TABLE_ENTRIES}, has shape {dataset.shape}")
        try:
            return np.asarray(dataset[...], dtype=np.int64)
        except (OSError, RuntimeError) as error:
            raise self.fail(name, f"cannot be read ({error}); the file is damaged") from error


def _attribute(where: str, name: str) -> str:
    return f"attribute {name}" if where == "/" else f"attribute {where}@{name}"


def _reason(error: Exception) -> str:
    text = str(error)
    if "truncated file" in text:
        return "the HDF5 file is truncated; copy it again or use the original"
    if "file signature not found" in text:
        return "is not an HDF5 file; recordings are HDF5 of format sonod-rf"
    if "unable to lock file" in text or "already open" in text:
        return "is being written by another program; wait until it is closed"
    return f"cannot be opened as HDF5 ({text}); the file is damaged"

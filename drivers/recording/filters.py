"""The HDF5 filters behind the names of compressions, on the writer's side and on the reader's."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import h5py

from sonod.drivers.compression import PLUGIN, CompressionName, compression_problem
from sonod.drivers.errors import RecordingError

# Of h5py's `create_dataset`.
Options = Mapping[str, Any]
# Faster levels: what is recorded comes at the speed of the wire.
_GZIP_LEVEL, _LZ4_LEVEL, _ZSTD_LEVEL = 1, 5, 3


def filter_options(name: CompressionName) -> Options:
    """What h5py's `create_dataset` takes for a compression; RecordingError when its filter is not here."""
    if name == "none":
        return {}
    if name == "gzip":
        return {"compression": "gzip", "compression_opts": _GZIP_LEVEL}
    if problem := compression_problem(name):
        raise RecordingError(f"compression: {problem}")
    import hdf5plugin

    if name == "lz4":
        return dict(hdf5plugin.LZ4())
    if name == "bitshuffle-lz4":
        return dict(hdf5plugin.Bitshuffle(cname="lz4"))
    shuffle = hdf5plugin.Blosc.SHUFFLE
    if name == "blosc-lz4":
        return dict(hdf5plugin.Blosc(cname="lz4", clevel=_LZ4_LEVEL, shuffle=shuffle))
    return dict(hdf5plugin.Blosc(cname="zstd", clevel=_ZSTD_LEVEL, shuffle=shuffle))


def unreadable_filter(dataset: h5py.Dataset) -> str:
    """'' when the samples can be decompressed here, else what is missing and where it comes from."""
    missing = _missing(dataset)
    if missing and find_spec(PLUGIN) is not None:
        # Importing it makes its filters known to HDF5.
        import_module(PLUGIN)
        missing = _missing(dataset)
    if not missing:
        return ""
    number, name = missing[0]
    return (
        f"is compressed with {name} (HDF5 filter {number}), which is not here; pip install {PLUGIN} in this "
        "environment, or compress the file otherwise where the filter is (h5repack)"
    )


def _missing(dataset: h5py.Dataset) -> list[tuple[int, str]]:
    """Filters of the samples that HDF5 does not know at present."""
    made = dataset.id.get_create_plist()
    found = [made.get_filter(place) for place in range(made.get_nfilters())]
    return [(number, _words(name) or "a filter") for number, _, _, name in found if not h5py.h5z.filter_avail(number)]


def _words(name: bytes) -> str:
    """The first line of what a filter calls itself."""
    return name.decode("utf-8", "replace").partition(";")[0].strip()

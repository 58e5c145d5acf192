"""Names of how samples may be compressed in a recording.

`gzip` is part of HDF5; the others are of the Python package hdf5plugin, which whoever reads such a file needs, too.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, get_args

CompressionName = Literal["none", "gzip", "lz4", "bitshuffle-lz4", "blosc-lz4", "blosc-zstd"]
COMPRESSIONS: tuple[CompressionName, ...] = get_args(CompressionName)
WITHOUT_PLUGIN: tuple[CompressionName, ...] = ("none", "gzip")
PLUGIN = "hdf5plugin"


def compression_problem(name: CompressionName) -> str:
    """'' when recordings can be compressed so here, else what is missing."""
    if name in WITHOUT_PLUGIN or find_spec(PLUGIN) is not None:
        return ""
    return (
        f"{name!r} needs the Python package {PLUGIN}, which is not installed: pip install {PLUGIN}, "
        f"or choose {' or '.join(WITHOUT_PLUGIN)}"
    )

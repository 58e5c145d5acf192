"""Names and limits of the `sonod-rf` HDF5 structure; docs/recording-format.md explains each."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from sonod.drivers.frame import DataKind, SampleFormat

FORMAT: Final = "sonod-rf"
VERSION: Final = 1

# Samples of one frame; a file that claims more is damaged or not meant for a live path.
MAX_FRAME_BYTES: Final = 1 << 30
# Entries of one geometry table, for the same reason.
MAX_TABLE_ENTRIES: Final = 1 << 26


class SamplesObject(NamedTuple):
    """One object that may hold the samples; `kind` is None where `data_kind` decides, `axes` is without the frame."""

    kind: DataKind | None
    sample_format: SampleFormat
    dtype: np.dtype[Any]
    axes: int


SAMPLES: Final = {
    "rf": SamplesObject(None, SampleFormat.RF, np.dtype(np.int16), 3),
    "iq": SamplesObject(None, SampleFormat.IQ, np.dtype(np.int16), 4),
    "lines_u8": SamplesObject(DataKind.LINES, SampleFormat.LOG8, np.dtype(np.uint8), 3),
    "envelope": SamplesObject(DataKind.LINES, SampleFormat.ENVELOPE, np.dtype(np.float32), 3),
    "image_u8": SamplesObject(DataKind.IMAGE, SampleFormat.LOG8, np.dtype(np.uint8), 2),
}

# Values of the root attribute `data_kind`.
KIND_OF: Final = {
    "channel": DataKind.CHANNEL,
    "single": DataKind.CHANNEL,
    "single_scan": DataKind.CHANNEL,
    "lines": DataKind.LINES,
    "lines_u8": DataKind.LINES,
    "image": DataKind.IMAGE,
}

AXES: Final = {
    ("rf", DataKind.CHANNEL): "frame, transmit, channel, sample",
    ("iq", DataKind.CHANNEL): "frame, transmit, channel, sample, (I,Q)",
    ("rf", DataKind.LINES): "frame, transmit, line, sample",
    ("iq", DataKind.LINES): "frame, transmit, line, sample, (I,Q)",
    ("lines_u8", DataKind.LINES): "frame, transmit, line, sample",
    ("envelope", DataKind.LINES): "frame, transmit, line, sample",
    ("image_u8", DataKind.IMAGE): "frame, row (depth), column (lateral)",
}


def samples_object(kind: DataKind, sample_format: SampleFormat) -> str:
    """Name of the object for samples of this kind; ValueError when the structure has none."""
    for name, (fixed, held, _, _) in SAMPLES.items():
        if held is sample_format and (fixed is kind or (fixed is None and kind is not DataKind.IMAGE)):
            return name
    raise ValueError(f"{kind} data of format {sample_format} has no place in a {FORMAT} file")

"""Small recordings for tests, made here; nothing is taken from the measured ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sonod.drivers.frame import Acquisition, DataKind, SampleFormat
from sonod.drivers.probe import Probe
from sonod.drivers.recording import RecordingWriter
from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind

ELEMENTS, SAMPLES = 8, 64


def plane_acquisition(transmits: int = 2, samples: int = SAMPLES) -> Acquisition:
    """RF of plane waves with a linear array of 8 elements."""
    probe = Probe.linear("small", ELEMENTS, 0.3e-3, 5e6)
    x = probe.element_positions_m[:, 0]
    events = tuple(
        TransmitEvent(
            TransmitKind.PLANE,
            x * np.sin(angle) / 1540,
            np.zeros(3),
            np.arange(ELEMENTS, dtype=np.int32),
            float(angle),
            1e-6 * index,
        )
        for index, angle in enumerate(np.linspace(-0.1, 0.1, transmits))
    )
    return Acquisition(
        probe,
        Sequence(events),
        DataKind.CHANNEL,
        SampleFormat.RF,
        (transmits, ELEMENTS, samples),
        np.dtype(np.int16),
        20e6,
        1540.0,
    )


def frames_of(acquisition: Acquisition, count: int, seed: int = 0) -> np.ndarray:
    """(count, ...) random samples of the acquisition's shape and dtype."""
    random = np.random.default_rng(seed)
    shape = (count, *acquisition.shape)
    if acquisition.dtype.kind == "f":
        return random.random(shape, dtype=np.float32)
    limits = np.iinfo(acquisition.dtype)
    return random.integers(limits.min, limits.max, shape, acquisition.dtype, endpoint=True)


def write_recording(path: Path, frames: int = 3, acquisition: Acquisition | None = None) -> Path:
    """A complete recording of random samples."""
    held = acquisition or plane_acquisition()
    with RecordingWriter(path, held) as writer:
        for index, data in enumerate(frames_of(held, frames)):
            writer.append_frame(data, number=index + 1)
    return path

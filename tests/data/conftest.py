"""Each measured recording is processed once; the tests look at what came out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from sonod.daemon.pipeline.options import ImageOptions
from sonod.daemon.process import PROCESS_OPTIONS, process_recording


class Processed:
    """The output of `sonod process` for one recording, beside the recording itself."""

    def __init__(self, source: Path, out: Path, pictures: Path) -> None:
        self.source, self.out, self.pictures = source, out, pictures
        with h5py.File(out) as file:
            self.envelope: NDArray[np.float32] = file["bmode/envelope"][()]
            self.image: NDArray[np.uint8] = file["bmode/image"][()]
            self.x_m: NDArray[np.float64] = file["bmode/x_m"][()]
            self.z_m: NDArray[np.float64] = file["bmode/z_m"][()]
            self.y_m: NDArray[np.float64] = file["bmode/y_m"][()]

    def plane(self, y_m: float) -> NDArray[np.float64]:
        """Mean envelope over the frames, or that of the frame in the plane nearest to y."""
        if len(np.unique(self.y_m)) > 1:
            return self.envelope[np.abs(self.y_m - y_m).argmin()].astype(np.float64)
        return self.envelope.mean(axis=0, dtype=np.float64)

    def brightest(
        self, x_m: float, z_m: float, reach_m: float, *, y_m: float = 0.0, along_z: bool = False
    ) -> tuple[float, float]:
        """(x, z) of the brightest pixel within `reach_m` of a place; `along_z` keeps to the nearest column."""
        columns = np.abs(self.x_m - x_m) <= reach_m
        if along_z:
            columns = np.arange(len(self.x_m)) == np.abs(self.x_m - x_m).argmin()
        rows = np.abs(self.z_m - z_m) <= reach_m
        part = self.plane(y_m)[np.ix_(rows, columns)]
        row, column = np.unravel_index(part.argmax(), part.shape)
        return float(self.x_m[columns][column]), float(self.z_m[rows][row])


@pytest.fixture(scope="session")
def processed(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Processed]:
    """`processed(name)` runs the recording of that name through the pipeline, once in a session."""
    folder = tmp_path_factory.mktemp("processed")
    done: dict[str, Processed] = {}

    def process(name: str, options: ImageOptions = PROCESS_OPTIONS) -> Processed:
        if name not in done:
            out = folder / f"{name}.h5"
            process_recording(data_folder / f"{name}.h5", out, changes={}, options=options, png=folder / name, iq=True)
            done[name] = Processed(data_folder / f"{name}.h5", out, folder / name)
        return done[name]

    return process

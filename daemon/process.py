"""The pipeline offline: every frame of a recording, none dropped, into an HDF5 file and pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import sonod
from sonod.cext.instruction import instruction_set
from sonod.client.wire.geometry import ImageGeometry, LinesGeometry
from sonod.daemon.errors import DaemonError
from sonod.daemon.pipeline.plan import ImageOptions, Plan, build_plan, processing_knobs
from sonod.daemon.pipeline.product import Product
from sonod.drivers import open_uri
from sonod.drivers.base import Driver
from sonod.drivers.errors import EndOfRecording
from sonod.drivers.frame import DataKind, Slot
from sonod.drivers.settings import Knob, Settings, change_settings, default_settings

# Products that `process` keeps when a plan makes them.
KEPT = frozenset({"envelope", "bmode", "lines", "mmode"})
# Offline, the picture may be as fine as its echoes are.
PROCESS_OPTIONS = ImageOptions(usual_rows=1024, finest_row_wavelengths=0.125)
# A plot of an A-scan: pixels across depth, pixels of amplitude, and the range shown.
A_SCAN_PLOT_WIDTH, A_SCAN_PLOT_HEIGHT, A_SCAN_PLOT_RANGE_DB = 1000, 240, 60.0
READ_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Processed:
    """What came of a recording."""

    frames: int
    pictures: int
    geometry: ImageGeometry
    settings: Settings


class OutputExists(DaemonError):
    """The output would overwrite the input."""


def process_recording(
    source: Path,
    out: Path,
    *,
    changes: Mapping[str, object],
    options: ImageOptions,
    png: Path | None = None,
    iq: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Processed:
    """Run every frame of `source` through the pipeline and write `out` (and PNG files into `png`); `iq` keeps
    the beamformed baseband too.

    Raises DriverError for an unusable recording or setting and OSError for an unusable output; an output that was
    begun and not finished is removed.
    """
    if out.resolve() == source.resolve():
        raise OutputExists(f"{out}: is the recording itself; name another --out")
    driver = open_uri(f"replay:{source}?loop=0&rate=0")
    driver.open()
    part = out.with_name(out.name + ".part")
    try:
        with h5py.File(part, "w") as file:
            wanted = KEPT | {"iq"} if iq else KEPT
            done = _run(driver, file, source, changes, options, wanted, png, progress)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
        driver.close()
    return done


def starting_settings(driver: Driver, changes: Mapping[str, object]) -> tuple[Settings, dict[str, Knob]]:
    """The driver's defaults with `changes`, and every knob there is; SettingsRefused names each bad change."""
    knobs = dict(driver.knobs())
    settings = default_settings(knobs)
    acquisition = driver.prepare(settings).acquisition
    knobs = processing_knobs(knobs, acquisition)
    return change_settings(default_settings(knobs), changes, knobs), knobs


def _run(
    driver: Driver,
    file: h5py.File,
    source: Path,
    changes: Mapping[str, object],
    options: ImageOptions,
    wanted: frozenset[str],
    png: Path | None,
    progress: Callable[[int, int], None] | None,
) -> Processed:
    settings, knobs = starting_settings(driver, changes)
    configuration = driver.prepare(settings)
    plan = build_plan(configuration, options)
    driver.apply(configuration)
    driver.start()
    slot = Slot(configuration.acquisition.nbytes)
    writer = _Writer(file, png)
    frames = 0
    total = int(getattr(driver, "frame_count", 0))
    while True:
        try:
            driver.read_into(slot, READ_TIMEOUT_S)
        except EndOfRecording:
            break
        for index in range(plan.slices):
            slot.number = index if plan.slices > 1 else frames
            writer.take(plan.run(slot, wanted), first=frames == 0 and index == 0)
        frames += 1
        if progress is not None:
            progress(frames, total)
    _describe(file, source, plan, settings, knobs)
    return writer.finish(frames, settings)


class _Writer:
    """Collects products into extendable datasets, and pictures into files."""

    def __init__(self, file: h5py.File, png: Path | None) -> None:
        self._file = file
        self._png = png
        self._count = 0
        self._y_m: list[float] = []
        self._geometry: ImageGeometry | None = None
        self._motion: list[NDArray[np.float32]] = []
        self._motion_picture: Product | None = None
        if png is not None:
            png.mkdir(parents=True, exist_ok=True)

    def take(self, products: tuple[Product, ...], *, first: bool) -> None:
        for product in products:
            if product.name in ("envelope", "bmode"):
                self._append(f"bmode/{'envelope' if product.name == 'envelope' else 'image'}", product.data, first)
                assert isinstance(product.geometry, ImageGeometry)
                self._geometry = product.geometry
            elif product.name == "lines" and isinstance(product.geometry, LinesGeometry):
                self._append("lines/envelope", product.data, first)
                if first:
                    self._lines("lines", product.geometry)
            elif product.name == "iq" and isinstance(product.geometry, LinesGeometry):
                self._append("iq/samples", product.data, first)
                if first:
                    self._lines("iq", product.geometry)
            elif product.name == "mmode":
                self._motion_picture = product
            if product.name == "bmode":
                self._picture(product.data)
            if product.name == "envelope" and product.data.shape[1] == 1:
                self._motion.append(product.data[:, 0].copy())
        assert self._geometry is not None
        self._y_m.append(self._geometry.first_pixel_m[1])
        self._count += 1

    def finish(self, frames: int, settings: Settings) -> Processed:
        assert self._geometry is not None
        geometry, group = self._geometry, self._file["bmode"]
        rows, columns = geometry.shape
        group["x_m"] = geometry.first_pixel_m[0] + np.arange(columns) * geometry.spacing_m[1]
        group["z_m"] = geometry.first_pixel_m[2] + np.arange(rows) * geometry.spacing_m[0]
        group["y_m"] = np.array(self._y_m)
        group.attrs["geometry"] = geometry.text
        group.attrs["axes"] = "frame, row (depth), column (lateral)"
        if self._motion:
            motion = self._file.create_group("mmode")
            motion["envelope"] = np.stack(self._motion, axis=1)
            motion["z_m"] = group["z_m"][()]
            motion.attrs["axes"] = "row (depth), column (frame)"
            if self._png is not None and self._motion_picture is not None:
                picture = self._motion_picture.data[:, -min(self._count, self._motion_picture.data.shape[1]) :]
                Image.fromarray(picture).save(self._png / "mmode.png")
        return Processed(frames, self._count, geometry, settings)

    def _append(self, name: str, data: NDArray[Any], first: bool) -> None:
        if first:
            self._file.create_dataset(
                name, (0, *data.shape), data.dtype, maxshape=(None, *data.shape), chunks=(1, *data.shape)
            )
        dataset = self._file[name]
        dataset.resize(dataset.shape[0] + 1, axis=0)
        dataset[-1] = data

    def _lines(self, name: str, geometry: LinesGeometry) -> None:
        group = self._file[name]
        group["origins_m"] = np.array(geometry.origins_m)
        group["directions"] = np.array(geometry.directions)
        group.attrs["first_sample_m"] = geometry.first_m
        group.attrs["sample_spacing_m"] = geometry.spacing_m
        group.attrs["axes"] = "frame, line, sample, (I, Q)" if name == "iq" else "frame, line, sample"

    def _picture(self, greys: NDArray[np.uint8]) -> None:
        if self._png is None:
            return
        path = self._png / f"frame_{self._count:04d}.png"
        if greys.shape[1] > 1:
            assert self._geometry is not None
            dz, dx = self._geometry.spacing_m
            image = Image.fromarray(greys)
            if abs(dx / dz - 1) > 0.01:
                # A file has no pixel shape that viewers honour: make the pixels square, the finer side kept.
                side = min(dx, dz)
                image = image.resize((round(greys.shape[1] * dx / side), round(greys.shape[0] * dz / side)))
            image.save(path)
        else:
            Image.fromarray(a_scan_plot(greys[:, 0])).save(path)


def a_scan_plot(greys: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A-scan (samples,) of compressed levels as a plot: depth to the right, level upwards."""
    edges = np.linspace(0, len(greys), A_SCAN_PLOT_WIDTH + 1).astype(int)
    peaks = [int(greys[start : max(stop, start + 1)].max()) for start, stop in pairwise(edges)]
    plot = np.zeros((A_SCAN_PLOT_HEIGHT, A_SCAN_PLOT_WIDTH), np.uint8)
    for column, peak in enumerate(peaks):
        plot[A_SCAN_PLOT_HEIGHT - 1 - peak * (A_SCAN_PLOT_HEIGHT - 1) // 255 :, column] = 255
    return plot


def _describe(file: h5py.File, source: Path, plan: Plan, settings: Settings, knobs: Mapping[str, Knob]) -> None:
    acquisition = plan.configuration.acquisition
    file.attrs["format"] = "sonod-images"
    file.attrs["format_version"] = 1
    file.attrs["source"] = source.name
    file.attrs["sonod_version"] = sonod.__version__
    file.attrs["instruction_set"] = instruction_set()
    file.attrs["settings"] = json.dumps({name: settings.value(name) for name in sorted(knobs)})
    file.attrs["reference_amplitude"] = plan.level.amplitude
    file.attrs["probe_name"] = acquisition.probe.name
    group = file["bmode"]
    group.attrs["settings"] = file.attrs["settings"]
    if "envelope" not in group:
        # Finished pictures have no amplitudes any more.
        return
    group["envelope"].attrs["unit"] = (
        "8 bit brightness, as recorded"
        if acquisition.kind is DataKind.LINES and acquisition.sample_format == "log8"
        else f"linear amplitude, {acquisition.sample_unit}"
    )

"""Plans on simulated echoes: things appear where they are, whatever the probe, sequence and form of the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from sonod.client.wire.geometry import ImageGeometry
from sonod.daemon.pipeline.plan import ImageOptions, Plan, build_plan
from sonod.daemon.process import starting_settings
from sonod.drivers import open_uri
from sonod.drivers.frame import Configuration, DataKind, LineGeometry, PixelGrid, SampleFormat, Slot

BMODE = frozenset({"bmode", "envelope"})


def frame(uri: str, changes: Mapping[str, object] | None = None, number: int = 1) -> tuple[Configuration, Slot]:
    """The configuration of a driver and its frame of a number."""
    driver = open_uri(uri)
    driver.open()
    try:
        settings, _ = starting_settings(driver, {"frame_rate_hz": 60.0, **(changes or {})})
        configuration = driver.prepare(settings)
        driver.apply(configuration)
        driver.start()
        slot = Slot(configuration.acquisition.nbytes)
        for _ in range(number):
            driver.read_into(slot, 5.0)
    finally:
        driver.close()
    return configuration, slot


def filled(configuration: Configuration, data: np.ndarray) -> Slot:  # type: ignore[type-arg]
    """A slot that holds `data`."""
    slot = Slot(configuration.acquisition.nbytes)
    slot.prepare(configuration)
    slot.data[...] = data
    return slot


def envelope(plan: Plan, slot: Slot) -> tuple[np.ndarray, ImageGeometry]:  # type: ignore[type-arg]
    product = next(product for product in plan.run(slot, BMODE) if product.name == "envelope")
    assert isinstance(product.geometry, ImageGeometry)
    return product.data.copy(), product.geometry


@pytest.mark.parametrize("uri", ["sim:needle", "sim:needle?probe=curvilinear", "sim:needle?probe=phased"])
def test_true_needle_tip_is_bright_in_the_picture(uri: str) -> None:
    configuration, slot = frame(uri, number=40)
    assert slot.truth is not None
    assert slot.truth.needle is not None
    pixels, geometry = envelope(build_plan(configuration, ImageOptions()), slot)
    row, column = (round(place) for place in geometry.pixel(slot.truth.needle.tip_m))
    reach = round(1e-3 / geometry.spacing_m[0])
    around = pixels[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
    assert around.max() > 3 * np.median(pixels[pixels > 0])


@pytest.mark.parametrize("sequence", ["plane", "diverging", "focused", "synthetic"])
def test_every_sequence_shows_the_same_wires(sequence: str) -> None:
    """The brightest of the wires on the axis stay where they are, whichever way they are insonified."""
    configuration, slot = frame(f"sim:wires?sequence={sequence}&seed=3")
    pixels, geometry = envelope(build_plan(configuration, ImageOptions()), slot)
    reference_configuration, reference_slot = frame("sim:wires?sequence=plane&seed=3", {"angle_count": 11})
    reference, same = envelope(build_plan(reference_configuration, ImageOptions()), reference_slot)
    middle = np.abs(same.first_pixel_m[0] + np.arange(same.shape[1]) * same.spacing_m[1]) < 1e-3
    profile = reference[:, middle].max(axis=1)
    tops = [
        index
        for index in range(1, len(profile) - 1)
        if profile[index] >= profile[index - 1 : index + 2].max() and profile[index] > 0.3 * profile.max()
    ]
    assert tops
    for index in tops:
        _, _, depth = same.point_m(index, 0)
        row, column = (round(place) for place in geometry.pixel((0.0, 0.0, depth)))
        rows = slice(max(row - 4, 0), row + 5)
        near = pixels[rows, max(column - 8, 0) : column + 9].max()
        background = np.median(pixels[pixels > 0])
        assert near > 4 * background, f"nothing at {depth * 1e3:.1f} mm with {sequence}"


def test_iq_input_gives_the_picture_of_its_rf() -> None:
    configuration, slot = frame("sim:cyst?seed=5")
    acquisition = configuration.acquisition
    from_rf, _ = envelope(build_plan(configuration, ImageOptions()), slot)
    center = acquisition.pulse_frequency_hz
    samples = acquisition.shape[2]
    times = acquisition.sequence.t0_s[:, None, None] + np.arange(samples) / acquisition.sampling_hz
    spectrum = np.fft.fft(slot.data - slot.data.mean(axis=-1, keepdims=True))
    spectrum[..., samples // 2 :] = 0
    baseband = 2 * np.fft.ifft(spectrum) * np.exp(-2j * np.pi * center * times)
    parts = np.stack([baseband.real, baseband.imag], axis=-1).astype(np.float32)
    as_iq = replace(
        configuration,
        acquisition=replace(
            acquisition,
            sample_format=SampleFormat.IQ,
            shape=parts.shape,
            dtype=np.dtype(np.float32),
            demodulation_hz=center,
        ),
    )
    from_iq, _ = envelope(build_plan(as_iq, ImageOptions()), filled(as_iq, parts))
    error = np.sqrt(np.mean((from_iq - from_rf) ** 2) / np.mean(from_rf**2))
    assert error < 0.1


def test_depth_gain_and_range_change_the_picture_as_on_a_scanner() -> None:
    depths = []
    for depth_m in (0.03, 0.05):
        configuration, slot = frame("sim:cyst", {"depth_m": depth_m})
        _, geometry = envelope(build_plan(configuration, ImageOptions()), slot)
        depths.append(geometry.point_m(geometry.shape[0] - 1, 0)[2])
    np.testing.assert_allclose(depths, [0.03, 0.05], atol=0.2e-3)
    medians = []
    for gain_db in (0.0, 6.0):
        configuration, slot = frame("sim:cyst", {"gain_db": gain_db})
        pixels, _ = envelope(build_plan(configuration, ImageOptions()), slot)
        medians.append(np.median(pixels[pixels > 0]))
    assert medians[1] / medians[0] == pytest.approx(2, rel=0.1)
    configuration, slot = frame("sim:cyst")
    dark, bright = (
        next(
            product.data.astype(int).mean()
            for product in build_plan(
                replace(configuration, settings=replace(configuration.settings, dynamic_range_db=decibels)),
                ImageOptions(),
            ).run(slot, BMODE)
            if product.name == "bmode"
        )
        for decibels in (40.0, 80.0)
    )
    assert bright > dark + 20


def test_brightness_is_handed_from_plan_to_plan() -> None:
    configuration, slot = frame("sim:cyst")
    unknown = replace(configuration, acquisition=replace(configuration.acquisition, reference_amplitude=0.0))
    first = build_plan(unknown, ImageOptions())
    first.run(slot, BMODE)
    assert first.level.known
    second = build_plan(unknown, ImageOptions(), first)
    assert second.level is first.level


def test_one_line_makes_a_scan_and_its_history() -> None:
    rng = np.random.default_rng(4)
    configuration, _ = frame("sim:wires")
    acquisition = configuration.acquisition
    probe = acquisition.probe
    single = type(probe).from_positions("one", [[0.0, 0, 0]], 5e6)
    event = acquisition.sequence.events[0]
    event = type(event)(event.kind, np.zeros(1), np.zeros(3), np.zeros(1, np.int32))
    alone = replace(
        configuration,
        acquisition=replace(
            acquisition,
            probe=single,
            sequence=type(acquisition.sequence)((event,)),
            shape=(1, 1, 2048),
            center_frequency_hz=5e6,
            reference_amplitude=0.0,
        ),
        applied=frozenset(),
    )
    plan = build_plan(alone, ImageOptions())
    times = np.arange(2048) / acquisition.sampling_hz
    for arrival in (20e-6, 24e-6):
        pulse = 1000 * np.exp(-(((times - arrival) * 5e6 / 2) ** 2)) * np.cos(2 * np.pi * 5e6 * (times - arrival))
        slot = filled(alone, (pulse + rng.normal(0, 3, 2048)).astype(np.int16)[None, None])
        products = {product.name: product for product in plan.run(slot, frozenset({"lines", "mmode", "bmode"}))}
        depth = products["lines"].data[0].argmax() * 1540 / 2 / acquisition.sampling_hz
        assert depth == pytest.approx(arrival * 770, abs=1e-4)
    motion = products["mmode"]
    last, before = motion.data[:, -1].argmax(), motion.data[:, -2].argmax()
    assert (last - before) * motion.geometry.spacing_m == pytest.approx(4e-6 * 770, rel=0.1)  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", [SampleFormat.ENVELOPE, SampleFormat.LOG8, SampleFormat.RF, SampleFormat.IQ])
def test_lines_of_every_form_become_pictures(form: SampleFormat) -> None:
    configuration, _ = frame("sim:wires")
    origins = np.zeros((20, 3))
    origins[:, 0] = np.linspace(-10e-3, 10e-3, 20)
    geometry = LineGeometry(origins, np.tile([0.0, 0, 1], (20, 1)), 0.0, 0.1e-3, 300)
    shape: tuple[int, ...] = (1, 20, 300)
    data = np.zeros(shape)
    data[0, 10, 150] = 200
    if form is SampleFormat.RF:
        wave = np.arange(-20, 21)
        data[0, 10, 130:171] = 200 * np.exp(-((wave / 6) ** 2)) * np.cos(np.pi * wave / 3)
    if form is SampleFormat.IQ:
        data = np.stack([data, 0 * data], axis=-1)
        shape = (*shape, 2)
    dtype = np.dtype(np.uint8 if form is SampleFormat.LOG8 else np.float32)
    acquisition = replace(
        configuration.acquisition,
        kind=DataKind.LINES,
        sample_format=form,
        shape=shape,
        dtype=dtype,
        lines=geometry,
        demodulation_hz=5e6 if form is SampleFormat.IQ else 0.0,
        reference_amplitude=0.0,
    )
    settings = replace(configuration.settings, depth_m=0.03)
    lines = replace(configuration, settings=settings, acquisition=acquisition)
    pixels, picture = envelope(build_plan(lines, ImageOptions()), filled(lines, data))
    row, column = np.unravel_index(pixels.argmax(), pixels.shape)
    x, _, z = picture.point_m(row, column)
    assert x == pytest.approx(origins[10, 0], abs=0.6e-3)
    assert z == pytest.approx(15e-3, abs=0.3e-3)


def test_finished_picture_passes_untouched() -> None:
    configuration, _ = frame("sim:wires")
    grid = PixelGrid(30, 40, -20e-3, 0.0, 1e-3, 1e-3)
    acquisition = replace(
        configuration.acquisition, kind=DataKind.IMAGE, shape=(30, 40), dtype=np.dtype(np.uint8), image=grid
    )
    whole = replace(configuration, acquisition=acquisition)
    picture = np.random.default_rng(1).integers(0, 255, (30, 40)).astype(np.uint8)
    (product,) = build_plan(whole, ImageOptions()).run(filled(whole, picture), BMODE)
    np.testing.assert_array_equal(product.data, picture)

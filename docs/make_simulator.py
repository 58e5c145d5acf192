"""Figures of docs/simulator.md that take minutes: python docs/make_simulator.py [physics] [beams] [contrast]

`physics`: speckle, contrast, attenuation and needles on the simulated probe, with more seeds than the tests have.
`beams` and `contrast`: against SIMUS of PyMUST; `beams` makes pictures/simulator-simus.png.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
# What is measured, and how, is shared with the tests.
sys.path.insert(0, str(HERE.parent / "tests"))

import simulated_physics as physics  # noqa: E402
import simus_twin as simus  # noqa: E402

SEEDS = range(1, 7)
# A block of tissue with two discs, small enough for SIMUS: half width, top, bottom; and what is asked of the discs.
BLOCK_M = (9e-3, 10e-3, 22e-3)
DISC_M, DISCS = 2.5e-3, {-6.0: (-4e-3, 16e-3), 6.0: (4e-3, 16e-3)}
SCATTERERS_PER_MM2 = 60


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show_physics() -> None:
    """The table of what holds by itself."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for probe, depth in (("linear", 0.04), ("curvilinear", 0.12), ("phased", 0.12)):
            uri = physics.even_scene(folder, probe, depth)
            ratio = physics.speckle_ratio(physics.picture(f"{uri}&seed={seed}") for seed in SEEDS)
            _say(f"speckle, {probe}: mean over standard deviation {ratio:.3f}")
        for asked, found in physics.disc_contrasts_db(folder, SEEDS).items():
            _say(f"disc of {asked:+g} dB: {found:+.2f} dB")
        for probe, depth, near, far in (("linear", 0.04, 10e-3, 32e-3), ("curvilinear", 0.12, 30e-3, 95e-3)):
            for asked in (0.3, 0.5, 0.7):
                uri = f"{physics.even_scene(folder, probe, depth)}&attenuation={asked}"
                _say(f"attenuation, {probe}: {asked:g} -> {physics.attenuation_db_cm_mhz(uri, near, far, SEEDS):.3f}")
        uri = physics.even_scene(folder, "linear", 0.04)
        for degrees in range(0, 70, 10):
            level = physics.shaft_over_tissue_db(uri, (2e-3, 26e-3), degrees)
            _say(f"needle at {degrees} degrees: {level:.1f} dB over tissue")


def show_beams() -> None:
    """Single elements, and points in the beams of both programs."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 4, figsize=(13, 5.6), constrained_layout=True)
    for row, name in zip(axes, simus.PROBES, strict=True):
        _single(name, row[0])
        twin = simus.Twin(name)
        wavelength = 1540 / twin.model.pulse.frequency_hz
        x, z = (2e-3, 30e-3) if name == "L11-5v" else (2e-3, 60e-3)
        for kind, axis in zip(simus.KINDS, row[1:], strict=True):
            event = twin.event(kind)
            theirs = twin.theirs(np.array([x]), np.array([z]), event.delays_s, split=True)
            shifted = simus.counted_from_zero(event, twin)
            ours = twin.ours(shifted, np.array([x]), np.array([z]), theirs.shape[1])
            sizes = [simus.image_of_point(twin, event, rf, x, z, wavelength) for rf in (ours, theirs)]
            _say(
                f"{name}, {kind}: RF correlates by {simus.correlation(ours, theirs):.4f}, width "
                f"{100 * sizes[0][0] / sizes[1][0] - 100:+.1f} %, depth {100 * sizes[0][1] / sizes[1][1] - 100:+.1f} %"
                f", place {math.dist(sizes[0][2:], sizes[1][2:]) / wavelength:.3f} wavelengths apart"
            )
            across = x + np.linspace(-12, 12, 241) * wavelength
            for rf, label, style in ((theirs, "SIMUS", "-"), (ours, "sonod", "--")):
                line = simus.image(twin, event, rf, across, np.full_like(across, z), z / 3)
                axis.plot(across * 1e3, 20 * np.log10(line / line.max()), style, label=label)
            axis.set(title=f"{name}, {kind}", xlabel="x, mm", ylabel="dB", ylim=(-60, 2))
            axis.legend(fontsize=7)
    figure.savefig(HERE / "pictures" / "simulator-simus.png", dpi=75)


def _single(name: str, axis: object) -> None:
    for attenuation in (0.0, 0.5):
        twin = simus.Twin(name, attenuation)
        event = twin.event("single")
        least, ratios, unit = 1.0, [], None
        for at in zip(*simus.targets(twin), strict=True):
            place = np.array([at[0]]), np.array([at[1]])
            theirs = twin.theirs(*place, event.delays_s, split=False)
            ours = twin.ours(event, *place, theirs.shape[1])
            unit = unit or 10 ** (simus.amplitude_ratio_db(ours, theirs, 1.0) / 20)
            least = min(least, simus.correlation(ours, theirs))
            ratios.append(simus.amplitude_ratio_db(ours, theirs, unit))
        _say(
            f"{name}, single elements, {attenuation:g} dB/cm/MHz, {len(ratios)} places: RF correlates by {least:.5f} "
            f"or more, amplitude ratios within {np.ptp(ratios):.2f} dB"
        )
    trace = theirs[len(theirs) // 2]
    begin = max(int(np.abs(trace).argmax()) - 30, 0)
    time_us = np.arange(begin, begin + 60) / twin.model.sampling_hz * 1e6
    peak = np.abs(trace).max()
    axis.plot(time_us, trace[begin : begin + 60] / peak, label="SIMUS")
    axis.plot(time_us, ours[len(ours) // 2][begin : begin + 60] / unit / peak, "--", label="sonod")
    axis.set(title=f"{name}, one element, 0.5 dB/cm/MHz", xlabel="time, us")
    axis.legend(fontsize=7)


def show_contrast() -> None:
    """Discs in the same scatterers, beamformed alike from both programs."""
    twin = simus.Twin("L11-5v")
    event = twin.event("plane")
    random = np.random.default_rng(1)
    half, top, bottom = BLOCK_M
    count = round(SCATTERERS_PER_MM2 * 1e6 * 2 * half * (bottom - top))
    x, z = random.uniform(-half, half, count), random.uniform(top, bottom, count)
    strength = random.standard_normal(count)
    discs = {asked: np.hypot(x - at[0], z - at[1]) < DISC_M for asked, at in DISCS.items()}
    parts = [*discs.values(), ~np.logical_or.reduce(list(discs.values()))]
    grid_x, grid_z = np.meshgrid(np.linspace(-8.5e-3, 8.5e-3, 171), np.arange(11e-3, 21e-3, 40e-6))
    theirs = [twin.theirs(x[own], z[own], event.delays_s, split=True, strength=strength[own]) for own in parts]
    samples = max(rf.shape[1] for rf in theirs)
    theirs = [np.pad(rf, ((0, 0), (0, samples - rf.shape[1]))) for rf in theirs]
    shifted = simus.counted_from_zero(event, twin)
    ours = [twin.ours(shifted, x[own], z[own], samples, strength=strength[own]) for own in parts]
    weights = [10 ** (asked / 20) for asked in DISCS] + [1.0]
    _say(f"{count} scatterers, one plane wave: RF correlates by {simus.correlation(sum(ours), sum(theirs)):.4f}")
    for label, rf in (("sonod", ours), ("SIMUS", theirs)):
        with_discs, without = (
            simus.image(twin, event, sum(w * part for w, part in zip(own, rf, strict=True)), grid_x, grid_z, grid_z / 4)
            for own in (weights, [1.0] * len(rf))
        )
        for asked, at in DISCS.items():
            away = np.hypot(grid_x - at[0], grid_z - at[1]) / DISC_M
            inner, outer = away < 0.8, (away > 1.25) & (away < 1.5)
            power = [(size[inner] ** 2).mean() / (size[outer] ** 2).mean() for size in (with_discs, without)]
            _say(f"disc of {asked:+g} dB by {label}: {10 * math.log10(power[0] / power[1]):+.2f} dB")


PARTS = {"physics": show_physics, "beams": show_beams, "contrast": show_contrast}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        if part not in PARTS:
            sys.exit(f"{part}: there are {', '.join(PARTS)}")
        PARTS[part]()

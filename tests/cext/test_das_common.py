"""Delay and sum on the work by which beamformers are compared: how far from the ideal, and what a picture shows."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from cext_support.scenes import error_db, joined, pairs
from cext_support.works import arguments, grid
from numpy.typing import NDArray

from sonod.cext import reference
from sonod.cext.das import DelayAndSum
from sonod.daemon.bench.work import SOUND_SPEED_M_S, Work, common

# Of the 384 columns, so many apart.
COLUMN_STEP = 16
SCATTERERS, CYST, WIRES = 9000, (0.0, 20e-3, 2.5e-3), ((-3e-3, 15e-3), (3.5e-3, 25e-3))
# Points of time for one sample of the made traces.
OVERSAMPLING = 16


def run(work: Work, quality: str, data: NDArray[Any]) -> NDArray[Any]:
    operator = DelayAndSum(**arguments(work), samples=work.samples, quality=quality, **grid(work))
    return joined(operator.run(pairs(data).astype(np.float32)))


def wanted(work: Work, data: NDArray[Any], **more: Any) -> NDArray[Any]:
    return reference.delay_and_sum(
        data.astype(np.complex128),
        origins_m=work.origins_m,
        directions=work.directions,
        distances_m=work.first_m + np.arange(work.count) * work.spacing_m,
        **arguments(work),
        **more,
    )


@cache
def thinned(waves: int) -> Work:
    """The common work, every so many columns."""
    work = common(waves)
    return replace(work, origins_m=work.origins_m[::COLUMN_STEP], directions=work.directions[::COLUMN_STEP])


@pytest.mark.parametrize("waves", [1, 3])
def test_every_quality_is_as_near_to_the_ideal_as_promised(waves: int) -> None:
    work = thinned(waves)
    ideal = wanted(work, work.data, interpolate=reference.ideal_interpolation)
    linear = wanted(work, work.data)
    assert error_db(run(work, "exact", work.data), linear) < -80
    assert error_db(run(work, "default", work.data), ideal) < -45
    fast = error_db(run(work, "fast", work.data), ideal)
    assert fast < -37
    assert fast < error_db(linear, ideal)


@cache
def phantom() -> tuple[Work, NDArray[np.complex64]]:
    """Speckle with a cyst and two wires, seen by the array of the common work, one plane wave."""
    random = np.random.default_rng(4)
    places = random.uniform((-9e-3, 11e-3), (9e-3, 29e-3), (SCATTERERS, 2))
    strengths = random.normal(size=SCATTERERS)
    strengths[np.hypot(places[:, 0] - CYST[0], places[:, 1] - CYST[1]) < CYST[2]] = 0
    places, strengths = np.concatenate([places, WIRES]), np.append(strengths, [60.0, 60.0])
    columns = np.arange(-60, 61) * 0.1e-3
    full = common()
    work = replace(
        full,
        origins_m=np.stack([columns, 0 * columns, 0 * columns], axis=1),
        directions=np.tile([0.0, 0.0, 1.0], (len(columns), 1)),
        first_m=13e-3,
        count=190,
        samples=900,
    )
    rate = OVERSAMPLING * work.sampling_hz
    time = (np.arange(-400, 401) / rate) * work.center_hz
    pulse = np.exp(-((time * 0.5) ** 2) * 3.6)
    data = np.zeros((1, len(work.elements_m), work.samples), np.complex64)
    for element, x in enumerate(work.elements_m[:, 0]):
        delay = (places[:, 1] + np.hypot(places[:, 0] - x, places[:, 1])) / SOUND_SPEED_M_S
        carried = strengths * np.exp(-2j * np.pi * work.center_hz * delay)
        index = np.round(delay * rate).astype(int)
        length = work.samples * OVERSAMPLING
        train = np.bincount(index, carried.real, length) + 1j * np.bincount(index, carried.imag, length)
        spread = np.fft.ifft(np.fft.fft(train, 2 * length) * np.fft.fft(pulse, 2 * length))
        data[0, element] = spread[400 : 400 + length : OVERSAMPLING]
    return work, data


def width_m(envelope: NDArray[np.float64], work: Work, wire: tuple[float, float]) -> float:
    """-6 dB width across the columns through a wire's brightest point."""
    columns, depths = work.origins_m[:, 0], work.first_m + np.arange(work.count) * work.spacing_m
    near = (np.abs(columns - wire[0]) < 1e-3)[:, None] & (np.abs(depths - wire[1]) < 1e-3)
    place = np.unravel_index(np.argmax(np.where(near, envelope, 0)), envelope.shape)
    fine = np.linspace(columns[0], columns[-1], 20 * len(columns))
    profile = np.interp(fine, columns, envelope[:, place[1]] / envelope[place])
    peak = int(np.argmin(np.abs(fine - columns[place[0]])))
    left = peak - int(np.argmax(profile[peak::-1] < 0.5))
    right = peak + int(np.argmax(profile[peak:] < 0.5))
    return float(fine[right] - fine[left])


def contrasts(envelope: NDArray[np.float64], work: Work) -> tuple[float, float]:
    """CNR and gCNR (A. Rodriguez-Molares et al., IEEE TUFFC 67(4), 2020) of the cyst against speckle beside it."""
    columns, depths = work.origins_m[:, 0][:, None], work.first_m + np.arange(work.count) * work.spacing_m
    away = np.hypot(columns - CYST[0], depths - CYST[1])
    inside, outside = envelope[away < 0.8 * CYST[2]], envelope[(away > 1.2 * CYST[2]) & (away < 1.7 * CYST[2])]
    cnr = abs(inside.mean() - outside.mean()) / np.sqrt(inside.var() + outside.var())
    edges = np.linspace(0, envelope.max() / 4, 60)
    shares = [np.histogram(part, edges)[0] / len(part) for part in (inside, outside)]
    return float(cnr), float(1 - np.minimum(*shares).sum())


@pytest.mark.parametrize("quality", ["default", "fast"])
def test_pictures_measure_as_the_ideal_one_does(quality: str) -> None:
    work, data = phantom()
    ideal = np.abs(wanted(work, data, interpolate=reference.ideal_interpolation))
    own = np.abs(run(work, quality, data)).astype(np.float64)
    for wire in WIRES:
        assert width_m(own, work, wire) == pytest.approx(width_m(ideal, work, wire), rel=0.01)
    for mine, ideally in zip(contrasts(own, work), contrasts(ideal, work), strict=True):
        assert ideally > 0.5
        assert mine == pytest.approx(ideally, rel=0.01)

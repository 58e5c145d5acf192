"""Looks that are added as signals or after detection, and the setting that chooses the beamformer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sonod.daemon.pipeline.beams import MOST_LOOKS, Beams
from sonod.daemon.pipeline.plan import ImageOptions, build_plan
from sonod.daemon.process import starting_settings
from sonod.drivers import open_uri
from sonod.drivers.frame import Slot
from sonod.drivers.settings import KNOBS


class Mean:
    """A beamformer of one point: the mean over transmissions and channels."""

    def run(self, data: NDArray[np.float32], out: NDArray[np.float32]) -> NDArray[np.float32]:
        out[:] = data.mean(axis=(0, 1, 2))
        return out


def beams(transmits: int, *, incoherent: bool, coherence: bool = False) -> tuple[Beams, list[slice]]:
    parts: list[slice] = []

    def build(part: slice) -> Mean:
        parts.append(part)
        return Mean()

    return Beams(transmits, (1, 1), build, incoherent=incoherent, coherence=coherence), parts


def test_opposite_looks_cancel_as_signals_and_not_after_detection() -> None:
    iq = np.ones((2, 3, 4, 2), np.float32)
    iq[1] = -1
    for incoherent, wanted in ((False, 0.0), (True, np.sqrt(2))):
        own, _ = beams(2, incoherent=incoherent)
        own.run(iq)
        own.detect()
        assert own.beamformed.tolist() == [[[0.0, 0.0]]]
        assert own.magnitude[0, 0] == pytest.approx(wanted)
        assert own.shows_baseband is not incoherent


def test_many_transmissions_make_a_bounded_number_of_looks() -> None:
    _, parts = beams(75, incoherent=True)
    assert len(parts) == MOST_LOOKS
    assert [index for part in parts for index in range(75)[part]] == list(range(75))


def test_a_coherence_below_zero_is_dark() -> None:
    own, _ = beams(1, incoherent=False, coherence=True)
    for value, wanted in ((-0.5, 0.0), (0.25, 0.25)):
        own.run(np.full((1, 1, 1, 2), value, np.float32))
        own.detect()
        assert own.magnitude[0, 0] == wanted
        assert not own.shows_baseband


def test_every_beamformer_makes_its_own_picture_whatever_else_is_wanted() -> None:
    driver = open_uri("sim:wires")
    driver.open()
    try:
        pictures: dict[str, bytes] = {}
        slot = None
        for changes in [{"beamformer": name} for name in KNOBS["beamformer"].choices] + [{"compounding": "incoherent"}]:
            told: dict[str, Any] = {"depth_m": 0.02, **changes}
            settings, knobs = starting_settings(driver, told)
            assert {"beamformer", "compounding"} <= set(knobs)
            configuration = driver.prepare(settings)
            if slot is None:
                driver.apply(configuration)
                driver.start()
                slot = Slot(configuration.acquisition.nbytes)
                driver.read_into(slot, 10.0)
            options = ImageOptions(columns=40, rows=60)
            alone = build_plan(configuration, options).run(slot, frozenset({"bmode"}))[0].data.copy()
            everything = build_plan(configuration, options).run(slot, frozenset({"bmode", "lines", "envelope", "iq"}))
            assert alone.shape == (60, 40)
            assert alone.max() > 100
            np.testing.assert_array_equal(next(one.data for one in everything if one.name == "bmode"), alone)
            pictures[str(changes)] = alone.tobytes()
        assert len(set(pictures.values())) == len(pictures)
    finally:
        driver.close()

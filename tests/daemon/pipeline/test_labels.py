"""The masks of tissues: in the pixels of the picture, where the scene has them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from simulated_physics import steered

from sonod.daemon.pipeline.labels import label_names
from sonod.daemon.pipeline.options import ImageOptions
from sonod.daemon.pipeline.plan import build_plan
from sonod.drivers import open_uri
from sonod.drivers.frame import GroundTruth, Slot
from sonod.drivers.settings import change_settings, default_settings

DISCS = {"minus6": (-7e-3, 13e-3), "minus3": (7e-3, 13e-3), "fluid": (0.0, 20e-3), "plus3": (-7e-3, 27e-3)}


class Shown:
    """One frame of a scene: picture and mask (rows, columns), and where the pixels are."""

    def __init__(self, uri: str, **changes: object) -> None:
        driver = open_uri(uri)
        driver.open()
        settings = change_settings(default_settings(driver.knobs()), changes, driver.knobs())
        configuration = driver.prepare(settings)
        driver.apply(configuration)
        driver.start()
        slot = Slot(configuration.acquisition.nbytes)
        driver.read_into(slot, 10.0)
        products = build_plan(configuration, ImageOptions()).run(slot, frozenset({"bmode", "labels"}))
        found = {product.name: product for product in products}
        self.picture, self.mask = found["bmode"].data.astype(float), found["labels"].data.copy()
        assert found["labels"].geometry == found["bmode"].geometry
        assert slot.truth is not None
        assert slot.truth.tissues is not None
        self.truth: GroundTruth = slot.truth
        self.names = label_names(slot.truth.tissues)
        own = found["labels"].geometry
        first, spacing = own.first_pixel_m, own.spacing_m
        rows, columns = self.mask.shape
        self.x, self.z = np.meshgrid(
            first[0] + spacing[0] * np.arange(columns), first[2] + spacing[1] * np.arange(rows)
        )
        self.area = spacing[0] * spacing[1]
        driver.close()

    def of(self, name: str) -> NDArray[np.bool_]:
        return np.asarray(self.mask == self.names.index(name))


@pytest.mark.parametrize("moved_m", [0.0, 2e-3])
def test_discs_are_where_and_as_large_as_they_are(moved_m: float) -> None:
    shown = Shown("sim:contrast?paced=0", **{"scene.probe_x_m": moved_m})
    assert shown.mask.shape == shown.picture.shape
    assert shown.mask.dtype == np.uint8
    for name, (x, z) in DISCS.items():
        own = shown.of(name)
        assert own.sum() * shown.area == pytest.approx(math.pi * 3e-3**2, rel=0.05)
        assert shown.x[own].mean() == pytest.approx(x - moved_m, abs=0.1e-3)
        assert shown.z[own].mean() == pytest.approx(z, abs=0.1e-3)
    assert shown.picture[shown.of("fluid")].mean() < shown.picture[shown.of("tissue")].mean() - 40


def test_nothing_lies_outside_the_sector() -> None:
    shown = Shown("sim:hip?paced=0", **{"scene.quality": 0.2, "scene.needle": "none"})
    above = shown.mask[shown.z < -1e-3]
    assert (shown.mask[0, [0, -1]] == 0).all()
    outside = np.hypot(shown.x, shown.z + 60e-3) < 59.5e-3
    assert above.size
    assert (shown.mask[outside] == 0).all()
    assert {shown.names[value] for value in np.unique(shown.mask)} >= {"outside", "skin", "fat", "muscle", "bone"}
    bone = shown.of("bone")
    assert np.hypot(15e-3 - shown.x[bone], 60e-3 - shown.z[bone]).min() < 1e-3


def test_needle_and_fluid_lie_over_the_tissues() -> None:
    tip = (-5e-3, 0.0, 9e-3)
    shown = Shown("sim:carpal-tunnel?paced=0", **steered(tip, 25), **{"scene.injectate": 1.0, "scene.quality": 0.2})
    needle, fluid = shown.of("needle"), shown.of("injectate")
    # Along its shaft a needle of 0.5 mm covers so much: from its tip to the edge of the picture.
    length = (shown.x.max() - shown.x.min()) / 2 + tip[0]
    assert needle.sum() * shown.area == pytest.approx(0.5e-3 * length / math.cos(math.radians(25)), rel=0.15)
    nearest = np.hypot(shown.x - tip[0], shown.z - tip[2])[needle].min()
    assert nearest < 0.1e-3
    assert shown.x[needle].max() < tip[0] + 0.3e-3
    assert fluid.sum() * shown.area > 0.7 * math.pi * 2.6e-3 * 0.8e-3
    without = Shown("sim:carpal-tunnel?paced=0", **{"scene.needle": "none", "scene.quality": 0.2})
    assert not without.of("needle").any()
    assert not without.of("injectate").any()
    # Elsewhere the mask is the same.
    assert (shown.mask == without.mask)[~(needle | fluid)].all()


def test_a_needle_beside_the_plane_is_in_no_pixel() -> None:
    shown = Shown("sim:needle?paced=0", **steered((2e-3, 3e-3, 15e-3), 20))
    assert not shown.of("needle").any()
    across = Shown("sim:needle?paced=0", **steered((2e-3, 0.2e-3, 15e-3), 30, through=True))
    size = across.of("needle").sum() * across.area
    assert 0.3 * 0.8e-3**2 < size < 4 * 0.8e-3**2


def test_frames_without_truth_have_no_mask() -> None:
    driver = open_uri("bulk:?emulated=1&scene=wires")
    driver.open()
    configuration = driver.prepare(default_settings(driver.knobs()))
    driver.apply(configuration)
    driver.start()
    slot = Slot(configuration.acquisition.nbytes)
    driver.read_into(slot, 10.0)
    products = build_plan(configuration, ImageOptions()).run(slot, frozenset({"bmode", "labels"}))
    driver.close()
    assert [product.name for product in products] == ["bmode"]

"""What the beamformed image of points must show, from theory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cext_support import scenes
from cext_support.scenes import SPEED, Scene, flat, joined
from numpy.typing import NDArray

from sonod.cext.das import DelayAndSum

FS, F0 = 25e6, 5e6
WAVELENGTH = SPEED / F0
PITCH = 0.3e-3
QUALITIES = ["exact", "default", "fast"]


def image(
    scene: Scene,
    target: NDArray[np.float64],
    quality: str,
    *,
    angles: tuple[float, ...] = (0.0,),
    speed: float = SPEED,
    bandwidth: float = 0.6,
    **changes: Any,
) -> NDArray[np.float64]:
    """Magnitude (lines, points) of one point target, plane waves."""
    samples = 2000
    waves = scenes.plane_times(target[None], list(angles))
    rf = scenes.echoes(scene, target[None], waves, sampling_hz=FS, samples=samples, center_hz=F0, bandwidth=bandwidth)
    data = scenes.to_baseband(rf, FS, F0)
    common: dict[str, Any] = {
        "receive_elements": np.tile(np.arange(len(scene.elements), dtype=np.int32), (len(angles), 1)),
        "transmit_time_s": scenes.plane_times(scene.points, list(angles), speed),
        "sampling_hz": FS,
        "t0_s": np.zeros(len(angles)),
        "samples": samples,
        "demodulation_hz": F0,
        "sound_speed_m_s": speed,
        "f_number": 1.5,
        "quality": quality,
    }
    return np.abs(joined(DelayAndSum(**scene.lines(), **scene.array(), **(common | changes)).run(data)))


def patch(
    target: NDArray[np.float64], *, elements: int = 128, width: float = 2e-3, step: float = 0.05e-3, count: int = 81
) -> Scene:
    """A linear array and straight lines round a target."""
    positions, normals = flat(scenes.centred(elements, PITCH))
    lines = round(2 * width / step) + 1
    origins = np.zeros((lines, 3))
    origins[:, 0] = target[0] + (np.arange(lines) - (lines - 1) / 2) * step
    directions = np.tile([0.0, 0.0, 1.0], (lines, 1))
    return Scene(positions, normals, origins, directions, target[2] - (count - 1) / 2 * 25e-6, 25e-6, count)


def peak(magnitude: NDArray[np.float64]) -> tuple[float, float]:
    """Fractional (line, point) of the response: half way between its -6 dB edges through the maximum."""
    line, point = np.unravel_index(magnitude.argmax(), magnitude.shape)
    return middle(magnitude[:, point]), middle(magnitude[line])


def half_level(values: NDArray[np.float64]) -> tuple[float, float]:
    """Fractional places of the -6 dB edges round the maximum."""
    level, top = values.max() / 2, int(values.argmax())
    first = top - int((values[top::-1] < level).argmax()) + 1
    last = top + int((values[top:] < level).argmax()) - 1
    left = first - (values[first] - level) / (values[first] - values[first - 1])
    return float(left), float(last + (values[last] - level) / (values[last] - values[last + 1]))


def middle(values: NDArray[np.float64]) -> float:
    return sum(half_level(values)) / 2


def width_at_half(values: NDArray[np.float64], step: float) -> float:
    """Full width at -6 dB round the maximum."""
    left, right = half_level(values)
    return (right - left) * step


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("x", [-14e-3, -3.3e-3, 0.0, 9e-3])
@pytest.mark.parametrize("z", [4e-3, 12e-3, 27.3e-3, 44e-3])
def test_a_point_appears_where_it_is(x: float, z: float, quality: str) -> None:
    target = np.array([x, 0.0, z])
    scene = patch(target)
    line, point = peak(image(scene, target, quality))
    assert scene.origins[0, 0] + line * 0.05e-3 == pytest.approx(x, abs=0.1 * WAVELENGTH)
    assert scene.first + point * scene.spacing == pytest.approx(z, abs=0.1 * WAVELENGTH)


@pytest.mark.parametrize("name", ["curvilinear", "phased"])
@pytest.mark.parametrize("depth", [6e-3, 15e-3, 30e-3])
@pytest.mark.parametrize("angle", [-0.35, 0.0, 0.28])
def test_a_point_in_a_sector_appears_where_it_is(name: str, depth: float, angle: float) -> None:
    if name == "curvilinear":
        radius = 30e-3
        scene = scenes.curvilinear(96, 0.4e-3, radius, 181)
    else:
        radius = 0.0
        scene = scenes.phased(64, 0.15e-3, 181)
    angles = np.linspace(-0.45, 0.45, 181)
    scene = Scene(scene.elements, scene.normals, scene.origins, scenes.fan(angles), radius + depth - 1e-3, 25e-6, 81)
    target = (radius + depth) * scenes.fan(np.array([angle]))[0] - [0, 0, radius]
    line, point = peak(image(scene, target, "default", f_number=1.0))
    across = (np.interp(line, np.arange(181), angles) - angle) * (radius + depth)
    assert across == pytest.approx(0, abs=0.1 * WAVELENGTH)
    assert scene.first + point * scene.spacing == pytest.approx(radius + depth, abs=0.1 * WAVELENGTH)


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("f_number", [1.5, 2.5])
def test_lateral_width_follows_wavelength_and_f_number(f_number: float, quality: str) -> None:
    target = np.array([0.0, 0.0, 25e-3])
    scene = patch(target)
    # Narrow band, so that the width of the continuous wave holds: 1.21 wavelengths times the f-number.
    profile = image(scene, target, quality, f_number=f_number, bandwidth=0.2).max(axis=1)
    assert width_at_half(profile, 0.05e-3) == pytest.approx(1.21 * WAVELENGTH * f_number, rel=0.06)


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("bandwidth", [0.4, 0.7])
def test_axial_width_follows_bandwidth(bandwidth: float, quality: str) -> None:
    target = np.array([0.0, 0.0, 20e-3])
    scene = patch(target, width=0.5e-3)
    magnitude = image(scene, target, quality, bandwidth=bandwidth, f_number=3.0)
    # A Gaussian spectrum of -6 dB width B has an envelope of -6 dB width 4 ln 2 / (pi B) in time; sound goes twice.
    expected = 4 * np.log(2) / (np.pi * bandwidth * F0) * SPEED / 2
    assert width_at_half(magnitude[len(magnitude) // 2], scene.spacing) == pytest.approx(expected, rel=0.06)


def test_grating_lobe_lies_where_theory_puts_it() -> None:
    # A pitch of 1.5 wavelengths: received at sin(theta) = wavelength / pitch = 42 degrees off the target.
    pitch = 1.5 * WAVELENGTH
    positions, normals = flat(scenes.centred(32, pitch))
    angles = np.radians(np.linspace(-60, 60, 241))
    radius = 60e-3
    target = np.array([0.0, 0.0, radius])
    scene = Scene(positions, normals, np.zeros((241, 3)), scenes.fan(angles), radius, 1e-3, 1)
    waves = np.broadcast_to(radius / SPEED, (1, 241, 1))
    magnitude = image(scene, target, "exact", f_number=0.0, bandwidth=0.05, transmit_time_s=waves)[:, 0]
    side = np.degrees(angles) > 20
    found = np.degrees(angles)[side][magnitude[side].argmax()]
    assert found == pytest.approx(np.degrees(np.arcsin(WAVELENGTH / pitch)), abs=1.5)
    between = (np.degrees(angles) > 10) & (np.degrees(angles) < 30)
    assert magnitude[side].max() > 3 * magnitude[between].max()


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("speed", [1500.0, 1580.0])
def test_wrong_sound_speed_shifts_depth(speed: float, quality: str) -> None:
    target = np.array([0.0, 0.0, 20e-3])
    scene = patch(np.array([0.0, 0.0, 20e-3 * speed / SPEED]))
    _, point = peak(image(scene, target, quality, speed=speed, f_number=4.0))
    assert scene.first + point * scene.spacing == pytest.approx(20e-3 * speed / SPEED, abs=0.2 * WAVELENGTH)


def test_compounding_sharpens_the_lateral_response() -> None:
    target = np.array([0.0, 0.0, 25e-3])
    scene = patch(target)
    angles = tuple(np.radians(np.linspace(-10, 10, 9)))
    one = width_at_half(image(scene, target, "default").max(axis=1), 0.05e-3)
    many = width_at_half(image(scene, target, "default", angles=angles).max(axis=1), 0.05e-3)
    assert many < 0.93 * one


def test_synthetic_aperture_agrees_with_theory_of_two_way_focus() -> None:
    positions, normals = flat(scenes.centred(64, PITCH))
    target = np.array([1e-3, 0.0, 15e-3])
    scene = patch(target, elements=64)
    waves = scenes.spherical_times(target[None], positions)
    rf = scenes.echoes(scene, target[None], waves, sampling_hz=FS, samples=1200, center_hz=F0)
    data = scenes.to_baseband(rf, FS, F0)
    operator = DelayAndSum(
        **scene.lines(),
        element_positions_m=positions,
        element_normals=normals,
        receive_elements=np.tile(np.arange(64, dtype=np.int32), (64, 1)),
        transmit_time_s=scenes.spherical_times(scene.points, positions),
        sampling_hz=FS,
        t0_s=np.zeros(64),
        samples=1200,
        demodulation_hz=F0,
        sound_speed_m_s=SPEED,
        f_number=1.5,
    )
    magnitude = np.abs(joined(operator.run(data)))
    line, point = peak(magnitude)
    assert scene.origins[0, 0] + line * 0.05e-3 == pytest.approx(1e-3, abs=0.1 * WAVELENGTH)
    assert scene.first + point * scene.spacing == pytest.approx(15e-3, abs=0.1 * WAVELENGTH)


def test_a_moved_single_element_focuses() -> None:
    positions, normals = flat(scenes.centred(60, 0.5e-3))
    target = np.array([2e-3, 0.0, 20e-3])
    scene = patch(target)
    scene = Scene(positions, normals, scene.origins, scene.directions, scene.first, scene.spacing, scene.count)
    waves = scenes.spherical_times(target[None], positions)
    rf = scenes.echoes(scene, target[None], waves, sampling_hz=FS, samples=1400, center_hz=F0)
    own = rf[np.arange(60), np.arange(60)][:, None]
    operator = DelayAndSum(
        **scene.lines(),
        element_positions_m=positions,
        element_normals=normals,
        receive_elements=np.arange(60, dtype=np.int32)[:, None],
        transmit_time_s=scenes.spherical_times(scene.points, positions),
        sampling_hz=FS,
        t0_s=np.zeros(60),
        samples=1400,
        demodulation_hz=F0,
        sound_speed_m_s=SPEED,
        f_number=1.0,
    )
    magnitude = np.abs(joined(operator.run(scenes.to_baseband(own, FS, F0))))
    line, point = peak(magnitude)
    assert scene.origins[0, 0] + line * 0.05e-3 == pytest.approx(2e-3, abs=0.1 * WAVELENGTH)
    assert scene.first + point * scene.spacing == pytest.approx(20e-3, abs=0.1 * WAVELENGTH)

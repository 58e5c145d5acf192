"""What is measured on the simulated probe: speckle, contrast, attenuation, resolution, needles. Before any logarithm.

`python docs/make_simulator.py` prints the same figures with more seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sonod.daemon.pipeline.options import ImageOptions
from sonod.daemon.pipeline.plan import build_plan
from sonod.drivers import open_uri
from sonod.drivers.frame import Acquisition, GroundTruth, Slot
from sonod.drivers.settings import change_settings, default_settings

FloatArray = NDArray[np.float64]
# Lines and samples over which the level of speckle is followed: hundreds of resolution cells.
SMOOTH = (20, 30)
# Discs of the contrast phantom: centre, and what was asked for.
DISC_RADIUS_M = 3e-3
DISCS = {-6.0: (-7e-3, 13e-3), -3.0: (7e-3, 13e-3), 3.0: (-7e-3, 27e-3), 6.0: (7e-3, 27e-3)}


@dataclass(frozen=True)
class Picture:
    """Beamformed magnitude (lines, samples) at (x, z) of the same shape, and where it comes from."""

    size: FloatArray
    x_m: FloatArray
    z_m: FloatArray
    raw: NDArray[np.int16]
    acquisition: Acquisition
    truth: GroundTruth | None

    def level_db(self, inside: NDArray[np.bool_]) -> float:
        return 10 * math.log10(float((self.size[inside] ** 2).mean()))


def picture(uri: str, options: ImageOptions | None = None, **changes: object) -> Picture:
    """One frame of a simulated scene through the usual pipeline, up to the envelope of its lines."""
    driver = open_uri(uri)
    driver.open()
    settings = change_settings(default_settings(driver.knobs()), changes, driver.knobs())
    configuration = driver.prepare(settings)
    driver.apply(configuration)
    driver.start()
    slot = Slot(configuration.acquisition.nbytes)
    driver.read_into(slot, 10.0)
    plan = build_plan(configuration, options or ImageOptions())
    (lines,) = plan.run(slot, frozenset({"lines"}))
    own = lines.geometry
    along = own.first_m + own.spacing_m * np.arange(own.shape[1])
    origins, directions = np.array(own.origins_m), np.array(own.directions)
    shown = Picture(
        lines.data.astype(np.float64),
        origins[:, :1] + directions[:, :1] * along,
        origins[:, 2:] + directions[:, 2:] * along,
        slot.data.copy(),
        configuration.acquisition,
        slot.truth,
    )
    driver.close()
    return shown


def even_scene(folder: Path, probe: str, depth_m: float, *extra: str) -> str:
    """A scene of even tissue and whatever else, as a URI without noise."""
    path = folder / f"even-{probe}-{abs(hash(extra))}.toml"
    head = f"[scene]\ntitle = 'even'\nprobe = '{probe}'\ntissue = 'tissue'\ndepth_m = {depth_m}\n"
    path.write_text(head + "[tissues.tissue]\necho_db = 0\n" + "\n".join(extra))
    return f"sim:{path}?noise_db=-200&paced=0"


def even_speckle(shown: Picture) -> FloatArray:
    """The middle of a picture of even tissue, divided by its level there."""
    lines, samples = shown.size.shape
    middle = shown.size[lines // 5 : -(lines // 5), samples // 5 : int(samples * 0.9)]
    level = np.sqrt(gaussian_filter(middle**2, SMOOTH))
    return np.asarray((middle / level)[SMOOTH[0] : -SMOOTH[0], SMOOTH[1] : -SMOOTH[1]])


def speckle_ratio(pictures: Iterable[Picture]) -> float:
    """Mean over standard deviation of the envelope."""
    values = np.concatenate([even_speckle(shown).ravel() for shown in pictures])
    return float(values.mean() / values.std())


def disc_contrasts_db(folder: Path, seeds: Iterable[int], **changes: object) -> dict[float, float]:
    """Mean power in each disc of the contrast phantom against the tissue around it, by what was asked.

    Both are taken relative to the same places of the phantom without its discs: beams are weaker towards the edges of
    the array, which is no contrast.
    """
    plain = even_scene(folder, "linear", 0.04).partition("?")[0]
    power: dict[float, list[tuple[float, ...]]] = {asked: [] for asked in DISCS}
    for seed in seeds:
        shown = picture(f"sim:contrast?seed={seed}&noise_db=-200&paced=0", **changes)
        without = picture(f"{plain}?seed={seed}&noise_db=-200&paced=0", **changes)
        for asked, (x, z) in DISCS.items():
            away = np.hypot(shown.x_m - x, shown.z_m - z) / DISC_RADIUS_M
            inner, outer = away < 0.8, (away > 1.25) & (away < 1.8)
            power[asked].append(
                tuple(float((own.size[place] ** 2).mean()) for own in (shown, without) for place in (inner, outer))
            )
    sums = {asked: np.sum(found, axis=0) for asked, found in power.items()}
    return {
        asked: float(10 * np.log10(sums[asked][0] / sums[asked][1] * sums[asked][3] / sums[asked][2]))
        for asked in DISCS
    }


def attenuation_db_cm_mhz(uri: str, near_m: float, far_m: float, seeds: Iterable[int]) -> float:
    """By the spectral difference of the channels' RF at two depths (R. Kuc, IEEE Trans. Acoust. Speech Signal Process.
    28(3), 1980): the logarithm of their ratio falls with frequency as the loss on the way between."""
    samples = 384
    window = np.hanning(samples)
    spectra = np.zeros((2, samples // 2 + 1))
    for seed in seeds:
        shown = picture(f"{uri}&seed={seed}")
        own = shown.acquisition
        for spectrum, depth in zip(spectra, (near_m, far_m), strict=True):
            first = round((2 * depth / own.sound_speed_m_s + own.pulse_delay_s) * own.sampling_hz) - samples // 2
            part = shown.raw[..., first : first + samples] * window
            spectrum += (np.abs(np.fft.rfft(part, axis=-1)) ** 2).mean(axis=(0, 1))
    frequency = np.fft.rfftfreq(samples, 1 / own.sampling_hz)
    strong = spectra[1] > spectra[1].max() / 10
    slope = float(np.polyfit(frequency[strong], 10 * np.log10(spectra[0] / spectra[1])[strong], 1)[0])
    return slope * 1e6 / (2 * (far_m - near_m) * 100)


def point_size_m(uri: str, x_m: float, z_m: float, f_number: float, **changes: object) -> tuple[float, float]:
    """-6 dB width and depth of a wire in water, by a plain sum over an aperture of this f-number and one plane wave."""
    shown = picture(uri, angle_count=1, **changes)
    own = shown.acquisition
    wavelength = own.sound_speed_m_s / own.pulse_frequency_hz
    step = wavelength / 24
    across, down = x_m + step * np.arange(-96, 97), z_m + step * np.arange(-60, 61)
    grid_x, grid_z = np.meshgrid(across, down)
    size = summed(shown, grid_x, grid_z, np.abs(own.probe.element_positions_m[:, 0] - x_m) <= z_m / f_number / 2)
    row, column = np.unravel_index(size.argmax(), size.shape)
    return half_width(size[row]) * step, half_width(size[:, column]) * step


def summed(shown: Picture, x_m: FloatArray, z_m: FloatArray, listening: NDArray[np.bool_]) -> FloatArray:
    """Magnitude of the delayed sum of analytic traces, unweighted, at (x, z); plane waves."""
    return np.asarray(np.abs(summed_each(shown, x_m, z_m, listening).sum(axis=0)))


def summed_each(
    shown: Picture, x_m: FloatArray, z_m: FloatArray, listening: NDArray[np.bool_]
) -> NDArray[np.complex128]:
    """The same before the magnitude, one for each transmission: (transmissions, ...)."""
    own = shown.acquisition
    fine = 8
    total = np.zeros((len(shown.raw), *x_m.shape), complex)
    for sum_of_one, event, traces in zip(total, own.sequence.events, shown.raw, strict=True):
        spectrum = np.fft.fft(traces[listening], axis=1)
        count = spectrum.shape[1]
        padded = np.zeros((len(spectrum), fine * count), complex)
        padded[:, : count // 2] = 2 * fine * spectrum[:, : count // 2]
        analytic = np.fft.ifft(padded, axis=1)
        sent = (x_m * math.sin(event.angle_rad) + z_m * math.cos(event.angle_rad)) / own.sound_speed_m_s - event.t0_s
        for element, trace in zip(own.probe.element_positions_m[listening], analytic, strict=True):
            time = sent + np.hypot(x_m - element[0], z_m - element[2]) / own.sound_speed_m_s + own.pulse_delay_s
            sum_of_one += trace[np.clip(np.rint(time * own.sampling_hz * fine).astype(int), 0, len(trace) - 1)]
    return total


def half_width(profile: FloatArray) -> float:
    """Full width at half of the highest value, in steps."""
    fine = np.interp(np.linspace(0, len(profile) - 1, 20 * len(profile)), np.arange(len(profile)), profile)
    return float((fine > fine.max() / 2).sum()) / 20


def steered(tip_m: tuple[float, float, float], degrees: float, *, through: bool = False) -> dict[str, object]:
    """Settings that put a needle's tip there, pointing down to the right, or through the plane."""
    return {
        "scene.needle": "steered",
        "scene.needle_x_m": tip_m[0],
        "scene.needle_y_m": tip_m[1],
        "scene.needle_z_m": tip_m[2],
        "scene.needle_angle_rad": math.radians(degrees),
        "scene.needle_yaw_rad": math.pi / 2 if through else 0.0,
    }


def brightest_m(shown: Picture, x_m: float, z_m: float, reach_m: float) -> tuple[float, float]:
    """Where the picture is brightest within `reach_m` of a place."""
    near = np.hypot(shown.x_m - x_m, shown.z_m - z_m) <= reach_m
    at = np.unravel_index(np.where(near, shown.size, 0.0).argmax(), shown.size.shape)
    return float(shown.x_m[at]), float(shown.z_m[at])


def shaft_over_tissue_db(uri: str, tip_m: tuple[float, float], degrees: float) -> float:
    """Median level along 8 mm of a needle's shaft against that of the same places without it."""
    angle = math.radians(degrees)
    shown = picture(uri, **steered((tip_m[0], 0.0, tip_m[1]), degrees))
    without = picture(uri, **{"scene.needle": "none"})
    x, z = shown.x_m - tip_m[0], shown.z_m - tip_m[1]
    up, off = -x * math.cos(angle) - z * math.sin(angle), x * math.sin(angle) - z * math.cos(angle)
    on = (up > 2e-3) & (up < 10e-3) & (np.abs(off) < 0.12e-3)
    return 20 * math.log10(float(np.median(shown.size[on]) / np.median(without.size[on])))


def flow_m_s(uri: str, places_m: FloatArray, seeds: Iterable[int]) -> FloatArray:
    """Speed away from the face at `places_m (groups, n, 2)`, (groups,): the turn of the phase between two equal plane
    waves, one right after the other (C. Kasai et al., IEEE Trans. Sonics Ultrason. 32(3), 1985)."""
    turned = np.zeros(len(places_m), complex)
    for seed in seeds:
        shown = picture(f"{uri}&seed={seed}", angle_count=2, angle_span_rad=0.0)
        own = shown.acquisition
        near = np.abs(own.probe.element_positions_m[:, 0]) < 4e-3
        first, second = summed_each(shown, places_m[..., 0], places_m[..., 1], near)
        turned += (second * first.conj()).sum(axis=1)
    shot_s = own.shape[2] / own.sampling_hz
    turn = -np.angle(turned)
    return np.asarray(turn * own.sound_speed_m_s / (4 * np.pi * own.pulse_frequency_hz * shot_s))

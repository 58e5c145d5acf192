"""The simulated probe: what it shows is where it should be, settings act, and time is kept."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from simulation import PROBES, Running, brightest, focused_sum

from sonod.drivers import open_uri
from sonod.drivers.errors import DeviceNotFound, DriverError, DriverTimeout, SettingsRefused
from sonod.drivers.sequence import TransmitKind
from sonod.drivers.settings import default_settings
from sonod.drivers.simulated.driver import SimulatedDriver
from sonod.drivers.simulated.scene_file import load_scene

# -- what is shown ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sequence", ["plane", "diverging", "focused", "synthetic"])
@pytest.mark.parametrize("probe", PROBES)
def test_wires_are_where_they_are(probe: str, sequence: str) -> None:
    running = Running(f"sim:wires?probe={probe}&sequence={sequence}&noise_db=-200", angle_count=5)
    data, acquisition = running.read(), running.acquisition
    wavelength = 1540 / acquisition.pulse_frequency_hz
    usual = running.driver.knobs()["depth_m"].default
    assert isinstance(usual, float)
    scale = usual / load_scene("wires").scene.depth_m
    places = [(scale * wire.at_m[0], scale * wire.at_m[1]) for wire in load_scene("wires").points]
    depths = sorted((x, z) for x, z in places if x == 0 and z < usual)
    for x, z in depths[1::3]:
        found = brightest(acquisition, data, x, z, 0.8 * wavelength)
        assert abs(found[1] - z) < 0.1 * wavelength, f"wire at {z * 1e3:.2f} mm appears at {found[1] * 1e3:.3f} mm"
        assert abs(found[0] - x) < 0.25 * wavelength


@pytest.mark.parametrize("probe", PROBES)
def test_the_true_tip_is_where_the_needle_ends(probe: str) -> None:
    running = Running(f"sim:needle?probe={probe}&noise_db=-200")
    withdrawn = running.read().astype(np.int32)
    assert running.slot.truth is not None
    for _ in range(round(4 * running.settings.frame_rate_hz)):
        running.clock.pass_time(1 / running.settings.frame_rate_hz)
        running.driver.read_into(running.slot, 1.0)
    truth = running.slot.truth
    assert truth is not None
    assert truth.needle is not None
    assert truth.scene_time_s == pytest.approx(4.0, abs=0.05)
    x, _, z = truth.needle.tip_m
    shaft = np.subtract(truth.needle.shaft_m, truth.needle.tip_m)
    assert np.hypot(shaft[0], shaft[2]) > 0.025
    assert shaft[2] < 0
    moved = (running.slot.data - withdrawn).astype(np.int16)
    wavelength = 1540 / running.acquisition.pulse_frequency_hz
    found = brightest(running.acquisition, moved, x, z, 2 * wavelength)
    assert math.dist(found, (x, z)) < wavelength


def test_tissue_is_mid_grey_and_cysts_are_dark() -> None:
    running = Running("sim:cyst")
    data, acquisition = running.read(), running.acquisition
    usual = 0.04
    grid = np.linspace(-1.2e-3, 1.2e-3, 9)
    x, z = np.meshgrid(grid, grid)
    scale = data.shape[0] * data.shape[1]
    cyst = focused_sum(acquisition, data, x, z + 0.5 * usual).mean() / scale
    tissue = focused_sum(acquisition, data, x + 8e-3, z + 0.5 * usual).mean() / scale
    assert tissue / cyst > 4
    # The plain sum here takes all elements; a tapered aperture keeps a little less.
    assert -40 < 20 * math.log10(2 * tissue / acquisition.reference_amplitude) < -20


@pytest.mark.parametrize("probe", PROBES)
def test_default_frames_use_the_converter_without_clipping(probe: str) -> None:
    data = Running(f"sim:?probe={probe}").read()
    assert 1500 < np.abs(data.astype(np.int32)).max() <= 8191
    assert (np.abs(data) == 8191).mean() < 1e-3


def test_attenuation_sinks_deep_echoes_into_the_noise() -> None:
    clear = Running("sim:cyst?attenuation=0&noise_db=-200").read()
    lossy = Running("sim:cyst?attenuation=2&noise_db=-200").read()
    deep = slice(2000, 2600)
    assert lossy[..., deep].std() < 0.3 * clear[..., deep].std()


@pytest.mark.parametrize("elements", [1, 2, 9])
@pytest.mark.parametrize("sequence", ["plane", "diverging", "focused", "synthetic"])
def test_a_small_probe_of_ones_own_is_simulated(elements: int, sequence: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        f"""[probe]
        name = "own"
        kind = "linear"
        elements = {elements}
        pitch_m = 0.5e-3
        band_hz = [2e6, 4e6]
        sampling_hz = 12e6
        [settings.depth_m]
        default = 0.02
        maximum = 0.03"""
    )
    running = Running(f"sim:cyst?probe={path}&sequence={sequence}")
    data = running.read()
    assert data.shape[1] == elements
    assert np.abs(data.astype(np.int32)).max() > 100
    knob = running.driver.knobs()["transmit_frequency_hz"]
    assert (knob.minimum, knob.maximum) == pytest.approx((2e6, 4e6))


# -- settings act -----------------------------------------------------------------------------------------------------


def centroid_hz(data: NDArray[np.int16], sampling_hz: float) -> float:
    spectrum = np.abs(np.fft.rfft(data.reshape(-1, data.shape[-1]).astype(float), axis=-1)).mean(axis=0)
    frequency = np.fft.rfftfreq(data.shape[-1], 1 / sampling_hz)
    return float((frequency * spectrum**2).sum() / (spectrum**2).sum())


def test_depth_changes_the_length_of_the_record_and_nothing_above() -> None:
    running = Running("sim:cyst?noise_db=-200", depth_m=0.03)
    shallow = running.read()
    running.change(depth_m=0.06)
    deep = running.read()
    assert deep.shape[2] > 1.8 * shallow.shape[2]
    same = slice(0, 1000)
    difference = deep[..., same].astype(float) - shallow[..., same]
    # The wave is followed on another grid: alike, not equal.
    assert np.linalg.norm(difference) < 0.05 * np.linalg.norm(shallow[..., same].astype(float))


def test_gain_and_output_level_scale_the_echoes() -> None:
    running = Running("sim:wires?noise_db=-200")
    usual = running.read().astype(float)
    running.change(gain_db=6.0)
    louder = running.read().astype(float)
    assert np.linalg.norm(louder) / np.linalg.norm(usual) == pytest.approx(10 ** (6 / 20), rel=0.02)
    running.change(gain_db=0.0, output_level=0.25)
    weaker = running.read().astype(float)
    assert np.linalg.norm(weaker) / np.linalg.norm(usual) == pytest.approx(0.5, rel=0.02)
    running.change(output_level=0.0)
    assert not running.read().any()


def test_the_time_gain_curve_acts_at_its_depth() -> None:
    running = Running("sim:cyst?noise_db=-200")
    flat = running.read().astype(float)
    running.change(tgc_db=[0, 0, 0, 0, 12, 12, 12, 12])
    lifted = running.read().astype(float)
    near, far = slice(0, 800), slice(1700, 2600)
    assert np.linalg.norm(lifted[..., near]) == pytest.approx(np.linalg.norm(flat[..., near]), rel=0.02)
    assert np.linalg.norm(lifted[..., far]) / np.linalg.norm(flat[..., far]) == pytest.approx(10 ** (12 / 20), rel=0.05)


def test_transmit_frequency_moves_the_spectrum_and_costs_strength_off_the_band() -> None:
    running = Running("sim:wires?noise_db=-200&attenuation=0")
    running.change(transmit_frequency_hz=10e6)
    center = running.read()
    running.change(transmit_frequency_hz=6e6)
    low = running.read()
    sampling = running.acquisition.sampling_hz
    assert centroid_hz(center, sampling) == pytest.approx(10e6, rel=0.05)
    assert centroid_hz(low, sampling) == pytest.approx(running.acquisition.pulse_frequency_hz, rel=0.08)
    assert 6e6 < running.acquisition.pulse_frequency_hz < 9e6
    # The unsteered wave's echo of the wire in the middle, on a channel right above it.
    there = slice(1017, 1077)
    ratio = np.abs(low[1, 64, there].astype(float)).max() / np.abs(center[1, 64, there].astype(float)).max()
    assert 0.4 < ratio < 0.75


def test_angles_are_those_of_the_settings() -> None:
    running = Running("sim:wires", angle_count=5, angle_span_rad=0.4)
    sequence = running.acquisition.sequence
    np.testing.assert_allclose(sequence.angles_rad, np.linspace(-0.2, 0.2, 5), atol=1e-12)
    x = running.driver.probe.element_positions_m[:, 0]
    np.testing.assert_allclose(sequence.delays_s[4], x * math.sin(0.2) / 1540, atol=1e-12)
    assert running.read().shape[0] == 5


def test_the_focus_is_at_its_depth() -> None:
    running = Running("sim:wires?sequence=focused", focus_depth_m=0.03, angle_count=3)
    for event in running.acquisition.sequence.events:
        assert event.kind is TransmitKind.FOCUSED
        assert event.origin_m[2] == pytest.approx(0.03)
        firing = np.isfinite(event.delays_s)
        distance = np.linalg.norm(running.driver.probe.element_positions_m - event.origin_m, axis=1)
        arrivals = event.delays_s[firing] + distance[firing] / 1540
        assert np.ptp(arrivals) < 1e-12


def test_synthetic_sequences_fire_one_element_each_and_hear_with_all() -> None:
    running = Running("sim:wires?sequence=synthetic&probe=phased", angle_count=4)
    delays = running.acquisition.sequence.delays_s
    assert np.isfinite(delays).sum(axis=1).tolist() == [1, 1, 1, 1]
    assert np.flatnonzero(np.isfinite(delays[0])) == [0]
    assert np.flatnonzero(np.isfinite(delays[3])) == [63]
    assert running.acquisition.shape[:2] == (4, 64)


def test_only_changed_acoustics_make_a_new_background() -> None:
    running = Running("sim:cyst")
    made = running.driver._backgrounds
    assert len(made) == 1
    steered = {"scene.needle": "steered", "scene.needle_x_m": 1e-3}
    running.change(gain_db=3.0, tgc_db=[1] * 8, output_level=0.4, frame_rate_hz=20, sound_speed_m_s=1500, **steered)
    assert len(made) == 1
    running.change(depth_m=0.035)
    assert len(made) == 1
    running.change(depth_m=0.05)
    assert len(made) == 2
    running.change(**{"scene.probe_x_m": 2e-3})
    assert len(made) == 3


def test_depths_within_a_step_are_the_same_echoes_cut_off() -> None:
    """However a depth was reached, its bytes are the same."""
    usual = Running("sim:needle?noise_db=-60", depth_m=0.04)
    usual.change(depth_m=0.033)
    fresh = Running("sim:needle?noise_db=-60", depth_m=0.033)
    usual_data, fresh_data = usual.read(), fresh.read()
    assert usual_data.shape == fresh_data.shape
    assert usual_data.tobytes() == fresh_data.tobytes()
    usual.change(depth_m=0.06)
    usual.change(depth_m=0.04)
    usual.change(depth_m=0.033)
    assert usual.acquisition.shape == fresh.acquisition.shape


def test_old_backgrounds_are_given_up() -> None:
    running = Running("sim:cyst", angle_count=24, **{"scene.quality": 0.1})
    for place in range(6):
        running.change(**{"scene.probe_x_m": 1e-3 * place})
    kept = running.driver._backgrounds
    assert 1 <= len(kept) < 6
    assert sum(own.echoes.nbytes for own in kept.values()) < 150e6


# -- the same bits ----------------------------------------------------------------------------------------------------


def test_same_seed_settings_and_index_give_the_same_bits() -> None:
    def three(uri: str) -> bytes:
        running = Running(uri)
        return b"".join(running.read().tobytes() for _ in range(3))

    uri = "sim:needle?probe=phased"
    assert three(uri) == three(uri)
    assert three(uri) != three(uri + "&seed=2")


def test_frames_differ_by_motion_and_noise() -> None:
    running = Running("sim:wires?probe=phased")
    first, second = running.read(), running.read()
    noise = second.astype(float) - first
    assert 0.1 < noise[..., -200:].std() < 100
    still = Running("sim:wires?probe=phased&noise_db=-200")
    assert np.abs(still.read().astype(np.int32) - still.read()).max() <= 1


# -- time -------------------------------------------------------------------------------------------------------------


def test_frames_keep_their_rate_without_drift() -> None:
    running = Running("sim:wires?probe=phased", frame_rate_hz=30)
    begun = running.clock.time_ns
    fired = []
    for _ in range(40):
        running.read()
        assert running.slot.truth is not None
        fired.append(running.slot.truth.transmit_ns)
        # Somebody else takes time between the frames.
        running.clock.pass_time(0.011)
    period = round(1e9 / 30)
    assert fired == [begun + index * period for index in range(40)]
    assert running.driver.counters.lost == 0
    assert running.slot.first_byte_ns > running.slot.transmit_ns
    assert running.slot.truth is not None
    assert running.slot.truth.scene_time_s == pytest.approx(39 / 30)


def test_frames_that_nobody_fetched_are_lost_and_counted() -> None:
    running = Running("sim:wires?probe=phased", frame_rate_hz=20)
    running.read()
    number = running.slot.number
    running.clock.pass_time(1.0)
    running.read()
    # A second is 20 frames; the probe held the last few.
    assert 10 < running.slot.lost < 20
    assert running.slot.number == number + 1 + running.slot.lost
    assert running.driver.counters.lost == running.slot.lost
    running.read()
    assert running.slot.lost == 0


def test_a_short_wait_is_a_timeout_and_costs_no_frame() -> None:
    running = Running("sim:wires?probe=phased", frame_rate_hz=10)
    running.read()
    number = running.slot.number
    with pytest.raises(DriverTimeout, match=r"no frame within 0\.01 s"):
        running.driver.read_into(running.slot, 0.01)
    running.read()
    assert running.slot.number == number + 1


def test_unpaced_frames_come_as_they_are_asked_for() -> None:
    running = Running("sim:wires?probe=phased&paced=0", frame_rate_hz=10)
    begun = running.clock.time_ns
    times = []
    for _ in range(5):
        running.read()
        running.clock.pass_time(2.0)
        assert running.slot.truth is not None
        times.append(running.slot.truth.scene_time_s)
    assert times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert running.driver.counters.lost == 0
    assert running.clock.time_ns == begun + 10_000_000_000


def test_a_new_frame_rate_acts_from_the_next_frame() -> None:
    running = Running("sim:wires?probe=phased", frame_rate_hz=10)
    running.read()
    running.change(frame_rate_hz=20)
    times = []
    for _ in range(3):
        running.read()
        assert running.slot.truth is not None
        times.append(running.slot.truth.transmit_ns)
    assert np.diff(times).tolist() == [50_000_000, 50_000_000]


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("sim:foot", "no scene 'foot'; there are carpal-tunnel, contrast, cyst, hip, knee, needle, vessel, wires"),
        ("sim:?colour=red", "unknown option colour; sim: takes probe, sequence, seed"),
        ("sim:?sequence=spiral", "sequence must be one of .*plane, diverging, focused, synthetic, got 'spiral'"),
        ("sim:?seed=one", "seed must be a whole number in 0..2147483647, got 'one'"),
        ("sim:?seed=-1", "seed must be a whole number"),
        ("sim:?paced=2", r"paced must be a whole number in 0\.\.1, got '2'"),
        ("sim:?noise_db=loud", "noise_db must be a number in -200..0, got 'loud'"),
        ("sim:?c=nan", "c must be a number in 300..8000, got 'nan'"),
        ("sim:?attenuation=9", "attenuation must be a number in 0..5, got '9'"),
        ("sim:?probe", "options must be key=value"),
    ],
)
def test_a_wrong_uri_is_refused_in_one_line(uri: str, says: str) -> None:
    with pytest.raises(DeviceNotFound, match=says) as caught:
        open_uri(uri)
    assert "\n" not in str(caught.value)


def test_an_unknown_probe_names_those_that_exist() -> None:
    """At once, before anything runs and is tried again."""
    with pytest.raises(DeviceNotFound, match="'endocavity': not known; there are curvilinear, linear, phased"):
        SimulatedDriver("sim:?probe=endocavity")
    with pytest.raises(DriverError):
        SimulatedDriver("sim:").knobs()


def test_settings_outside_the_probe_are_refused_together() -> None:
    driver = SimulatedDriver("sim:")
    driver.open()
    settings = default_settings(driver.knobs()).with_values({"depth_m": 0.25, "gain_db": 99.0}, 0)
    with pytest.raises(SettingsRefused) as caught:
        driver.prepare(settings)
    assert len(caught.value.problems) == 2
    driver.close()

"""A recording played as a live probe."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from fake_clock import FakeClock
from recordings import frames_of, plane_acquisition, write_recording

from sonod.drivers import open_uri
from sonod.drivers.errors import DeviceNotFound, DriverTimeout, EndOfRecording, RecordingError
from sonod.drivers.frame import DataKind, Slot
from sonod.drivers.recording import RecordingWriter
from sonod.drivers.replay.driver import ReplayDriver
from sonod.drivers.settings import AppliedBy, change_settings, default_settings
from sonod.drivers.simulated.driver import SimulatedDriver


def started(uri: str, clock: FakeClock | None = None) -> tuple[ReplayDriver, Slot]:
    driver = ReplayDriver(uri, clock or FakeClock())
    driver.open()
    configuration = driver.prepare(default_settings(driver.knobs()))
    driver.apply(configuration)
    driver.start()
    return driver, Slot(configuration.acquisition.nbytes)


def test_frames_come_in_order_and_begin_again(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.h5", frames=3)
    frames = frames_of(plane_acquisition(), 3)
    driver, slot = started(f"replay:{path}?rate=10")
    for index in (0, 1, 2, 0, 1):
        driver.read_into(slot, 1.0)
        assert (slot.data == frames[index]).all()
    assert slot.number == 5
    driver.close()


def test_once_ends_with_end_of_recording(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.h5", frames=3)
    driver, slot = started(f"replay:{path}?loop=0&start=1")
    driver.read_into(slot, 1.0)
    driver.read_into(slot, 1.0)
    assert (slot.data == frames_of(plane_acquisition(), 3)[2]).all()
    for _ in range(2):
        with pytest.raises(EndOfRecording, match="all 3 frames have been played"):
            driver.read_into(slot, 1.0)
    driver.close()


def test_frames_are_paced_and_none_is_lost_to_a_slow_reader(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.h5", frames=100)
    clock = FakeClock()
    driver, slot = started(f"replay:{path}?rate=20", clock)
    begun = clock.time_ns
    for index in range(5):
        driver.read_into(slot, 1.0)
        assert slot.transmit_ns == begun + index * 50_000_000
        assert slot.transmit_ns <= slot.first_byte_ns <= slot.last_byte_ns
    clock.pass_time(3.0)
    driver.read_into(slot, 1.0)
    assert (slot.data == frames_of(plane_acquisition(), 100)[5]).all()
    assert driver.counters.lost == 0
    for _ in range(4):
        driver.read_into(slot, 1.0)
    with pytest.raises(DriverTimeout):
        driver.read_into(slot, 0.0)
    driver.close()


def test_rate_zero_does_not_wait(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.h5", frames=3)
    clock = FakeClock()
    driver, slot = started(f"replay:{path}?rate=0", clock)
    assert "frame_rate_hz" not in driver.knobs()
    for _ in range(7):
        driver.read_into(slot, 0.0)
    assert clock.slept == []
    driver.close()


@pytest.mark.parametrize(
    ("attributes", "rate"),
    [
        ({}, 20.0),
        ({"frame_rate_hz": 12.5}, 12.5),
        ({"frame_period_s": 0.25}, 4.0),
        ({"pulse_repetition_frequency_hz": 16.0}, 8.0),
        ({"pulse_repetition_frequency_hz": 5000.0}, 30.0),
    ],
)
def test_the_rate_is_that_of_the_recording(attributes: dict[str, float], rate: float, tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.attrs.update(attributes)
    driver, _ = started(f"replay:{path}")
    knob = driver.knobs()["frame_rate_hz"]
    assert knob.default == pytest.approx(rate)
    assert knob.applied_by is AppliedBy.DEVICE
    driver.close()


def test_a_changed_frame_rate_acts(tmp_path: Path) -> None:
    clock = FakeClock()
    driver, slot = started(f"replay:{write_recording(tmp_path / 'a.h5')}", clock)
    driver.read_into(slot, 1.0)
    assert driver.configuration is not None
    faster = change_settings(driver.configuration.settings, {"frame_rate_hz": 50.0}, driver.knobs())
    driver.apply(driver.prepare(faster))
    times = []
    for _ in range(3):
        driver.read_into(slot, 1.0)
        times.append(slot.transmit_ns)
    assert np.diff(times).tolist() == [20_000_000] * 2
    driver.close()


def test_depth_and_speed_default_to_what_was_recorded(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["speed_of_sound_m_s"] = 1480.0
    driver, _ = started(f"replay:{path}")
    knobs = driver.knobs()
    # The later of two transmissions starts at 1 us; 64 samples at 20 MHz.
    assert knobs["depth_m"].default == pytest.approx((1e-6 + 64 / 20e6) * 1480 / 2)
    assert knobs["sound_speed_m_s"].default == 1480.0
    assert knobs["depth_m"].applied_by is AppliedBy.PROCESSING
    driver.close()


def test_a_simulated_session_replays_with_its_truth_bit_for_bit(tmp_path: Path) -> None:
    live = SimulatedDriver("sim:needle?probe=phased", FakeClock())
    live.open()
    live.apply(live.prepare(default_settings(live.knobs())))
    live.start()
    slot, frames, truths = Slot(0), [], []
    assert live.configuration is not None
    acquisition = live.configuration.acquisition
    with RecordingWriter(tmp_path / "session.h5", acquisition) as writer:
        for _ in range(3):
            live.read_into(slot, 1.0)
            writer.append(slot)
            frames.append(slot.data.copy())
            truths.append(slot.truth)
    live.close()
    driver, played = started(f"replay:{tmp_path / 'session.h5'}")
    for frame, truth in zip(frames, truths, strict=True):
        driver.read_into(played, 1.0)
        assert (played.data == frame).all()
        # When it was fired is of that session's clock, which this one does not know.
        assert truth is not None
        assert played.truth == replace(truth, transmit_ns=None)
    assert played.configuration is not None
    assert played.configuration.acquisition.reference_amplitude == acquisition.reference_amplitude
    driver.close()


def with_ticks(path: Path, ticks: list[int]) -> Path:
    """A recording of one frame for each of the ticks at which its device said to have fired."""
    acquisition = plane_acquisition()
    with RecordingWriter(path, acquisition) as writer:
        for number, (data, at) in enumerate(zip(frames_of(acquisition, len(ticks)), ticks, strict=True)):
            writer.append_frame(data, number=number + 1, device_ticks=at)
    return path


def test_recorded_ticks_come_back_with_the_clock_on_which_they_are_played(tmp_path: Path) -> None:
    # As a device's clock of 8 ns at 50 frames a second, with jitter, one lost frame, and more digits than a float has.
    steps = [2_500_000, 2_500_400, 2_499_700, 5_000_000, 2_500_100]
    ticks = [(1 << 61) + sum(steps[:count]) for count in range(len(steps) + 1)]
    path = with_ticks(tmp_path / "a.h5", ticks)
    clock = FakeClock()
    driver, slot = started(f"replay:{path}?rate=20", clock)
    lines, times = [], []
    for index in range(2 * len(ticks)):
        driver.read_into(slot, 1.0)
        assert slot.device_ticks == ticks[index % len(ticks)]
        assert slot.device_clock is not None
        assert slot.device_clock.at(slot.device_ticks) == (slot.transmit_ns, 0)
        assert slot.device_clock.epoch == index // len(ticks), "played from the beginning: the clock begins anew"
        assert slot.device_clock.ns_per_tick == pytest.approx(50e6 / 2_500_100)
        lines.append(slot.device_clock)
        times.append(slot.transmit_ns)
    for line in lines[: len(ticks)]:
        for at, played_ns in zip(ticks, times, strict=False):
            said_ns, uncertainty_ns = line.at(at)
            assert abs(said_ns - played_ns) <= uncertainty_ns, "other frames are where each line says"
    # After a freeze, and at another rate, it is another stretch.
    driver.stop()
    clock.pass_time(3.0)
    driver.start()
    driver.read_into(slot, 1.0)
    assert slot.device_clock is not None
    assert slot.device_clock.epoch == 2
    configuration = driver.configuration
    assert configuration is not None
    quicker = change_settings(configuration.settings, {"frame_rate_hz": 40.0}, driver.knobs())
    driver.apply(driver.prepare(quicker))
    driver.read_into(slot, 1.0)
    assert slot.device_clock.epoch == 3
    driver.close()


def test_ticks_without_a_pace_have_no_clock(tmp_path: Path) -> None:
    path = with_ticks(tmp_path / "a.h5", [5, -1, 25])
    driver, slot = started(f"replay:{path}?rate=0")
    for at in (5, -1, 25):
        driver.read_into(slot, 1.0)
        assert slot.device_ticks == at
        assert slot.device_clock is None
    driver.close()


def test_damaged_ticks_are_refused_by_name(tmp_path: Path) -> None:
    path = with_ticks(tmp_path / "a.h5", [5, 15])
    with h5py.File(path, "r+") as file:
        del file["frames/device_ticks"]
        file["frames/device_ticks"] = np.array([0.5, 1.5])
    with pytest.raises(RecordingError, match="frames/device_ticks: must hold whole numbers, is of type float64"):
        ReplayDriver(f"replay:{path}", FakeClock()).open()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("?speed=2", "unknown option speed; replay: takes loop, rate, start"),
        ("?loop=yes", "loop must be one of 0, 1, got 'yes'"),
        ("?rate=-1", "rate must be a number in 0..1000, got '-1'"),
        ("?rate=fast", "rate must be a number"),
        ("?start=1.5", "start must be a whole number"),
    ],
)
def test_wrong_options_are_refused(options: str, says: str) -> None:
    with pytest.raises(DeviceNotFound, match=says):
        open_uri(f"replay:a.h5{options}")


def test_what_cannot_be_played_is_said_at_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceNotFound, match="names no file"):
        open_uri("replay:")
    with pytest.raises(DeviceNotFound, match=r"no file none\.h5"):
        open_uri("replay:none.h5").open()
    (tmp_path / "a.h5").write_bytes(b"no")
    with pytest.raises(RecordingError):
        open_uri(f"replay:{tmp_path / 'a.h5'}").open()
    write_recording(tmp_path / "b.h5")
    with pytest.raises(DeviceNotFound, match=r"start must be in 0\.\.2, got 3"):
        open_uri(f"replay:{tmp_path / 'b.h5'}?start=3").open()
    monkeypatch.chdir(tmp_path)
    driver = open_uri("replay:b.h5")
    driver.open()
    driver.close()


@pytest.mark.data
def test_every_measured_recording_opens_and_plays(data_folder: Path) -> None:
    names = sorted(path.name for path in data_folder.glob("*.h5"))
    assert len(names) >= 15
    for name in names:
        driver, slot = started(f"replay:{data_folder / name}?rate=0")
        for _ in range(2):
            driver.read_into(slot, 1.0)
        assert np.abs(slot.data.astype(np.int32)).max() > 0, name
        acquisition = driver.recording.acquisition
        with h5py.File(data_folder / name) as file:
            stored = next(file[key] for key in ("rf", "iq", "lines_u8") if key in file)
            assert acquisition.shape == stored.shape[1:]
            assert (slot.data == stored[min(1, len(stored) - 1)]).all(), name
            lines = str(file.attrs["data_kind"]).startswith("lines")
        assert (acquisition.kind is DataKind.LINES) == lines
        depth = driver.knobs()["depth_m"].default
        assert isinstance(depth, float)
        assert 0 < depth < math.inf
        driver.close()

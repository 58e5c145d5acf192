"""What the writer writes the reader opens, and what is no recording is refused in one line."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from recordings import ELEMENTS, SAMPLES, frames_of, plane_acquisition, write_recording

from sonod.drivers.errors import RecordingError
from sonod.drivers.frame import (
    Acquisition,
    Configuration,
    DataKind,
    GroundTruth,
    Layer,
    LineGeometry,
    NeedlePose,
    PixelGrid,
    SampleFormat,
    Slot,
)
from sonod.drivers.probe import ArrayKind, Probe
from sonod.drivers.recording import Recording, RecordingWriter
from sonod.drivers.recording.compare import difference
from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind
from sonod.drivers.settings import Settings

NONE_HEARD = np.zeros(0, np.int32)


def line_acquisition(sample_format: SampleFormat) -> Acquisition:
    probe = Probe.curvilinear("convex", 5, 1e-3, 0.04, 3e6)
    normals = probe.element_normals
    assert normals is not None
    lines = LineGeometry(probe.element_positions_m, normals, 1e-3, 5e-5, 40, 0.04)
    event = TransmitEvent(TransmitKind.FOCUSED, np.zeros(5), np.array([0.0, 0.0, 0.02]), NONE_HEARD)
    dtype = {"rf": np.int16, "iq": np.int16, "envelope": np.float32, "log8": np.uint8}[sample_format]
    iq = sample_format is SampleFormat.IQ
    return Acquisition(
        probe,
        Sequence((event,)),
        DataKind.LINES,
        sample_format,
        (1, 5, 40, 2) if iq else (1, 5, 40),
        np.dtype(dtype),
        12e6,
        1540.0,
        demodulation_hz=3e6 if iq else 0.0,
        lines=lines,
    )


def image_acquisition() -> Acquisition:
    event = TransmitEvent(TransmitKind.FOCUSED, np.zeros(1), np.zeros(3), NONE_HEARD)
    return Acquisition(
        Probe("picture maker", ArrayKind.SINGLE, np.zeros((1, 3)), math.nan),
        Sequence((event,)),
        DataKind.IMAGE,
        SampleFormat.LOG8,
        (6, 4),
        np.dtype(np.uint8),
        1.0,
        1540.0,
        image=PixelGrid(6, 4, -1e-3, 0.0, 5e-4, 6e-4),
    )


def matrix_acquisition() -> Acquisition:
    """Half matrix of a curvilinear array, seen through two layers, with everything that is not a default."""
    probe = Probe.curvilinear("matrix", 4, 1e-3, 0.05, 2e6, fractional_bandwidth=0.57, elevation_focus_m=0.07)
    events = []
    for index in range(4):
        delays = np.full(4, np.nan)
        delays[index] = 2e-7
        receive = np.arange(4, dtype=np.int32)
        receive[:index] = -1
        events.append(
            TransmitEvent(
                TransmitKind.SINGLE_ELEMENT, delays, probe.element_positions_m[index], receive, 0.0, 1e-6 * index
            )
        )
    return Acquisition(
        probe,
        Sequence(tuple(events)),
        DataKind.CHANNEL,
        SampleFormat.IQ,
        (4, 4, 32, 2),
        np.dtype(np.int16),
        8e6,
        1480.0,
        demodulation_hz=2e6,
        center_frequency_hz=2.2e6,
        pulse_delay_s=3e-7,
        sample_scale=0.5,
        sample_unit="mV",
        reference_amplitude=123.0,
        layers=(Layer(0.02, 1480.0), Layer(0.1, 2730.0)),
        slow_time=True,
    )


def channel_map_acquisition() -> Acquisition:
    """Fewer channels than elements, another set of them in each of two transmissions of different kind."""
    probe = Probe.linear("mapped", 6, 0.5e-3, 4e6, phased=True)
    events = (
        TransmitEvent(TransmitKind.PLANE, np.zeros(6), np.zeros(3), np.array([0, 2, 4], np.int32)),
        TransmitEvent(TransmitKind.DIVERGING, np.zeros(6), np.array([0, 0, -0.01]), np.array([1, 3, -1], np.int32)),
    )
    return Acquisition(
        probe,
        Sequence(events),
        DataKind.CHANNEL,
        SampleFormat.RF,
        (2, 3, 16),
        np.dtype(np.int16),
        16e6,
        1540.0,
    )


ACQUISITIONS = {
    "plane": plane_acquisition(),
    "matrix iq": matrix_acquisition(),
    "channel map": channel_map_acquisition(),
    "lines rf": line_acquisition(SampleFormat.RF),
    "lines iq": line_acquisition(SampleFormat.IQ),
    "lines envelope": line_acquisition(SampleFormat.ENVELOPE),
    "lines log8": line_acquisition(SampleFormat.LOG8),
    "image": image_acquisition(),
}


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_every_kind_of_frame_comes_back_bit_for_bit_with_its_meaning(name: str, tmp_path: Path) -> None:
    acquisition = ACQUISITIONS[name]
    frames = frames_of(acquisition, 3)
    with RecordingWriter(tmp_path / "a.h5", acquisition) as writer:
        for index, data in enumerate(frames):
            writer.append_frame(data, number=index + 1)
    with Recording(tmp_path / "a.h5") as recording:
        assert difference(recording.acquisition, acquisition) == ""
        assert recording.frame_count == 3
        assert recording.complete
        out = np.empty(acquisition.shape, acquisition.dtype)
        for index, data in enumerate(frames):
            recording.read_frame(index, out)
            assert out.tobytes() == data.tobytes()


def test_a_slot_is_recorded_with_its_times_settings_and_truth(tmp_path: Path) -> None:
    acquisition = plane_acquisition()
    needle = NeedlePose((1e-3, 0.0, 0.02), (-0.01, 0.0, 0.0), 8e-4)
    with RecordingWriter(tmp_path / "a.h5", acquisition, {"title": "needle", "session": "s1"}) as writer:
        for revision in (3, 3, 4):
            slot = Slot(acquisition.nbytes)
            # A configuration of its own for each revision, with an equal acquisition.
            slot.prepare(Configuration(Settings(revision=revision, gain_db=revision), replace(acquisition)))
            slot.number, slot.lost = 10 * revision, 2
            slot.transmit_ns, slot.transmit_uncertainty_ns = 111, 5
            slot.first_byte_ns, slot.last_byte_ns = 222, 333
            slot.truth = GroundTruth(0.5, needle) if revision == 4 else None
            writer.append(slot)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["frames/number"][:].tolist() == [30, 30, 40]
        assert file["frames/revision"][:].tolist() == [3, 3, 4]
        assert file["frames/lost"][:].tolist() == [2, 2, 2]
        assert file["frames/transmit_ns"][0] == 111
        assert file["frames/last_byte_ns"][2] == 333
        assert sorted(file["settings"].attrs) == ["3", "4"]
        assert json.loads(file["settings"].attrs["4"])["gain_db"] == 4
        assert file.attrs["session"] == "s1"
    with Recording(tmp_path / "a.h5") as recording:
        assert recording.title == "needle"
        assert recording.truth(0) is None
        assert recording.truth(2) == GroundTruth(0.5, needle)


def test_frames_of_another_meaning_need_another_file(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "a.h5", plane_acquisition()) as writer:
        deeper = Configuration(Settings(), plane_acquisition(samples=SAMPLES + 1))
        assert not writer.can_append(deeper)
        assert writer.can_append(Configuration(Settings(gain_db=3), plane_acquisition()))
        slot = Slot(0)
        slot.prepare(deeper)
        with pytest.raises(RecordingError, match=r"a\.h5: acquisition.shape.* changed.*new file"):
            writer.append(slot)


def test_an_incomplete_recording_says_why(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "a.h5", plane_acquisition())
    writer.append_frame(frames_of(plane_acquisition(), 1)[0], number=1)
    writer.close(complete=False, reason="the queue overflowed")
    writer.close()
    with Recording(tmp_path / "a.h5") as recording:
        assert not recording.complete
        assert recording.incomplete_reason == "the queue overflowed"


def test_an_error_in_the_writing_program_closes_the_recording_as_incomplete(tmp_path: Path) -> None:
    def record() -> None:
        with RecordingWriter(tmp_path / "a.h5", plane_acquisition()) as writer:
            writer.append_frame(frames_of(plane_acquisition(), 1)[0], number=1)
            raise ZeroDivisionError("oops")

    with pytest.raises(ZeroDivisionError):
        record()
    with Recording(tmp_path / "a.h5") as recording:
        assert recording.incomplete_reason == "ZeroDivisionError: oops"


def test_a_killed_writer_leaves_what_it_had_flushed(tmp_path: Path) -> None:
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[2])\n"
        "from recordings import *\n"
        "from sonod.drivers.recording import RecordingWriter\n"
        "a = plane_acquisition(); w = RecordingWriter(sys.argv[1], a)\n"
        "for i, d in enumerate(frames_of(a, 40)): w.append_frame(d, number=i + 1)\n"
        "os._exit(9)\n"
    )
    path = tmp_path / "a.h5"
    tests = str(Path(__file__).parents[1])
    ended = subprocess.run([sys.executable, "-c", program, str(path), tests], check=False)
    assert ended.returncode == 9
    frames = frames_of(plane_acquisition(), 40)
    with Recording(path) as recording:
        assert not recording.complete
        assert "without closing" in recording.incomplete_reason
        assert recording.frame_count >= 32
        out = np.empty(recording.acquisition.shape, recording.acquisition.dtype)
        for index in range(32):
            recording.read_frame(index, out)
            assert (out == frames[index]).all()


def test_the_writer_overwrites_nothing_and_needs_a_folder(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.h5")
    before = path.read_bytes()
    with pytest.raises(RecordingError, match="exists already"):
        RecordingWriter(path, plane_acquisition())
    assert path.read_bytes() == before
    with pytest.raises(RecordingError, match="does not exist"):
        RecordingWriter(tmp_path / "none" / "a.h5", plane_acquisition())


def test_the_writer_refuses_samples_that_the_format_cannot_hold(tmp_path: Path) -> None:
    wrong = replace(plane_acquisition(), dtype=np.dtype(np.float64))
    with pytest.raises(RecordingError, match="holds int16, the driver delivers float64"):
        RecordingWriter(tmp_path / "a.h5", wrong)
    with RecordingWriter(tmp_path / "b.h5", plane_acquisition()) as writer:
        with pytest.raises(RecordingError, match="frames are"):
            writer.append_frame(np.zeros((1, 2, 3), np.int16), number=1)
        writer.append_frame(np.zeros((2, ELEMENTS, SAMPLES), np.int16), number=1)


# -- what is not a recording ------------------------------------------------------------------------------------------

Spoil = Callable[[h5py.File], object]


def _set(name: str, value: object) -> Spoil:
    return lambda file: file.attrs.__setitem__(name, value)


def _drop_attribute(name: str) -> Spoil:
    return lambda file: file.attrs.__delitem__(name)


def _drop(name: str) -> Spoil:
    return lambda file: file.__delitem__(name)


def _replace(name: str, value: object) -> Spoil:
    def spoil(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return spoil


def _nan_in(name: str) -> Spoil:
    def spoil(file: h5py.File) -> None:
        file[name][(0,) * file[name].ndim] = np.nan

    return spoil


SPOILED: dict[str, tuple[Spoil, str]] = {
    "no format": (_drop_attribute("format"), "attribute format: missing"),
    "other format": (_set("format", "uff"), "attribute format: must be 'sonod-rf', got 'uff'"),
    "format is a number": (_set("format", 7), "attribute format: must be text"),
    "newer version": (_set("format_version", 2), "format_version: must be 1, got 2"),
    "unknown kind": (_set("data_kind", "volume"), "data_kind: must be one of channel, .*got 'volume'"),
    "kind of other data": (_set("data_kind", "image"), "needs|missing|axes|image"),
    "no samples": (_drop("rf"), "samples: needs exactly one of rf, iq"),
    "two kinds of samples": (lambda file: file.__setitem__("iq", np.zeros((1, 1))), "has rf, iq"),
    "float samples": (_replace("rf", np.zeros((1, 2, ELEMENTS, 8), np.float64)), "rf: must be int16, is float64"),
    "wide samples": (_replace("rf", np.zeros((1, 2, ELEMENTS, 8), np.int32)), "rf: must be int16, is int32"),
    "unsigned samples": (_replace("rf", np.zeros((1, 2, ELEMENTS, 8), np.uint16)), "rf: must be int16, is uint16"),
    "text samples": (_replace("rf", "abc"), "rf: must be int16"),
    "three axes": (_replace("rf", np.zeros((2, ELEMENTS, 8), np.int16)), "rf: must have 4 axes"),
    "no frames": (_replace("rf", np.zeros((0, 2, ELEMENTS, 8), np.int16)), "rf: holds no frames"),
    "no samples in a trace": (_replace("rf", np.zeros((1, 2, ELEMENTS, 0), np.int16)), "rf: must have 4 axes, all"),
    "samples are a group": (lambda file: (file.__delitem__("rf"), file.create_group("rf")), "rf: must be a dataset"),
    "no geometry": (_drop("element_positions_m"), "element_positions_m: missing; channel data needs"),
    "flat geometry": (_replace("element_positions_m", np.zeros(ELEMENTS)), "shape .any, 3., has"),
    "text geometry": (_replace("element_positions_m", "abc"), "element_positions_m: must hold numbers"),
    "nan geometry": (_nan_in("element_positions_m"), r"element_positions_m: must be finite, entry \(0, 0\) is nan"),
    "no t0": (_drop("transmit/t0_s"), "transmit/t0_s: missing; give the time of the first sample"),
    "nan t0": (_nan_in("transmit/t0_s"), r"transmit/t0_s: must be finite, entry \(0,\) is nan"),
    "t0 of other length": (_replace("transmit/t0_s", np.zeros(5)), r"transmit/t0_s: must have shape \(2\), has \(5,\)"),
    "no delays": (_drop("transmit/delays_s"), "transmit/delays_s: missing"),
    "infinite delay": (_replace("transmit/delays_s", np.full((2, ELEMENTS), np.inf)), "must be finite or NaN"),
    "all silent": (_replace("transmit/delays_s", np.full((2, ELEMENTS), np.nan)), "transmit 0 fires no element"),
    "delays of other elements": (_replace("transmit/delays_s", np.zeros((2, 3))), r"shape \(2, 8\), has \(2, 3\)"),
    "no transmit group": (_drop("transmit"), "transmit"),
    "unknown transmit": (
        lambda file: file["transmit"].attrs.__setitem__("type", "swirl"),
        "must be one of plane, diverging, focused, single-element, got 'swirl'",
    ),
    "receive element that is not": (
        _replace("transmit/receive_elements", np.full((2, ELEMENTS), 99)),
        "receive_elements: must be whole numbers in -1..7",
    ),
    "mask of other shape": (_replace("transmit/receive_mask", np.ones((2, 3))), "receive_mask: must have shape"),
    "no sampling": (_drop_attribute("sampling_frequency_hz"), "sampling_frequency_hz: missing"),
    "zero sampling": (_set("sampling_frequency_hz", 0.0), "sampling_frequency_hz: must be finite and > 0, got 0"),
    "nan sampling": (_set("sampling_frequency_hz", math.nan), "sampling_frequency_hz: must be finite and > 0, got nan"),
    "text sampling": (_set("sampling_frequency_hz", "fast"), "sampling_frequency_hz: must be one number, got 'fast'"),
    "two samplings": (_set("sampling_frequency_hz", [1.0, 2.0]), "sampling_frequency_hz: must be one number"),
    "negative speed": (_set("speed_of_sound_m_s", -1540.0), "speed_of_sound_m_s: must be finite and > 0, got -1540"),
    "unknown probe kind": (_set("probe_kind", "ring"), "probe_kind: must be one of linear"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_recording_is_refused_in_one_line_that_names_it(name: str, tmp_path: Path) -> None:
    spoil, says = SPOILED[name]
    path = write_recording(tmp_path / "spoiled.h5")
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(RecordingError, match=says) as caught:
        Recording(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    # The reader lets go of what it refuses: the file can be opened for writing again.
    h5py.File(path, "r+").close()


def test_a_missing_file_a_folder_and_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("not HDF5\n" * 1000)
    (tmp_path / "empty.h5").write_bytes(b"")
    for name, says in {
        "none.h5": "no such file",
        ".": "is not a file",
        "text.h5": "is not an HDF5 file",
        "empty.h5": "is not an HDF5 file|truncated",
    }.items():
        with pytest.raises(RecordingError, match=says):
            Recording(tmp_path / name)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    whole = write_recording(tmp_path / "whole.h5", frames=20).read_bytes()
    path = tmp_path / "cut.h5"
    for share in (0.02, 0.3, 0.7, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(RecordingError, match=r"cut\.h5: .*(truncated|damaged)"):
            Recording(path)


def test_overwritten_bytes_are_an_error_or_another_recording_but_never_a_crash(tmp_path: Path) -> None:
    whole = write_recording(tmp_path / "whole.h5", frames=2).read_bytes()
    path = tmp_path / "scratched.h5"
    random = np.random.default_rng(5)
    for _ in range(60):
        scratched = bytearray(whole)
        place = int(random.integers(0, min(len(whole), 60_000)))
        scratched[place : place + 16] = random.bytes(16)
        path.write_bytes(scratched)
        with suppress(RecordingError), Recording(path) as recording:
            recording.read_frame(0, np.empty(recording.acquisition.shape, recording.acquisition.dtype))


def test_a_frame_that_cannot_be_read_names_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    acquisition = plane_acquisition()
    with RecordingWriter(path, acquisition, compression="gzip") as writer:
        for index, data in enumerate(frames_of(acquisition, 3)):
            writer.append_frame(data, number=index)
    with h5py.File(path) as file:
        chunk = file["rf"].id.get_chunk_info(1)
    damaged = bytearray(path.read_bytes())
    damaged[chunk.byte_offset : chunk.byte_offset + 64] = b"\xff" * 64
    path.write_bytes(damaged)
    out = np.empty(acquisition.shape, acquisition.dtype)
    with Recording(path) as recording:
        recording.read_frame(0, out)
        with pytest.raises(RecordingError, match=r"rf: frame 1 cannot be read"):
            recording.read_frame(1, out)
        with pytest.raises(IndexError, match="frame 3 does not exist; there are 3"):
            recording.read_frame(3, out)
        with pytest.raises(ValueError, match="out: must be"):
            recording.read_frame(0, out[:1])


# -- meaning ----------------------------------------------------------------------------------------------------------


def test_missing_angles_of_plane_waves_follow_from_their_delays(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["transmit/angles_rad"]
    with Recording(path) as recording:
        np.testing.assert_allclose(recording.acquisition.sequence.angles_rad, [-0.1, 0.1], atol=1e-9)


def test_a_scanned_element_becomes_an_array_that_hears_itself(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    places = np.stack([np.arange(5) * 1e-3, np.zeros(5), np.zeros(5)], axis=1)
    with h5py.File(path, "w") as file:
        file.attrs.update(
            format="sonod-rf",
            format_version=1,
            data_kind="single_scan",
            sampling_frequency_hz=1e7,
            speed_of_sound_m_s=1480.0,
            center_frequency_hz=2e6,
            element_diameter_m=6e-3,
        )
        file["rf"] = np.zeros((1, 5, 1, 20), np.int16)
        file["element_positions_m"] = np.zeros((1, 3))
        transmit = file.create_group("transmit")
        transmit.attrs["type"] = "single-element"
        transmit["t0_s"] = np.full(5, 2e-5)
        transmit["origins_m"] = places
        transmit["delays_s"] = np.array([[0.0], [0.0], [1e-7], [0.0], [0.0]])
    with Recording(path) as recording:
        acquisition = recording.acquisition
    assert acquisition.shape == (5, 1, 20)
    assert acquisition.probe.kind is ArrayKind.LINEAR
    np.testing.assert_array_equal(acquisition.probe.element_positions_m, places)
    np.testing.assert_array_equal(acquisition.sequence.receive_elements, np.arange(5)[:, None])
    wanted = np.where(np.eye(5, dtype=bool), 0.0, np.nan)
    wanted[2, 2] = 1e-7
    np.testing.assert_array_equal(acquisition.sequence.delays_s, wanted)
    assert acquisition.probe.element_width_m == 6e-3


def test_layers_are_those_of_their_group_and_not_of_remarks(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["layer_speeds_m_s"] = [1480.0, 4660.0]
        file.attrs["layer_thickness_m"] = [0.02, 0.04]
    with Recording(path) as recording:
        assert recording.acquisition.layers == ()
    with h5py.File(path, "r+") as file:
        file["layers/speed_of_sound_m_s"] = [1480.0, 4660.0]
        file["layers/thickness_m"] = [0.02, 0.04]
    with Recording(path) as recording:
        assert recording.acquisition.layers == (Layer(0.02, 1480.0), Layer(0.04, 4660.0))
    with h5py.File(path, "r+") as file:
        del file["layers/thickness_m"]
    with pytest.raises(RecordingError, match="same number of layers"):
        Recording(path)

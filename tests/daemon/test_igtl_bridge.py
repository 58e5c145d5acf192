"""`sonod bridge igtl` between a daemon and programs that are not ours: pyigtl, and the OpenIGTLink library in C++."""

from __future__ import annotations

import asyncio
import json
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sonod.client.bridges.igtl.bridge import Bridge
from sonod.client.bridges.igtl.options import Options
from sonod.client.calibration import bind, load
from sonod.client.control import Control
from sonod.client.conventions.openigtlink import placement
from sonod.client.frame import Frame
from sonod.client.subscriber import Subscriber
from sonod.client.wire.geometry import ImageGeometry

SOURCE = Path(__file__).parents[1] / "client" / "bridges" / "receiver.cpp"
PATIENCE_S = 90
DEVICE = "Image_Transducer"

pytestmark = pytest.mark.igtl


@dataclass
class Running:
    frames: str
    control: str
    host: str
    port: int

    def frame_of(self, depth_m: float) -> Frame:
        """A frame of this depth, asked for first."""
        self.set(depth_m=depth_m)
        with Subscriber(self.frames) as subscriber:
            for frame in subscriber.frames("bmode", timeout_s=PATIENCE_S):
                if frame.header.settings["depth_m"] == depth_m:
                    return frame
        raise AssertionError("the subscription ended")

    def pass_frames(self, count: int) -> None:
        with Subscriber(self.frames) as subscriber:
            list(islice(subscriber.frames("bmode", timeout_s=PATIENCE_S), count))

    def set(self, **changes: Any) -> None:
        with Control(self.control, PATIENCE_S) as control:
            control.set(changes)


def bridge_process(frames: str, control: str, *more: str) -> tuple[subprocess.Popen[str], str, int]:
    command = [sys.executable, "-m", "sonod", "bridge", "igtl", "--port", "0", "--frames", frames, "--control", control]
    command += more
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    host, _, port = process.stdout.readline().removeprefix("OpenIGTLink at ").strip().rpartition(":")
    return process, host, int(port)


@contextmanager
def in_this_process(bridge: Bridge) -> Iterator[tuple[str, int]]:
    """The address of a bridge on a thread, which saves the start of a process."""
    started: Future[tuple[str, int]] = Future()
    told = threading.Event()

    async def serve() -> None:
        started.set_result(await bridge.start())
        await asyncio.to_thread(told.wait)
        await bridge.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield started.result(PATIENCE_S)
    finally:
        told.set()
        thread.join()


@pytest.fixture(scope="module")
def daemon() -> Iterator[tuple[str, str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "sonod", "run", "--driver", "sim:", "--port", "0", "--no-viewer"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        facts = json.loads(line)
        if facts["event"] == "ready":
            break
    with Control(facts["control"], PATIENCE_S) as control:
        # Easy enough for a machine that does other things.
        control.set({"angle_count": 1, "frame_rate_hz": 10.0})
    yield facts["frames"][0], facts["control"]
    process.terminate()
    process.communicate(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def running(daemon: tuple[str, str]) -> Iterator[Running]:
    process, host, port = bridge_process(*daemon)
    yield Running(*daemon, host, port)
    process.terminate()
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def pyigtl() -> ModuleType:
    return pytest.importorskip("pyigtl", reason="pyigtl is not installed; `make test` installs it")


@pytest.fixture
def client(pyigtl: ModuleType, running: Running) -> Iterator[Any]:
    made = pyigtl.OpenIGTLinkClient(running.host, running.port)
    yield made
    made.stop()


def images(client: Any) -> Iterator[Any]:
    while True:
        message = client.wait_for_message(DEVICE, timeout=PATIENCE_S)
        assert message is not None, "no image came"
        if message.message_type == "IMAGE":
            yield message


def assert_placed(matrix: Any, shape: tuple[int, ...], geometry: ImageGeometry) -> None:
    """Spacing, directions and first pixel as the geometry has them, in millimetres."""
    placed = placement(geometry)
    assert shape == (1, *geometry.shape)
    np.testing.assert_allclose(matrix[:3, 0], placed.i_mm, atol=1e-5)
    np.testing.assert_allclose(matrix[:3, 1], placed.j_mm, atol=1e-5)
    x, _, z = geometry.first_pixel_m
    np.testing.assert_allclose(matrix[:3, 3], (x * 1e3, 0, z * 1e3), atol=1e-3)


def test_pyigtl_gets_pictures_in_place_and_changes_the_depth(pyigtl: ModuleType, running: Running, client: Any) -> None:
    geometry = running.frame_of(0.04).header.geometry
    assert isinstance(geometry, ImageGeometry)
    got = next(image for image in images(client) if image.image.shape == (1, *geometry.shape))
    assert got.header_version == 1
    assert_placed(got.ijk_to_world_matrix, got.image.shape, geometry)
    assert abs(got.timestamp - time.time()) < PATIENCE_S
    command = '<Command Name="SetUsParameter"><Parameter Name="DepthMm" Value="22"/></Command>'
    client.send_message(pyigtl.StringMessage(command, device_name="CMD_1"))
    answer = client.wait_for_message("ACK_1", timeout=PATIENCE_S)
    assert 'Status="SUCCESS"' in answer.string
    with Control(running.control, PATIENCE_S) as control:
        assert control.get(["depth_m"]).settings["depth_m"] == pytest.approx(0.022)
    deepest = 0.022
    for image in images(client):
        rows = image.image.shape[1]
        z_mm = image.ijk_to_world_matrix[2, 3] + (rows - 1) * image.ijk_to_world_matrix[2, 1]
        if abs(z_mm - deepest * 1e3) < 0.5:
            break


def test_command_message_gets_metadata_as_slicer_reads_it(pyigtl: ModuleType, running: Running, client: Any) -> None:
    class Command(pyigtl.messages.MessageBase):  # type: ignore[misc,name-defined]
        """COMMAND and RTS_COMMAND, which pyigtl does not have; the header and the metadata are its own."""

        def __init__(self, text: str = "", kind: str = "RTS_COMMAND") -> None:
            super().__init__(device_name="Slicer")
            self._message_type, self._text, self._valid_message, self.header_version = kind, text, True, 2

        def _pack_content(self) -> bytes:
            return struct.pack(">I128sHI", 77, b"GetUsParameter", 3, len(self._text)) + self._text.encode()

        def _unpack_content(self, content: bytes) -> None:
            self.id, _, _, length = struct.unpack_from(">I128sHI", content)
            self.text = content[138 : 138 + length].decode()

    pyigtl.messages.message_type_to_class_constructor["RTS_COMMAND"] = Command
    running.set(depth_m=0.03, gain_db=0.0)
    text = '<Command Name="GetUsParameter"><Parameter Name="DepthMm"/><Parameter Name="GainPercent"/></Command>'
    client.send_message(Command(text, "COMMAND"))
    answer = client.wait_for_message("Slicer", timeout=PATIENCE_S)
    assert (answer.id, answer.metadata["Status"]) == (77, "SUCCESS")
    assert (answer.metadata["DepthMm"], answer.metadata["GainPercent"]) == ("30", "50")
    # From now on this client gets header version 2, with the facts of the frame.
    image = next(image for image in images(client) if image.header_version == 2)
    assert image.metadata["UsImageOrientation"] == "UF"
    assert image.metadata["GeometryFingerprint"].startswith("sha256:")
    assert abs(int(image.metadata["AcquisitionTimeUtcNs"]) / 1e9 - image.timestamp) < 1e-3


def test_pose_of_a_tracker_reaches_the_other_clients(pyigtl: ModuleType, running: Running, client: Any) -> None:
    tracker = pyigtl.OpenIGTLinkClient(running.host, running.port)
    try:
        matrix = np.eye(4)
        matrix[0, 3] = 12.5
        message = None
        while message is None:
            # Again until both are connected: only the newest is kept, and only for those who are there.
            tracker.send_message(pyigtl.TransformMessage(matrix, device_name="ProbeToTracker"))
            message = client.wait_for_message("ProbeToTracker", timeout=1)
        np.testing.assert_array_equal(message.matrix, matrix)
    finally:
        tracker.stop()


def test_calibration_places_pictures_in_its_target_and_void_sends_none(
    pyigtl: ModuleType, running: Running, tmp_path: Path
) -> None:
    frame = running.frame_of(0.04)
    to_marker = ((0.0, -1.0, 0.0, 0.1), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    geometry = frame.header.geometry
    assert isinstance(geometry, ImageGeometry)
    matrix = np.array(to_marker) @ np.array(geometry.image_to_transducer)
    bind("c", "Marker", tuple(map(tuple, matrix.tolist())), frame.header).save(tmp_path / "c.json")  # type: ignore[arg-type]
    options = Options(running.frames, running.control, port=0)
    with in_this_process(Bridge(options, "0", load(tmp_path / "c.json"))) as address:
        client = pyigtl.OpenIGTLinkClient(*address)
        # A quarter turn about z: columns run along y; 0.1 m along x.
        for depth_m in (0.04, 0.025):
            geometry = running.frame_of(depth_m).header.geometry
            assert isinstance(geometry, ImageGeometry)
            image = next(image for image in images(client) if image.image.shape == (1, *geometry.shape))
            np.testing.assert_allclose(image.ijk_to_world_matrix[:3, 0], (0, geometry.spacing_m[1] * 1e3, 0), atol=1e-5)
            assert image.ijk_to_world_matrix[0, 3] == pytest.approx(100, abs=1e-3)
        running.set(sound_speed_m_s=1500.0)
        running.pass_frames(5)
        client.get_latest_messages()
        running.pass_frames(5)
        assert "IMAGE" not in {message.message_type for message in client.get_latest_messages()}
        running.set(sound_speed_m_s=1540.0)
        assert next(images(client)) is not None
        client.stop()


def test_bridge_that_has_lost_the_lease_is_one_like_all_others(pyigtl: ModuleType, running: Running) -> None:
    process, host, port = bridge_process(running.frames, running.control, "--lease")
    client = pyigtl.OpenIGTLinkClient(host, port)
    try:
        with Control(running.control, PATIENCE_S) as control:
            assert control.lease().holder == "OpenIGTLink bridge"
            token = control.take_over_lease("somebody").token
            control.release_lease(token or "")
        command = '<Command Name="SetUsParameter"><Parameter Name="DepthMm" Value="35"/></Command>'
        deadline_s = time.monotonic() + PATIENCE_S
        answer, number = None, 0
        # Until it has noticed, at its next prolongation.
        while answer is None or 'Status="SUCCESS"' not in answer.string:
            assert time.monotonic() < deadline_s, answer
            number += 1
            client.send_message(pyigtl.StringMessage(command, device_name=f"CMD_{number}"))
            answer = client.wait_for_message(f"ACK_{number}", timeout=PATIENCE_S)
            assert answer is not None
    finally:
        client.stop()
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


def test_bridge_says_in_its_log_how_the_daemon_is(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with in_this_process(Bridge(Options(running.frames, running.control, port=0), "0", None)):
        deadline_s = time.monotonic() + PATIENCE_S
        while "status: running" not in caplog.messages:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("g++")
    if compiler is None or not Path("/usr/include/openigtlink/igtlClientSocket.h").exists():
        pytest.skip("g++ or libopenigtlink-dev is not installed; the C++ receiver did not run")
    program = tmp_path_factory.mktemp("receiver") / "receiver"
    command = [compiler, "-I/usr/include/openigtlink", "-o", str(program), str(SOURCE), "-lOpenIGTLink", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return program


def test_openigtlink_library_gets_pictures_in_place_and_changes_the_depth(running: Running, receiver: Path) -> None:
    geometry = running.frame_of(0.04).header.geometry
    assert isinstance(geometry, ImageGeometry)
    done = subprocess.run(
        [str(receiver), running.host, str(running.port), "25"], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["capability", "10"] in lines
    assert ["status", "1", "running"] in lines
    first, second = ([float(number) for number in line[1:]] for line in lines if line[0] == "image")
    placed = placement(geometry)
    assert first[:2] == [geometry.shape[1], geometry.shape[0]]
    assert first[2:4] == pytest.approx(placed.spacing_mm[:2], rel=1e-5)
    assert first[4:7] == pytest.approx(placed.centre_mm, abs=1e-3)
    assert first[7] == pytest.approx(1)
    rows, spacing, centre = second[1], second[3], second[6]
    assert centre + (rows - 1) / 2 * spacing == pytest.approx(25, abs=0.5)
    assert 'Status="SUCCESS"' in done.stdout

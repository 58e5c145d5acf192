"""The daemon keeps to its own protocol, the example clients read it, and calibrations hold while the depth changes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daemon_bench import PATIENCE_S, Bench

from sonod.client.calibration import CalibrationState, bind
from sonod.client.conformance.server import check_server
from sonod.client.conventions.matrices import applied, as_array, as_matrix
from sonod.client.frame import Frame
from sonod.client.wire.geometry import ImageGeometry

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def fed(bench: Bench) -> Iterator[Bench]:
    """A daemon whose driver delivers all the time."""
    done = threading.Event()

    def feed() -> None:
        while not done.wait(0.02):
            bench.driver.deliver()

    feeder = threading.Thread(target=feed)
    feeder.start()
    yield bench
    done.set()
    feeder.join()


def test_daemon_keeps_to_the_protocol(fed: Bench) -> None:
    addresses = fed.daemon.addresses
    findings = list(check_server(addresses.frames[0], addresses.control, change=False, timeout_s=PATIENCE_S))
    assert [finding for finding in findings if finding.problem] == []
    assert len(findings) > 10


def test_schemas_have_every_command(bench: Bench) -> None:
    for name in ("request", "reply"):
        schema = json.loads((files("sonod.client.wire") / "schemas" / f"{name}.json").read_text())
        assert set(bench.control.describe().commands) <= set(schema["$defs"]), "add it to docs/make_schemas.py"


def lines_of(fed: Bench, *command: str) -> dict[str, Any]:
    """The report on the change of depth that an example client makes; nobody reads on, and it ends without a word."""
    addresses = fed.daemon.addresses
    program = [*command, addresses.frames[0], addresses.control]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            frames = 0
            for line in process.stdout:
                report: dict[str, Any] = json.loads(line)
                if "applied" in report and frames:
                    process.stdout.close()
                    assert process.stderr.read() == ""
                    return report
                frames += "frame" in report
            raise AssertionError(process.stderr.read())
        finally:
            process.kill()


def test_python_example_reads_the_daemon_and_changes_the_depth(fed: Bench) -> None:
    report = lines_of(fed, sys.executable, str(EXAMPLES / "client.py"))
    assert report["applied"] == {"depth_m": 0.03}
    assert report["revision"] == 1


@pytest.mark.node
def test_javascript_example_reads_the_daemon_and_changes_the_depth(fed: Bench) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed; the JavaScript example did not run")
    assert lines_of(fed, node, str(EXAMPLES / "client.mjs"))["applied"] == {"depth_m": 0.03}


@pytest.mark.zmq_c
def test_c_example_reads_the_daemon_and_changes_the_depth(fed: Bench, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None or not Path("/usr/include/zmq.h").exists():
        pytest.skip("a C compiler or libzmq3-dev is not installed; the C example did not run")
    program = tmp_path / "client"
    subprocess.run([compiler, "-o", str(program), str(EXAMPLES / "client.c"), "-lzmq", "-lm"], check=True)
    assert lines_of(fed, str(program))["applied"] == {"depth_m": 0.03}


def test_depth_changes_on_a_calibrated_stream_never_claim_a_wrong_scale(fed: Bench) -> None:
    """Each frame of a stream whose depth changes all the time: what a calibration gives for it takes a point of tissue
    to where the tracker sees it, and `valid` is said of the very geometry only."""
    frames = fed.frames()
    first = next(frames)
    made = first.header.geometry
    assert isinstance(made, ImageGeometry)
    to_target = np.array([[0.0, -1.0, 0.0, 0.1], [1.0, 0.0, 0.0, -0.2], [0.0, 0.0, 1.0, 0.3], [0.0, 0.0, 0.0, 1.0]])
    calibration = bind("c", "Marker", as_matrix(to_target @ as_array(made.image_to_transducer)), first.header)
    done = threading.Event()
    depths = np.random.default_rng(5).uniform(0.02, 0.1, 15).round(3)

    def change() -> None:
        for depth_m in depths:
            fed.control.set({"depth_m": float(depth_m)})
        done.set()

    changer = threading.Thread(target=change)
    changer.start()
    seen: set[tuple[CalibrationState, str]] = set()
    while not done.is_set():
        seen.add(judged(next(frames), calibration.judge, made, to_target))
    changer.join()
    assert {state for state, _ in seen} <= {CalibrationState.VALID, CalibrationState.RESCALED}
    assert len({fingerprint for _, fingerprint in seen}) > 3


def judged(
    frame: Frame, judge: Callable[..., Any], made: ImageGeometry, to_target: Any
) -> tuple[CalibrationState, str]:
    geometry = frame.header.geometry
    assert isinstance(geometry, ImageGeometry)
    result = judge(frame.header)
    assert (result.state is CalibrationState.VALID) == (geometry.fingerprint == made.fingerprint)
    assert result.image_to_target is not None
    point = (0.002, 0.0, 0.009)
    row, column = geometry.pixel(point)
    wanted = to_target @ np.array([*point, 1.0])
    np.testing.assert_allclose(applied(result.image_to_target, (column, row, 0.0)), wanted[:3], rtol=0, atol=1e-12)
    return result.state, geometry.fingerprint

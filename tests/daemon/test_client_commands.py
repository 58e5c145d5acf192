"""`sonod calibration`, `sonod bridge` and `sonod conformance` as people type them, wrongly too."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from daemon_bench import Bench

from sonod.client.calibration import load
from sonod.daemon.cli import main

Sonod = Callable[..., subprocess.CompletedProcess[str]]
# Millimetres, for pictures as published: columns along x of the target, rows along its z, 7 mm off.
MATRIX = "1 0 0 7, 0 0 1 0, 0 1 0 0, 0 0 0 1"


@pytest.fixture
def sonod(bench: Bench) -> Iterator[Sonod]:
    """The command, in this process, on a daemon whose driver delivers all the time."""
    done = threading.Event()

    def feed() -> None:
        while not done.wait(0.02):
            bench.driver.deliver()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        output, errors = io.StringIO(), io.StringIO()
        changed = {name: None for name in os.environ if name.startswith("SONOD_")}
        addresses = bench.daemon.addresses
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
            for name in changed:
                patch.delenv(name)
            patch.setenv("SONOD_FRAMES", addresses.frames[0])
            patch.setenv("SONOD_CONTROL", addresses.control)
            with pytest.raises(SystemExit) as left:
                main(list(arguments))
        return subprocess.CompletedProcess(arguments, int(left.value.code or 0), output.getvalue(), errors.getvalue())

    feeder = threading.Thread(target=feed)
    feeder.start()
    yield run
    done.set()
    feeder.join()


def test_calibration_is_bound_shown_and_checked(sonod: Sonod, bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "knee.json"
    bound = sonod("calibration", "bind", str(path), "--matrix", MATRIX, "--to", "Marker", "--name", "left knee")
    assert bound.returncode == 0, bound.stderr
    assert load(path).image_to_target[0] == (0.001, 0.0, 0.0, 0.007)
    shown = sonod("calibration", "show", str(path)).stdout
    assert "left knee" in shown
    # The picture has 4 columns: in MF, column 0 is our column 3.
    assert '<Transform From="Image" To="Marker" Matrix="-1 0 0 10  0 0 ' in shown
    assert json.loads(sonod("calibration", "show", str(path), "--json").stdout)["probe"] == "test-picture"
    assert "valid" in sonod("calibration", "check", str(path)).stdout
    bench.control.set({"depth_m": 0.03})
    rescaled = json.loads(sonod("calibration", "check", str(path), "--json").stdout)
    assert rescaled["state"] == "rescaled"
    assert rescaled["image_to_target"][0] == pytest.approx([0.001, 0.0, 0.0, 0.007])
    values = json.loads(path.read_text())
    values["probe"] = "another"
    path.write_text(json.dumps(values))
    void = sonod("calibration", "check", str(path))
    assert (void.returncode, "void" in void.stdout) == (1, True)
    assert "made with probe another; the frame is of test-picture" in void.stderr


def test_matrix_of_plus_is_for_turned_pictures(sonod: Sonod, tmp_path: Path) -> None:
    xml = tmp_path / "plus.xml"
    xml.write_text(
        '<PlusConfiguration><CoordinateDefinitions><Transform From="Image" To="Probe" '
        'Matrix="-1 0 0 10  0 0 1 0  0 1 0 0  0 0 0 1"/></CoordinateDefinitions></PlusConfiguration>'
    )
    path = tmp_path / "c.json"
    assert sonod("calibration", "bind", str(path), "--plus", str(xml)).returncode == 0
    assert load(path).image_to_target[0] == pytest.approx((0.001, 0.0, 0.0, 0.007))
    metres = tmp_path / "m.json"
    matrix = "0.001 0 0 0.007 0 0 1 0 0 0.001 0 0 0 0 0 1"
    assert sonod("calibration", "bind", str(metres), "--matrix", matrix, "--unit", "m").returncode == 0
    assert load(metres).image_to_target[0] == pytest.approx((0.001, 0.0, 0.0, 0.007))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["bind", "x.json"], "give the matrix with either --matrix or --plus"),
        (["bind", "x.json", "--matrix", "1 2 3"], "--matrix: must be 16 numbers, rows first"),
        (["bind", "x.json", "--matrix", MATRIX, "--unit", "inch"], "--unit: must be mm or m; got 'inch'"),
        (["bind", "x.json", "--matrix", MATRIX, "--orientation", "XY"], "--orientation: must be one of UF, UN, MF, MN"),
        (["bind", "x.json", "--plus", "/no/such.xml"], "/no/such.xml: No such file"),
        (["bind", "/no/such/x.json", "--matrix", MATRIX], "/no/such/x.json: No such file"),
        (["check", "/no/such.json"], "/no/such.json: cannot be read (No such file or directory); `sonod calibration"),
        (["show", __file__], "not JSON"),
    ],
)
def test_wrong_calibration_command_is_one_line(sonod: Sonod, arguments: list[str], line: str) -> None:
    done = sonod("calibration", *arguments)
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("<a/>", "has 0 transforms From 'Image' To 'Probe'; must have one"),
        ("<a", "not XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a/>', "has a document type"),
    ],
)
def test_wrong_plus_configuration_is_one_line(sonod: Sonod, tmp_path: Path, text: str, line: str) -> None:
    xml = tmp_path / "plus.xml"
    xml.write_text(text)
    done = sonod("calibration", "bind", str(tmp_path / "x.json"), "--plus", str(xml))
    assert (done.returncode, line in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "--control", "foo"),
        ("set", "gain_db=1", "--control", "tcp://127.0.0.1"),
        ("watch", "--from", "foo"),
        ("bridge", "igtl", "--port", "0", "--frames", "tcp://nowhere"),
        ("conformance", "server", "--control", "udp://127.0.0.1:1"),
    ],
)
def test_what_is_no_address_is_said_in_one_line(sonod: Sonod, arguments: tuple[str, ...]) -> None:
    done = sonod(*arguments)
    assert done.returncode == 2
    assert "is no address; it must be tcp://HOST:PORT or ipc:///PATH" in done.stderr
    assert done.stderr.count("\n") == 1


def test_product_that_there_is_not_is_not_waited_for(sonod: Sonod) -> None:
    done = sonod("watch", "--frames", "bmod")
    assert (done.returncode, "--frames: must be one of bmode, preview" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("text", "line"),
    [("[[[", "not TOML"), ("x = 1", "unknown key x"), ("[settings]\ngain_db = 999", "settings.gain_db: must be in")],
)
def test_file_of_settings_that_is_wrong_is_named(sonod: Sonod, tmp_path: Path, text: str, line: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    done = sonod("load", str(file))
    assert done.returncode == 2
    assert done.stderr.startswith(f"sonod: {file}: {line}")


def test_bridge_says_what_it_cannot_do(sonod: Sonod) -> None:
    assert "--port: must be in 0..65535" in sonod("bridge", "igtl", "--port", "99999").stderr
    assert "ssh -L" in sonod("bridge", "igtl", "--host", "0.0.0.0").stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = sonod("bridge", "igtl", "--port", str(port))
        assert done.returncode == 69
        assert f"127.0.0.1:{port}: " in done.stderr


def test_conformance_of_the_daemon_is_said_line_by_line(sonod: Sonod) -> None:
    done = sonod("conformance", "server")
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout
    assert "rules that were checked" in done.stdout
    assert sonod("conformance", "server", "--control", "tcp://127.0.0.1:9").returncode == 69
    assert sonod("conformance", "client", "--", "no-such-program", "{frames}").returncode == 2


def test_describe_prints_every_knob_with_what_it_may_be_and_who_holds_it(sonod: Sonod, bench: Bench) -> None:
    bench.control.acquire_lease("tracker")
    described = json.loads(sonod("describe").stdout)
    (depth,) = (knob for knob in described["knobs"] if knob["name"] == "depth_m")
    assert (depth["unit"], depth["minimum"], depth["maximum"], depth["held_by"]) == ("m", 0.02, 0.1, "tracker")
    assert {"step", "default", "value", "acoustic_output", "geometry"} <= set(depth)
    assert not {"id", "ok"} & set(described)

"""`sonod emulate` as a person uses it, and the benchmark that streams from such a board."""

from __future__ import annotations

import importlib
import io
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from sonod.daemon.bench import usb
from sonod.daemon.bench.usb import measure_kernels, measure_stream
from sonod.daemon.cli import main
from sonod.drivers import driver_class, open_uri
from sonod.drivers.emulated import BOARDS
from sonod.drivers.emulated.usbfs import preload_library
from sonod.drivers.serial_board import SerialBoard

# The module, which the command of the same name hides.
EMULATE = importlib.import_module("sonod.daemon.cli.emulate")


def emulate(monkeypatch: pytest.MonkeyPatch, lines: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the command with these lines typed."""
    output, errors = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    with redirect_stdout(output), redirect_stderr(errors), pytest.raises(SystemExit) as left:
        main(["emulate", *arguments])
    return int(left.value.code or 0), output.getvalue(), errors.getvalue()


def test_a_serial_board_says_where_it_is_and_what_it_does_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "silent=true\ncorrupt_frames=3\nclear\nunplug\nplug\nreset\nnonsense\nnosuch=1\n\n"
    code, output, errors = emulate(monkeypatch, lines, "pic0rick", "--pty")
    assert (code, errors) == (0, "")
    said = [line.strip() for line in output.splitlines()]
    assert said[0] == "emulating pic0rick as a serial port:"
    assert said[1].startswith("sonod run --driver 'pic0rick:/dev/pts/")
    ports = [line for line in said if line.startswith("at /dev/pts/")]
    assert len(ports) >= 1
    states = [line for line in said[2:] if line not in ports]
    assert states[:5] == [
        "plugged in, silent=True",
        "plugged in, silent=True, corrupt_frames=3",
        "plugged in",
        "unplugged",
        "plugged in",
    ]
    assert "must be unplug, plug, reset, clear" in states[6]
    assert "faults.nosuch: there is none; there are silent," in states[7]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("halt=x", "faults.halt: must be endpoints of the board, [1, 129, 130], got 'x'"),
        ("halt=[77]", "faults.halt: must be endpoints of the board, [1, 129, 130], got [77]"),
        ("corrupt_frames=three", "faults.corrupt_frames: must be a whole number from 0 on, got 'three'"),
        ("short_packets=-1", "faults.short_packets: must be a whole number from 0 on, got -1"),
        ("drop_frames=true", "faults.drop_frames: must be a whole number from 0 on, got True"),
        ("unplug_after_bytes=-5", "faults.unplug_after_bytes: must be a whole number from -1 on, got -5"),
        ("silent=1", "faults.silent: must be true or false, got 1"),
        ("open_fault=broken", "faults.open_fault: must be access, busy, memory or null, got 'broken'"),
        ("unplug now", "must be unplug, plug, reset, clear, faults or NAME=VALUE, got 'unplug now'"),
    ],
)
def test_a_wrong_line_changes_nothing_and_says_what_it_may_be(
    line: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output, errors = emulate(monkeypatch, f"{line}\nfaults\n", "wulpus", "--pty")
    assert (code, errors) == (0, "")
    said = [text.strip() for text in output.splitlines() if "at /dev/pts/" not in text]
    assert said[2:] == [words, "plugged in"]


def test_one_endpoint_may_be_written_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "plugged in, halt=[129]" in emulate(monkeypatch, "halt=129\n", "wulpus", "--pty")[1]


@pytest.mark.parametrize("board", [name for name in BOARDS if name != "paced"])
def test_the_driver_that_is_named_takes_the_board(board: str) -> None:
    name = EMULATE._driver(board)
    uris = [EMULATE._uri(board, EMULATE.OVER_USB), EMULATE._uri(board, EMULATE.IN_PROCESS)]
    if issubclass(driver_class(name), SerialBoard):
        uris.append(EMULATE._uri(board, EMULATE.OVER_TTY, "/dev/pts/0"))
    for uri in uris:
        assert open_uri(uri).uri.name == name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nosuch",), "emulated board 'nosuch': there is none; there are pic0rick"),
        (("bulk", "--pty"), "is no serial board"),
        (("bulk", "--scene", "foot"), "no scene 'foot'; there are carpal-tunnel"),
        (("un0rick", "--scene", "hip"), "only bulk looks at a scene"),
    ],
)
def test_what_cannot_be_emulated_is_said(
    arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output, errors = emulate(monkeypatch, "", *arguments)
    assert (code, output) == (2, "")
    assert words in errors


def test_without_umockdev_the_other_ways_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EMULATE, "preload_library", lambda: None)
    code, _, errors = emulate(monkeypatch, "", "un0rick")
    assert code == 1
    assert "apt-get install umockdev" in errors
    assert "un0rick:?emulated=1" in errors


@pytest.mark.umockdev
def test_a_usb_board_says_how_a_program_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    if preload_library() is None:
        pytest.skip("umockdev is not installed: apt-get install umockdev")
    code, output, _ = emulate(monkeypatch, "open_fault=busy\n", "open-echo")
    assert code == 0
    assert "env LD_PRELOAD=" in output
    assert "sonod run --driver 'open-echo:?usb=2341:0069'" in output
    assert "plugged in, open_fault=busy" in output


@pytest.mark.umockdev
@pytest.mark.parametrize("reader", ["ring", "polled"])
def test_every_message_of_the_streaming_measurement_is_accounted_for(
    reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usb, "MOST_ATTEMPTS", 1)
    if preload_library() is None:
        pytest.skip("umockdev is not installed: apt-get install umockdev")
    result = measure_stream(reader, 40.0, 1, (16, 512), 0.5)
    assert result.made > 100
    assert result.unaccounted == result.out_of_order == result.crc_errors == 0
    assert result.lost >= result.late


def test_kernels_are_measured_against_a_copy() -> None:
    results = {result.kernel: result for result in measure_kernels()}
    assert set(results) == {"copy", "crc32c", "offset_16", "packed_10", "packed_12", "packed_14"}
    assert results["copy"].ratio == 1.0
    assert all(result.gb_s > 0 for result in results.values())

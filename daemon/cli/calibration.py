"""`sonod calibration`: probe-to-tracker calibrations, and whether they hold for what is being published."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sonod.client.calibration import Calibration, CalibrationState, Judgement, bind, load, matrix_of
from sonod.client.conventions.matrices import in_millimetres
from sonod.client.conventions.millimetres import spacing_mm
from sonod.client.conventions.plus import image_to_probe_m, image_to_probe_mm, transform_element
from sonod.client.frame import Frame
from sonod.client.subscriber import Subscriber
from sonod.client.wire.geometry import ORIENTATIONS, ImageGeometry, Matrix
from sonod.daemon.cli.connection import ControlOption, JsonOption, connect_alive
from sonod.daemon.cli.failure import FAILED, USAGE, Failure
from sonod.daemon.cli.output import put, put_json
from sonod.daemon.environment import Environment

# Long enough for a slow probe; a frozen one sends nothing, and the message says so.
FRAME_TIMEOUT_S = 5.0
UNITS = ("mm", "m")
# A PLUS configuration is kilobytes; anything larger is not one.
LARGEST_CONFIGURATION_BYTES = 4 * 1024 * 1024

File = Annotated[Path, typer.Argument(metavar="FILE", help="A calibration file.")]
FramesOption = Annotated[
    str | None, typer.Option("--frames", metavar="ENDPOINT", help="Frames of the daemon.", show_default=False)
]

calibration = typer.Typer(
    help="Probe-to-tracker calibrations: bind one to the picture it was made with, and ask whether it holds.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@calibration.command("bind")
def bind_calibration(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The calibration file to write.")],
    matrix: Annotated[
        str | None,
        typer.Option("--matrix", metavar="NUMBERS", help="16 numbers, rows first, from (column, row, 0, 1)."),
    ] = None,
    plus: Annotated[
        Path | None, typer.Option("--plus", metavar="XML", help="A PLUS configuration with Image to Probe.")
    ] = None,
    unit: Annotated[str, typer.Option("--unit", help=f"What the matrix gives: {' or '.join(UNITS)}.")] = "mm",
    orientation: Annotated[
        str | None,
        typer.Option("--orientation", help="Of the picture the matrix is for; UF as published, MF with --plus."),
    ] = None,
    source: Annotated[str, typer.Option("--from", help="With --plus: the transform's From.")] = "Image",
    target: Annotated[str, typer.Option("--to", help="Name of the tracked frame; with --plus, its To.")] = "Probe",
    name: Annotated[str | None, typer.Option("--name", help="Name for people; else that of the file.")] = None,
    frames: FramesOption = None,
    endpoint: ControlOption = None,
) -> None:
    """Bind a matrix to the geometry of the pictures that the daemon publishes now."""
    if (matrix is None) == (plus is None):
        raise Failure(USAGE, "calibration bind: give the matrix with either --matrix or --plus")
    if unit not in UNITS:
        raise Failure(USAGE, f"--unit: must be {' or '.join(UNITS)}; got {unit!r}")
    letters = orientation or ("UF" if plus is None else "MF")
    if letters not in ORIENTATIONS:
        raise Failure(USAGE, f"--orientation: must be one of {', '.join(ORIENTATIONS)}; got {letters!r}")
    if matrix is not None:
        given = matrix_of(_numbers(matrix), "--matrix")
    else:
        assert plus is not None
        given = _plus_matrix(plus, source, target)
    frame = next(_pictures(frames, endpoint))
    geometry = frame.header.geometry
    assert isinstance(geometry, ImageGeometry)
    matrix_mm = given if unit == "mm" else in_millimetres(given)
    matrix_m = image_to_probe_m(geometry, matrix_mm, letters)
    made = bind(name or file.stem, target, matrix_m, frame.header, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    made.save(file)
    put(f"{file}: {made.name}, bound to {made.probe}, {geometry.fingerprint}")


@calibration.command("show")
def show_calibration(file: File, as_json: JsonOption = False) -> None:
    """Print what a calibration file says; needs no daemon."""
    stored = load(file)
    if as_json:
        put_json(stored.document())
        return
    geometry = stored.geometry
    (rows, columns), (dz, dx) = geometry.shape, spacing_mm(geometry)
    put(f"name         {stored.name}")
    put(f"made         {stored.made_utc or 'not known'}")
    put(f"probe        {stored.probe}")
    put(f"target       {stored.target}")
    put(f"pictures     {columns} x {rows} pixels of {dx:g} x {dz:g} mm")
    put(f"geometry     {geometry.fingerprint}")
    put(f"transducer   {geometry.transducer}")
    put(f"speed        {geometry.sound_speed_m_s:g} m/s")
    put("matrix       (column, row, 0, 1) to metres:")
    for row in stored.image_to_target:
        put("             " + "  ".join(f"{number:12.9f}" for number in row))
    put("for PLUS     (pictures turned to MF, millimetres):")
    matrix_mm = image_to_probe_mm(geometry, stored.image_to_target)
    put(f"             {transform_element(matrix_mm, target=stored.target)}")


@calibration.command("check")
def check_calibration(
    file: File,
    frames: FramesOption = None,
    endpoint: ControlOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and tell every change, until Ctrl+C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say whether a calibration holds for what is published now: valid, rescaled, or void (exit code 1)."""
    stored = load(file)
    last: Judgement | None = None
    for frame in _pictures(frames, endpoint, None if watch else FRAME_TIMEOUT_S):
        judged = stored.judge(frame.header)
        if judged != last:
            _put_judgement(stored, frame, judged, as_json)
        last = judged
        if not watch:
            break
    if last is not None and last.state is CalibrationState.VOID:
        raise Failure(FAILED, f"{file}: does not hold for these pictures: {last.reason}")


def _put_judgement(stored: Calibration, frame: Frame, judged: Judgement, as_json: bool) -> None:
    if as_json:
        line = {
            "calibration": stored.name,
            "state": judged.state,
            "reason": judged.reason,
            "frame": frame.header.frame,
            "revision": frame.header.revision,
            "fingerprint": frame.header.geometry.fingerprint,
            "image_to_target": judged.image_to_target,
        }
        put(json.dumps(line))
    else:
        put(f"frame {frame.header.frame}: {judged.state} ({judged.reason})")


def _pictures(frames: str | None, endpoint: str | None, timeout_s: float | None = FRAME_TIMEOUT_S) -> Iterator[Frame]:
    """B-mode pictures of the daemon; NoAnswer when there is none."""
    where = frames or Environment.read().frames
    if where is None:
        with connect_alive(endpoint) as control:
            where = control.describe().frames[0]
    with Subscriber(where) as subscriber:
        for frame in subscriber.frames("bmode", latest=True, timeout_s=timeout_s):
            if isinstance(frame.header.geometry, ImageGeometry):
                yield frame


def _numbers(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _plus_matrix(path: Path, source: str, target: str) -> Matrix:
    """The matrix in millimetres of the transform between two frames in a PLUS configuration."""
    try:
        if path.stat().st_size > LARGEST_CONFIGURATION_BYTES:
            raise Failure(USAGE, f"{path}: too large for a PLUS configuration")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Failure(USAGE, f"{path}: {error.strerror}") from error
    if "<!" in text.replace("<!--", ""):
        raise Failure(USAGE, f"{path}: has a document type, which no PLUS configuration needs")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise Failure(USAGE, f"{path}: not XML ({error})") from error
    found = [item for item in root.iter("Transform") if (item.get("From"), item.get("To")) == (source, target)]
    if len(found) != 1:
        raise Failure(USAGE, f"{path}: has {len(found)} transforms From {source!r} To {target!r}; must have one")
    return matrix_of(_numbers(found[0].get("Matrix", "")), f"{path}: Transform {source} to {target}")

"""`sonod process`: the pipeline offline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from sonod.daemon.cli.failure import FAILED, USAGE, Failure
from sonod.daemon.cli.output import put
from sonod.daemon.cli.values import parse_changes
from sonod.daemon.core import AUTO, configure_core
from sonod.daemon.pipeline.options import FOCUSED, QUALITIES, ImageOptions
from sonod.daemon.process import PROCESS_OPTIONS, process_recording
from sonod.drivers.errors import DeviceNotFound


def process(
    recording: Annotated[Path, typer.Argument(metavar="IN.h5", help="A recording of format sonod-rf.")],
    out: Annotated[Path, typer.Option("--out", metavar="OUT.h5", help="Where the pictures go.")],
    png: Annotated[Path | None, typer.Option("--png", metavar="DIR", help="Also write each picture as PNG.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; may be repeated.")
    ] = None,
    iq: Annotated[bool, typer.Option("--iq", help="Also keep the beamformed baseband, for Doppler.")] = False,
    columns: Annotated[int, typer.Option(help="Columns of the picture; 0 = chosen.")] = 0,
    rows: Annotated[int, typer.Option(help="Rows of the picture; 0 = chosen.")] = 0,
    pixel_m: Annotated[float, typer.Option("--pixel-m", help="Pixel size in metres; 0 = chosen.")] = 0.0,
    quality: Annotated[str, typer.Option(help=f"Beamforming: {', '.join(QUALITIES)}.")] = PROCESS_OPTIONS.quality,
    focused: Annotated[
        str, typer.Option(help=f"What focused transmissions become: {', '.join(FOCUSED)}.")
    ] = PROCESS_OPTIONS.focused,
    threads: Annotated[int, typer.Option(help="Threads of the core; 0 = one for each processor core.")] = 0,
    instruction_set: Annotated[
        str, typer.Option("--instruction-set", help="Kernels to use; the results are the same.")
    ] = AUTO,
) -> None:
    """Run every frame of a recording through the pipeline, dropping none, and write the pictures."""
    try:
        options = ImageOptions(
            columns,
            rows,
            pixel_m,
            quality,
            focused,
            PROCESS_OPTIONS.usual_rows,
            PROCESS_OPTIONS.finest_row_wavelengths,
        )
    except ValueError as error:
        raise Failure(USAGE, str(error)) from error
    changes = parse_changes(settings or [])
    if threads < 0:
        raise Failure(USAGE, f"--threads: must be >= 0; got {threads}")
    configure_core(threads, instruction_set)
    if not recording.is_file():
        raise Failure(USAGE, f"{recording}: no such file; name a recording of format sonod-rf")
    if not out.parent.is_dir():
        raise Failure(USAGE, f"--out {out}: there is no folder {out.parent}; make it or name another")
    console = Console(stderr=True)
    try:
        with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("frames", total=None)
            done = process_recording(
                recording,
                out,
                changes=changes,
                options=options,
                png=png,
                iq=iq,
                progress=lambda frames, total: progress.update(task, completed=frames, total=total or None),
            )
    except DeviceNotFound as error:
        # The file is there: what is wrong is in what was asked of it.
        raise Failure(USAGE, str(error)) from error
    except OSError as error:
        raise Failure(FAILED, f"{out}: cannot be written ({error.strerror or error}); name another --out") from error
    rows_, columns_ = done.geometry.shape
    dz, dx = done.geometry.spacing_m
    put(
        f"{out}: {done.pictures} pictures of {rows_} x {columns_} pixels, {dz * 1e3:.4g} x {dx * 1e3:.4g} mm each, "
        f"from {done.frames} frames"
    )

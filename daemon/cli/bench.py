"""`sonod bench`: measure the core and the whole path."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from sonod.daemon.bench.common import PEERS, CommonResult, measure_common
from sonod.daemon.bench.core import CoreResult, measure_core
from sonod.daemon.bench.machine import this_machine
from sonod.daemon.bench.path import PathResult, measure_path
from sonod.daemon.bench.usb import KernelResult, StreamResult, measure_kernels, measure_stream
from sonod.daemon.cli.failure import USAGE, Failure
from sonod.daemon.cli.output import put, put_json, put_table
from sonod.daemon.cli.values import parse_changes
from sonod.daemon.core import AUTO, configure_core
from sonod.daemon.pipeline.options import QUALITIES, ImageOptions

# The picture: 256 columns, 512 rows, beamformed as they are.
STANDARD = ImageOptions(columns=256, rows=512)
# Case -> driver and picture of the core measurement.
CORE_CASES = {
    "linear": ("sim:", STANDARD),
    "linear-square": ("sim:", ImageOptions()),
    "curvilinear": ("sim:?probe=curvilinear", ImageOptions()),
    "phased": ("sim:?probe=phased", ImageOptions()),
}
# Delay and sum alone, as other beamformers are measured: case -> plane waves.
COMMON_CASES = {"common": 1, "common-11": 11}
PATH_CASE = "path"
USB_CASE = "usb"
# Messages of one transfer of 256 KiB, and shots of 128 channels.
ONE_TRANSFER, SHOT = (120, 1092), (128, 1536)
# (reader, MB/s, busy Python threads beside it, message): what a USB 3 front-end sends, and without transfers in flight.
USB_RUNS = (
    ("ring", 100.0, 1, ONE_TRANSFER),
    ("ring", 300.0, 1, ONE_TRANSFER),
    ("polled", 300.0, 1, ONE_TRANSFER),
    ("ring", 350.0, 0, SHOT),
)
CASES = (*CORE_CASES, *COMMON_CASES, PATH_CASE, USB_CASE)


def bench(
    case: Annotated[str, typer.Argument(metavar="[CASE]", help=f"One of {', '.join(CASES)}; none = all.")] = "",
    driver: Annotated[
        str | None, typer.Option("--driver", metavar="URI", help="Measure this driver instead of the case's.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long each measurement lasts.")] = 5.0,
    threads: Annotated[int, typer.Option(help="Threads of the core; 0 = one for each processor core.")] = 0,
    instruction_set: Annotated[str, typer.Option("--instruction-set", help="Kernels to measure.")] = AUTO,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; may be repeated.")
    ] = None,
    quality: Annotated[str, typer.Option(help=f"Beamforming: {', '.join(QUALITIES)}.")] = "default",
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="PEER", help=f"In the common cases also: {', '.join(PEERS)}; on one thread."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Measure the core (stage times, hot and paced at the frame rate) and the whole path through a daemon."""
    if case and case not in CASES:
        raise Failure(USAGE, f"case {case!r}: not known; there are {', '.join(CASES)}")
    if not 0.1 <= seconds <= 3600:
        raise Failure(USAGE, f"--seconds: must be in 0.1..3600; got {seconds:g}")
    if threads < 0:
        raise Failure(USAGE, f"--threads: must be >= 0; got {threads}")
    configure_core(threads, instruction_set)
    changes = parse_changes(settings or [])
    if quality not in QUALITIES:
        raise Failure(USAGE, f"--quality: must be one of {', '.join(QUALITIES)}; got {quality!r}")
    try:
        common = [
            result
            for name, transmits in COMMON_CASES.items()
            if case in ("", name)
            for result in measure_common(transmits, quality, tuple(against or ()), seconds)
        ]
    except ValueError as error:
        raise Failure(USAGE, str(error)) from error
    core = [
        measure_core(name, driver or uri, changes, replace(options, quality=quality), seconds)
        for name, (uri, options) in CORE_CASES.items()
        if case in ("", name)
    ]
    path = [measure_path(driver or "sim:", changes, STANDARD, seconds)] if case in ("", PATH_CASE) else []
    # Needs umockdev, so only when asked for by name.
    streams = [measure_stream(*run, seconds) for run in USB_RUNS] if case == USB_CASE else []
    kernels = measure_kernels() if case == USB_CASE else []
    machine = this_machine()
    if as_json:
        results: dict[str, Any] = {"machine": asdict(machine)}
        results["core"] = [{**asdict(result), "images_per_s": round(result.images_per_s, 1)} for result in core]
        results["common"] = [asdict(result) for result in common]
        results["path"] = [asdict(result) for result in path]
        results["usb"] = [asdict(result) for result in streams]
        results["kernels"] = [asdict(result) for result in kernels]
        put_json(results)
        return
    put(f"{machine.processor}, {machine.cores} cores, {machine.instruction_set}, {machine.threads} threads")
    if common:
        _common_table(common)
    if core:
        _core_table(core)
    for result in path:
        _path_lines(result)
    if streams:
        _usb_tables(streams, kernels)


def _common_table(results: list[CommonResult]) -> None:
    put_table(
        ("delay and sum", "plane waves", "set-up ms", "frame ms", "G active points/s", "x sonod", "likeness"),
        (
            (
                result.name,
                str(result.transmits),
                f"{result.set_up_ms:.0f}",
                f"{result.frame_ms:.2f}",
                f"{result.active_points_per_s / 1e9:.2f}",
                f"{result.ratio:.2f}",
                f"{result.likeness:.3f}",
            )
            for result in results
        ),
    )


def _core_table(results: list[CoreResult]) -> None:
    rows = []
    for result in results:
        stages = " ".join(f"{name} {value:.2f}" for name, value in result.hot.stages_ms.items())
        rows.append(
            (
                result.case,
                f"{result.transmits} x {result.channels} x {result.samples}",
                f"{result.pixels[0]} x {result.pixels[1]}",
                f"{result.plan_ms:.0f}",
                f"{result.hot.frame_ms:.2f}",
                f"{result.paced.frame_ms:.2f}",
                f"{result.paced.p99_ms:.2f}",
                f"{result.paced.cpu_ms:.2f}",
                stages,
            )
        )
    put_table(
        ("case", "raw frame", "pixels", "plan ms", "hot ms", "paced ms", "p99 ms", "cpu ms", "stages, hot, ms"), rows
    )


def _usb_tables(streams: list[StreamResult], kernels: list[KernelResult]) -> None:
    put_table(
        ("reader", "sent MB/s", "message", "busy threads", "received MB/s", "messages", "lost", "late", "overruns",
         "unaccounted", "out of order", "process ns/byte", "reader ns/byte", "stolen ms", "runs"),
        (
            (
                result.reader,
                f"{result.rate_mb_s:g}",
                f"{result.shot[0]} x {result.shot[1]}",
                str(result.busy_threads),
                f"{result.received_mb_s:.1f}",
                str(result.made),
                f"{result.lost} = {100 * result.lost / max(result.made, 1):.2f} %",
                str(result.late),
                str(result.overruns),
                str(result.unaccounted),
                str(result.out_of_order),
                f"{result.cpu_ns_byte:.2f}",
                f"{result.reader_ns_byte:.2f}",
                f"{result.stolen_ms:.0f}",
                str(result.attempts),
            )
            for result in streams
        ),
    )  # fmt: skip
    put_table(
        ("kernel", "GB/s", "x copy"),
        ((result.kernel, f"{result.gb_s:.1f}", f"{result.ratio:.2f}") for result in kernels),
    )


def _path_lines(result: PathResult) -> None:
    put()
    put(f"whole path, {result.driver}, {result.shape[0]} x {result.shape[1]} pixels, {result.seconds:g} s")
    put(f"  {result.frames_per_s:g} pictures/s, {result.missed} missed, {result.lost} lost in the daemon")
    put(f"  last byte to published  {result.processing_ms:.2f} ms, 99 % within {result.processing_p99_ms:.2f} ms")
    put(f"  published to received   {result.delivery_ms:.2f} ms, 99 % within {result.delivery_p99_ms:.2f} ms")
    put(f"  daemon: {result.daemon_cpu_percent:g} % of a core, {result.daemon_memory_mib:g} MiB")

"""`sonod bench`: measure the core and the whole path."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from sonod.cext.threads import set_thread_count, thread_count
from sonod.daemon.bench.adaptive import measure_adaptive
from sonod.daemon.bench.beamform import BeamformResult, PicturesDiffer, check_peers, measure_beamform
from sonod.daemon.bench.core import measure_core
from sonod.daemon.bench.delivery import measure_delivery
from sonod.daemon.bench.isolation import measure_isolation
from sonod.daemon.bench.lease import DRIVERS as LEASE_DRIVERS
from sonod.daemon.bench.lease import measure_lease
from sonod.daemon.bench.machine import this_machine
from sonod.daemon.bench.path import measure_path
from sonod.daemon.bench.peers import PEERS, PeerUnfit
from sonod.daemon.bench.recording import (
    measure_clip,
    measure_compression,
    measure_record,
)
from sonod.daemon.bench.shared import RATES_MB_S, measure_shared
from sonod.daemon.bench.simulator import (
    PEER,
    SCENES,
    ScatterersResult,
    SceneResult,
    measure_scatterers,
    measure_scene,
)
from sonod.daemon.bench.stage import measure_stages
from sonod.daemon.bench.start import measure_start
from sonod.daemon.bench.usb import measure_kernels, measure_stream
from sonod.daemon.bench.wire import measure_wire
from sonod.daemon.bench.work import WORKS
from sonod.daemon.cli import bench_tables
from sonod.daemon.cli.failure import FAILED, USAGE, Failure
from sonod.daemon.cli.output import put, put_json
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
STAGES_CASE = "stages"
ADAPTIVE_CASE = "adaptive"
WIRE_CASE = "wire"
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
SIMULATOR_CASE = "simulator"
DELIVERY_CASE, ISOLATION_CASE, SHARED_CASE, LEASE_CASE = "delivery", "isolation", "shared-memory", "lease"
RECORD_CASE, CLIP_CASE = "record", "clip"
START_CASE = "start"
ENDPOINTS = ("ipc", "tcp")
CASES = (
    *CORE_CASES,
    *WORKS,
    STAGES_CASE,
    ADAPTIVE_CASE,
    WIRE_CASE,
    PATH_CASE,
    SIMULATOR_CASE,
    DELIVERY_CASE,
    ISOLATION_CASE,
    SHARED_CASE,
    LEASE_CASE,
    RECORD_CASE,
    CLIP_CASE,
    START_CASE,
    USB_CASE,
)


def bench(
    case: Annotated[str, typer.Argument(metavar="[CASE]", help=f"One of {', '.join(CASES)}; none = all.")] = "",
    driver: Annotated[
        str | None, typer.Option("--driver", metavar="URI", help="Measure this driver instead of the case's.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long each measurement lasts.")] = 5.0,
    threads: Annotated[
        int,
        typer.Option(help="Threads of the core; 0 = one for each processor core; in the beamformer's cases also one."),
    ] = 0,
    instruction_set: Annotated[str, typer.Option("--instruction-set", help="Kernels to measure.")] = AUTO,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; may be repeated.")
    ] = None,
    quality: Annotated[str, typer.Option(help=f"Beamforming: {', '.join(QUALITIES)}.")] = "default",
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="PEERS",
            help=f"In the beamformer's cases also, on the same arrays: {', '.join(PEERS)}; several with | or commas. "
            f"In the simulator's case {PEER}: its SIMUS.",
        ),
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
    peers = tuple(dict.fromkeys(name for text in against or () for name in text.replace("|", ",").split(",") if name))
    counts = (threads,) if threads else tuple(dict.fromkeys((1, thread_count())))
    beamform: list[BeamformResult] = []
    notes: list[str] = []
    try:
        check_peers(peers)
        if case == SIMULATOR_CASE and set(peers) - {PEER}:
            raise PeerUnfit(f"the simulator is compared with {PEER} only")
        for name in WORKS:
            if case in ("", name):
                results, own_notes = measure_beamform(WORKS[name](), quality, peers, counts, seconds)
                beamform += results
                notes += own_notes
    except PeerUnfit as error:
        raise Failure(USAGE, f"--against: {error}") from error
    except PicturesDiffer as error:
        raise Failure(FAILED, str(error)) from error
    set_thread_count(counts[-1])
    core = [
        measure_core(name, driver or uri, changes, replace(options, quality=quality), seconds)
        for name, (uri, options) in CORE_CASES.items()
        if case in ("", name)
    ]
    path = [measure_path(driver or "sim:", changes, STANDARD, seconds)] if case in ("", PATH_CASE) else []
    # Minutes long, or about parts that the path has already: when asked for by name.
    delivery = [measure_delivery(seconds, endpoint) for endpoint in ENDPOINTS] if case == DELIVERY_CASE else []
    isolation = [measure_isolation(seconds, endpoint) for endpoint in ENDPOINTS] if case == ISOLATION_CASE else []
    shared = [measure_shared(rate, seconds) for rate in RATES_MB_S] if case == SHARED_CASE else []
    leases = [measure_lease(*run) for run in LEASE_DRIVERS] if case == LEASE_CASE else []
    # They need a disk and half a minute.
    record = measure_record(seconds) if case == RECORD_CASE else None
    compression = measure_compression(driver or "sim:") if case == RECORD_CASE else []
    clip = measure_clip() if case == CLIP_CASE else None
    start = measure_start(driver or "sim:") if case == START_CASE else None
    # Needs umockdev, so only when asked for by name.
    streams = [measure_stream(*run, seconds) for run in USB_RUNS] if case == USB_CASE else []
    kernels = measure_kernels() if case == USB_CASE else []
    stages = measure_stages() if case in ("", STAGES_CASE) else []
    adaptive = measure_adaptive(driver or "sim:", STANDARD, seconds) if case in ("", ADAPTIVE_CASE) else []
    wire = [measure_wire(seconds, quality=quality)] if case in ("", WIRE_CASE) else []
    scenes: list[SceneResult] = []
    scatterers: list[ScatterersResult] = []
    if case == SIMULATOR_CASE:
        uris = {driver: changes} if driver else {f"sim:{name}?paced=0": SCENES[name] | changes for name in SCENES}
        scenes = [measure_scene(uri, own, seconds) for uri, own in uris.items()]
        try:
            scatterers = measure_scatterers(counts, against_simus=PEER in peers)
        except PicturesDiffer as error:
            raise Failure(FAILED, str(error)) from error
    machine = this_machine(peers)
    if as_json:
        everything: dict[str, Any] = {"machine": asdict(machine)}
        everything["core"] = [{**asdict(result), "images_per_s": round(result.images_per_s, 1)} for result in core]
        everything["beamform"] = [asdict(result) for result in beamform]
        everything["adaptive"] = [asdict(result) for result in adaptive]
        everything["wire"] = [asdict(result) for result in wire]
        everything["notes"] = notes
        everything["stages"] = [asdict(result) for result in stages]
        everything["path"] = [asdict(result) for result in path]
        everything["delivery"] = [asdict(result) for result in delivery]
        everything["isolation"] = [
            {
                **asdict(result),
                "p99_change": round(result.p99_change, 3),
                "p99_change_beside": round(result.p99_change_beside, 3),
            }
            for result in isolation
        ]
        everything["shared_memory"] = [asdict(result) for result in shared]
        everything["lease"] = [asdict(result) for result in leases]
        everything["scenes"] = [asdict(result) for result in scenes]
        everything["scatterers"] = [asdict(result) for result in scatterers]
        everything["record"] = None if record is None else asdict(record)
        everything["compression"] = [asdict(result) for result in compression]
        everything["clip"] = None if clip is None else asdict(clip)
        everything["start"] = None if start is None else asdict(start)
        everything["usb"] = [asdict(result) for result in streams]
        everything["kernels"] = [asdict(result) for result in kernels]
        put_json(everything)
        return
    put(f"{machine.processor}, {machine.cores} cores, {machine.instruction_set}, {machine.threads} threads")
    if beamform:
        bench_tables.beamform_table(beamform)
    for note in notes:
        put(note)
    if stages:
        bench_tables.stage_table(stages)
    if adaptive:
        bench_tables.adaptive_table(adaptive)
    if core:
        bench_tables.core_table(core)
    if scenes:
        bench_tables.simulator_tables(scenes, scatterers)
    for wired in wire:
        bench_tables.wire_lines(wired)
    for result in path:
        bench_tables.path_lines(result)
    if delivery:
        bench_tables.delivery_table(delivery)
    for one in isolation:
        bench_tables.isolation_lines(one)
    if shared:
        bench_tables.shared_table(shared)
    if leases:
        bench_tables.lease_table(leases)
    if record is not None:
        bench_tables.record_lines(record, compression)
    if clip is not None:
        bench_tables.clip_lines(clip)
    if start is not None:
        bench_tables.start_lines(start)
    if streams:
        bench_tables.usb_tables(streams, kernels)

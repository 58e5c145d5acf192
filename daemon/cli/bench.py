"""`sonod bench`: measure the core and the whole path."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from sonod.cext.threads import set_thread_count, thread_count
from sonod.daemon.bench.adaptive import AdaptiveResult, measure_adaptive
from sonod.daemon.bench.beamform import BeamformResult, PicturesDiffer, check_peers, measure_beamform
from sonod.daemon.bench.core import CoreResult, measure_core
from sonod.daemon.bench.delivery import DeliveryResult, measure_delivery
from sonod.daemon.bench.isolation import IsolationResult, measure_isolation
from sonod.daemon.bench.lease import DRIVERS as LEASE_DRIVERS
from sonod.daemon.bench.lease import LeaseResult, measure_lease
from sonod.daemon.bench.machine import this_machine
from sonod.daemon.bench.path import PathResult, measure_path
from sonod.daemon.bench.peers import PEERS, PeerUnfit
from sonod.daemon.bench.recording import (
    ClipResult,
    CompressionResult,
    RecordResult,
    measure_clip,
    measure_compression,
    measure_record,
)
from sonod.daemon.bench.shared import RATES_MB_S, SharedResult, measure_shared
from sonod.daemon.bench.simulator import (
    PEER,
    SCENES,
    ScatterersResult,
    SceneResult,
    measure_scatterers,
    measure_scene,
)
from sonod.daemon.bench.stage import StageResult, measure_stages
from sonod.daemon.bench.start import StartResult, measure_start
from sonod.daemon.bench.usb import KernelResult, StreamResult, measure_kernels, measure_stream
from sonod.daemon.bench.wire import WireResult, measure_wire
from sonod.daemon.bench.work import WORKS
from sonod.daemon.cli.failure import FAILED, USAGE, Failure
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
        _beamform_table(beamform)
    for note in notes:
        put(note)
    if stages:
        _stage_table(stages)
    if adaptive:
        _adaptive_table(adaptive)
    if core:
        _core_table(core)
    if scenes:
        _simulator_tables(scenes, scatterers)
    for wired in wire:
        _wire_lines(wired)
    for result in path:
        _path_lines(result)
    if delivery:
        _delivery_table(delivery)
    for one in isolation:
        _isolation_lines(one)
    if shared:
        _shared_table(shared)
    if leases:
        _lease_table(leases)
    if record is not None:
        _record_lines(record, compression)
    if clip is not None:
        _clip_lines(clip)
    if start is not None:
        _start_lines(start)
    if streams:
        _usb_tables(streams, kernels)


def _beamform_table(results: list[BeamformResult]) -> None:
    put_table(
        ("work", "delay and sum", "threads", "set-up ms", "table MB", "hot ms", "paced ms", "G active points/s",
         "x sonod", "likeness"),
        (
            (
                result.work,
                result.name
                if result.measured_transmits == result.transmits
                else f"{result.name} ({result.measured_transmits} of {result.transmits} waves, scaled)",
                str(result.threads) if result.threads else "own",
                f"{result.set_up_ms:.0f}",
                f"{result.table_mb:.1f}" if result.table_mb else "",
                f"{result.frame_ms:.2f}",
                f"{result.paced_ms:.2f}" if result.paced_ms else "",
                f"{result.active_points_per_s / 1e9:.2f}",
                f"{result.ratio:.2f}",
                f"{result.likeness:.3f}",
            )
            for result in results
        ),
    )  # fmt: skip


def _stage_table(results: list[StageResult]) -> None:
    put_table(
        ("stage, one thread", "size", "cpu ms", "GB/s", "x copy"),
        (
            (result.stage, result.work, f"{result.cpu_ms:.3f}", f"{result.gb_s:.1f}", f"{result.copies:.1f}")
            for result in results
        ),
    )


def _adaptive_table(results: list[AdaptiveResult]) -> None:
    put_table(
        ("product", "plan ms", "raw frame to picture ms", "images/s", "x delay and sum"),
        (
            (
                result.product,
                f"{result.plan_ms:.0f}",
                f"{result.frame_ms:.2f}",
                f"{result.images_per_s:.0f}",
                f"{result.ratio:.2f}",
            )
            for result in results
        ),
    )


def _simulator_tables(scenes: list[SceneResult], scatterers: list[ScatterersResult]) -> None:
    put_table(
        ("scene", "raw frame", "simulate ms", "beamform ms", "both, frames/s", "both, cpu ms", "asked", "new depth s"),
        (
            (
                result.driver,
                f"{result.transmits} x {result.channels} x {result.samples}",
                f"{result.simulate_ms:.2f}",
                f"{result.beamform_ms:.2f}",
                f"{result.frames_per_s:.1f}",
                f"{result.cpu_ms:.1f}",
                f"{result.frame_rate_hz:g}",
                f"{result.background_s:.2f}",
            )
            for result in scenes
        ),
    )
    put_table(
        ("scatterers", "elements", "threads", "transmission ms", "cpu ms", "SIMUS s", "cpu s", "x sonod", "likeness"),
        (
            (
                str(result.scatterers),
                str(result.elements),
                str(result.threads),
                f"{result.transmit_ms:.1f}",
                f"{result.cpu_ms:.1f}",
                f"{result.simus_s:.1f}" if result.simus_s else "",
                f"{result.simus_cpu_s:.1f}" if result.simus_s else "",
                f"{result.ratio:.0f}" if result.simus_s else "",
                f"{result.likeness:.4f}" if result.simus_s else "",
            )
            for result in scatterers
        ),
    )


def _wire_lines(result: WireResult) -> None:
    put()
    put(f"wire speed, {result.transmits_a_picture} plane waves a picture, {result.seconds:g} s paced")
    put(f"  {result.offered_transmits_per_s:g} transmissions/s offered, {result.done_transmits_per_s:g} used")
    put(f"  {result.made} pictures of {result.sent} sent, {result.dropped} dropped; {result.cpu_percent:g} % of a core")
    put(f"  last byte to picture {result.latency_ms:.2f} ms, 99 % within {result.latency_p99_ms:.2f} ms")
    put(
        f"  hot: {result.hot_picture_ms:.2f} ms a picture = {result.sustainable_transmits_per_s:g} transmissions/s "
        f"= {result.sustainable_mb_s:g} MB/s; {result.cpu_ms_per_transmit:.2f} ms of processor time a transmission"
    )
    put(f"  stages, ms: {' '.join(f'{name} {value:.2f}' for name, value in result.stages_ms.items())}")


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
         "unaccounted", "out of order", "process ns/byte", "reader ns/byte", "stolen ms", "waited ms", "runs"),
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
                f"{result.waited_ms:.0f}",
                str(result.attempts),
            )
            for result in streams
        ),
    )  # fmt: skip
    put_table(
        ("kernel", "GB/s", "x copy"),
        ((result.kernel, f"{result.gb_s:.1f}", f"{result.ratio:.2f}") for result in kernels),
    )


def _delivery_table(results: list[DeliveryResult]) -> None:
    put("published to in hands, sonod beside a bare ZeroMQ pair with the same bytes, in turns")
    put_table(
        ("over", "bytes", "frames/s", "frames", "sonod ms", "p99 ms", "bare ms", "p99 ms", "x bare", "p99", "missed"),
        (
            (
                result.endpoint,
                str(result.payload_bytes),
                f"{result.rate_hz:g}",
                str(result.frames),
                f"{result.sonod_p50_ms:.3f}",
                f"{result.sonod_p99_ms:.3f}",
                f"{result.bare_p50_ms:.3f}",
                f"{result.bare_p99_ms:.3f}",
                f"{result.p50_ratio:.2f}",
                f"{result.p99_ratio:.2f}",
                str(result.missed),
            )
            for result in results
        ),
    )


def _isolation_lines(result: IsolationResult) -> None:
    put()
    put(f"isolation over {result.endpoint}: {result.seconds:g} s without, and as long with a stopped subscriber,")
    put(f"one that subscribes {result.subscriptions} times, and one that sends noise")
    if not result.flooded:
        put("  (it did not come to all of them: the machine is too busy for this measurement)")
    put(f"  published to received   {result.p50_before_ms:.3f} ms, 99 % within {result.p99_before_ms:.3f} ms before")
    put(f"                          {result.p50_during_ms:.3f} ms, 99 % within {result.p99_during_ms:.3f} ms with them")
    put(f"  beside, left alone      {result.p50_beside_ms:.3f} ms, 99 % within {result.p99_beside_ms:.3f} ms meanwhile")
    put(f"  99 %: {result.p99_change:+.0%} against before, {result.p99_change_beside:+.0%} against the one beside")
    put(f"  the good one: {result.frames_during} frames, {result.missed} missed; {result.lost} lost in the daemon")
    put(f"  daemon: {result.growth_mib:+.1f} MiB; cut: {result.cut_stalled} stalled, {result.cut_flooding} flooding")


def _shared_table(results: list[SharedResult]) -> None:
    put("raw frames through shared memory: copied in, copied out, header decoded")
    put_table(
        ("asked MB/s", "frame bytes", "written MB/s", "read MB/s", "written", "read", "lost", "age ms", "p99 ms"),
        (
            (
                f"{result.asked_mb_s:g}" if result.asked_mb_s else "all",
                str(result.payload_bytes),
                f"{result.written_mb_s:.1f}",
                f"{result.read_mb_s:.1f}",
                str(result.written),
                str(result.read),
                str(result.lost),
                f"{result.age_p50_ms:.3f}",
                f"{result.age_p99_ms:.3f}",
            )
            for result in results
        ),
    )


def _lease_table(results: list[LeaseResult]) -> None:
    put("from kill -9 of the lease's holder until the probe has stopped transmitting")
    put_table(
        ("driver", "settings", "kills", "median ms", "longest ms"),
        (
            (result.driver, result.settings, str(result.kills), f"{result.p50_ms:.1f}", f"{result.longest_ms:.1f}")
            for result in results
        ),
    )


def _record_lines(result: RecordResult, compression: list[CompressionResult]) -> None:
    put(f"recording, {result.frames} frames of {result.frame_bytes} bytes, here, forced to the disk at the end")
    put(f"  recorded {result.recorded_mb_s:g} MB/s, a plain file {result.disk_mb_s:g} MB/s: x {result.ratio:g}")
    put(f"  processor time of the process that writes {result.writer_ns_byte:g} ns/byte; complete: {result.complete}")
    put_table(
        ("compression, one thread, to memory", "smaller x", "MB/s", "cpu ns/byte"),
        ((one.filter, f"{one.ratio:g}", f"{one.mb_s:g}", f"{one.cpu_ns_byte:g}") for one in compression),
    )


def _clip_lines(result: ClipResult) -> None:
    put(f"clip of 10 s and 2 s more, at {result.rate_hz:g} images/s and {result.rf_mb_s:g} MB/s of RF")
    for name, images, missed, late_ms in (
        ("before", result.frames_before, result.missed_before, result.late_before_ms),
        ("while", result.frames_during, result.missed_during, result.late_during_ms),
    ):
        put(f"  {name:6} {images} images, {missed} missed, last byte to received 99 % within {late_ms:g} ms")
    put(
        f"  {result.clip_frames} raw frames and {result.clip_pictures} pictures, {result.clip_mb:g} MB, complete: "
        f"{result.clip_complete}"
    )
    put(f"  lost by the daemon {result.lost_by_daemon}; {result.saving_s:g} s from the request to the end")


def _path_lines(result: PathResult) -> None:
    put()
    put(f"whole path, {result.driver}, {result.shape[0]} x {result.shape[1]} pixels, {result.seconds:g} s")
    put(f"  {result.frames_per_s:g} pictures/s, {result.missed} missed, {result.lost} lost in the daemon")
    put(f"  last byte to published  {result.processing_ms:.2f} ms, 99 % within {result.processing_p99_ms:.2f} ms")
    put(f"  published to received   {result.delivery_ms:.2f} ms, 99 % within {result.delivery_p99_ms:.2f} ms")
    put(f"  daemon: {result.daemon_cpu_percent:g} % of a core, {result.daemon_memory_mib:g} MiB")


def _start_lines(result: StartResult) -> None:
    put()
    put(f"start of {result.driver}, from the process to the first picture in hand, {result.rounds} rounds")
    put(f"  {result.median_s:.2f} s, {result.shortest_s:.2f} to {result.longest_s:.2f}; the median round is made of")
    built = ", with a look whether it must be built again (editable installation)" if result.editable else ""
    put(f"  imports                      {result.imports_s:.2f} s{built}")
    put(f"  probe opened, plan made      {result.open_s:.2f} s")
    put(f"  first raw frame              {result.frame_s:.2f} s")
    put(f"  picture made and published   {result.picture_s:.2f} s")
    put(f"  received                     {result.received_s:.2f} s")

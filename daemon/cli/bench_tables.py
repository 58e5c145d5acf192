"""What `sonod bench` prints for people."""

from __future__ import annotations

from sonod.daemon.bench.adaptive import AdaptiveResult
from sonod.daemon.bench.beamform import BeamformResult
from sonod.daemon.bench.core import CoreResult
from sonod.daemon.bench.delivery import DeliveryResult
from sonod.daemon.bench.isolation import IsolationResult
from sonod.daemon.bench.lease import LeaseResult
from sonod.daemon.bench.path import PathResult
from sonod.daemon.bench.recording import (
    ClipResult,
    CompressionResult,
    RecordResult,
)
from sonod.daemon.bench.shared import SharedResult
from sonod.daemon.bench.simulator import (
    ScatterersResult,
    SceneResult,
)
from sonod.daemon.bench.stage import StageResult
from sonod.daemon.bench.start import StartResult
from sonod.daemon.bench.usb import KernelResult, StreamResult
from sonod.daemon.bench.wire import WireResult
from sonod.daemon.cli.output import put, put_table


def beamform_table(results: list[BeamformResult]) -> None:
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


def stage_table(results: list[StageResult]) -> None:
    put_table(
        ("stage, one thread", "size", "cpu ms", "GB/s", "x copy"),
        (
            (result.stage, result.work, f"{result.cpu_ms:.3f}", f"{result.gb_s:.1f}", f"{result.copies:.1f}")
            for result in results
        ),
    )


def adaptive_table(results: list[AdaptiveResult]) -> None:
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


def simulator_tables(scenes: list[SceneResult], scatterers: list[ScatterersResult]) -> None:
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


def wire_lines(result: WireResult) -> None:
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


def core_table(results: list[CoreResult]) -> None:
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


def usb_tables(streams: list[StreamResult], kernels: list[KernelResult]) -> None:
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


def delivery_table(results: list[DeliveryResult]) -> None:
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


def isolation_lines(result: IsolationResult) -> None:
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


def shared_table(results: list[SharedResult]) -> None:
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


def lease_table(results: list[LeaseResult]) -> None:
    put("from kill -9 of the lease's holder until the probe has stopped transmitting")
    put_table(
        ("driver", "settings", "kills", "median ms", "longest ms"),
        (
            (result.driver, result.settings, str(result.kills), f"{result.p50_ms:.1f}", f"{result.longest_ms:.1f}")
            for result in results
        ),
    )


def record_lines(result: RecordResult, compression: list[CompressionResult]) -> None:
    put(f"recording, {result.frames} frames of {result.frame_bytes} bytes, here, forced to the disk at the end")
    put(f"  recorded {result.recorded_mb_s:g} MB/s, a plain file {result.disk_mb_s:g} MB/s: x {result.ratio:g}")
    put(f"  processor time of the process that writes {result.writer_ns_byte:g} ns/byte; complete: {result.complete}")
    put_table(
        ("compression, one thread, to memory", "smaller x", "MB/s", "cpu ns/byte"),
        ((one.filter, f"{one.ratio:g}", f"{one.mb_s:g}", f"{one.cpu_ns_byte:g}") for one in compression),
    )


def clip_lines(result: ClipResult) -> None:
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


def path_lines(result: PathResult) -> None:
    put()
    put(f"whole path, {result.driver}, {result.shape[0]} x {result.shape[1]} pixels, {result.seconds:g} s")
    put(f"  {result.frames_per_s:g} pictures/s, {result.missed} missed, {result.lost} lost in the daemon")
    put(f"  last byte to published  {result.processing_ms:.2f} ms, 99 % within {result.processing_p99_ms:.2f} ms")
    put(f"  published to received   {result.delivery_ms:.2f} ms, 99 % within {result.delivery_p99_ms:.2f} ms")
    put(f"  daemon: {result.daemon_cpu_percent:g} % of a core, {result.daemon_memory_mib:g} MiB")


def start_lines(result: StartResult) -> None:
    put()
    put(f"start of {result.driver}, from the process to the first picture in hand, {result.rounds} rounds")
    put(f"  {result.median_s:.2f} s, {result.shortest_s:.2f} to {result.longest_s:.2f}; the median round is made of")
    built = ", with a look whether it must be built again (editable installation)" if result.editable else ""
    put(f"  imports                      {result.imports_s:.2f} s{built}")
    put(f"  probe opened, plan made      {result.open_s:.2f} s")
    put(f"  first raw frame              {result.frame_s:.2f} s")
    put(f"  picture made and published   {result.picture_s:.2f} s")
    put(f"  received                     {result.received_s:.2f} s")

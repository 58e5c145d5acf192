"""What the daemon counts, for Prometheus: http://HOST:PORT/metrics on an address of this machine.

Nothing is kept for it on the frame path; a scrape reads what the parts of the daemon count anyway. Names and meanings
are in docs/service.md, and a test compares.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from socketserver import TCPServer
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sonod import __version__
from sonod.daemon.commands import Services
from sonod.daemon.errors import EndpointError
from sonod.daemon.health import Health
from sonod.daemon.state import State
from sonod.daemon.subscriptions import PRODUCTS
from sonod.daemon.watchdog import Pulse

# One request is answered after the other; a client that does not go on is left after so long.
CLIENT_TIMEOUT_S = 2.0
QUANTILES = {"0.5": "p50_ns", "0.99": "p99_ns", "1": "max_ns"}
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class DaemonMetrics(Collector):
    """Reads the daemon at every scrape."""

    def __init__(
        self,
        services: Services,
        health: Callable[[], tuple[Health, str]],
        pulses: Iterable[Pulse],
    ) -> None:
        self._services = services
        self._health = health
        self._pulses = pulses

    def collect(self) -> Iterator[Metric]:
        yield from self._frames()
        yield from self._durations()
        yield from self._device()
        yield from self._consumers()
        yield from self._process()

    def _frames(self) -> Iterator[Metric]:
        services, now_ns = self._services, self._services.session.monotonic_ns()
        counters = services.driver.counters
        yield _counter("sonod_frames", "Raw frames acquired since the daemon began", services.reader.frame)
        yield _counter("sonod_frames_processed", "Frames made into products", services.runner.processed)
        lost = CounterMetricFamily("sonod_frames_lost", "Frames lost since the daemon began", labels=("cause",))
        for cause, count in (
            ("device", services.ring.device_lost),
            ("ring", services.ring.dropped),
            ("processing", services.runner.failed),
        ):
            lost.add_metric((cause,), count)
        yield lost
        yield _gauge("sonod_frame_rate_hertz", "Frames acquired a second, lately", services.reader.rate.hertz(now_ns))
        yield _gauge("sonod_device_bytes", "Bytes read since the device was opened", counters.bytes)
        yield _gauge("sonod_device_timeouts", "Reads without a frame since the device was opened", counters.timeouts)
        yield _gauge("sonod_device_errors", "Errors since the device was opened", counters.errors)
        link = GaugeMetricFamily(
            "sonod_device_link", "What went wrong between driver and device since it was opened", labels=("event",)
        )
        for event, count in asdict(services.driver.link_counters).items():
            link.add_metric((event,), count)
        yield link

    def _durations(self) -> Iterator[Metric]:
        latency = GaugeMetricFamily(
            "sonod_frame_latency_seconds",
            "Time between two entries of the frames' ledgers, newest frames",
            labels=("leg", "quantile"),
        )
        for leg, durations in self._services.publisher.ledger.block().items():
            for quantile, name in QUANTILES.items():
                latency.add_metric((leg, quantile), durations[name] / 1e9)
        yield latency
        total = CounterMetricFamily("sonod_stage_seconds", "Time spent in each stage", labels=("stage",))
        runs = CounterMetricFamily("sonod_stage_runs", "How often each stage ran", labels=("stage",))
        longest = GaugeMetricFamily("sonod_stage_longest_seconds", "Longest run of each stage", labels=("stage",))
        for stage, durations in self._services.runner.stages.block().items():
            total.add_metric((stage,), durations["mean_ns"] * durations["count"] / 1e9)
            runs.add_metric((stage,), durations["count"])
            longest.add_metric((stage,), durations["max_ns"] / 1e9)
        yield from (total, runs, longest)

    def _device(self) -> Iterator[Metric]:
        services = self._services
        state = GaugeMetricFamily("sonod_state", "1 for the state that the daemon is in", labels=("state",))
        for one in State:
            state.add_metric((one.value,), one is services.states.state)
        yield state
        now, _ = self._health()
        health = GaugeMetricFamily("sonod_health", "1 for the health that the daemon has", labels=("health",))
        for kind in Health:
            health.add_metric((kind.value,), kind is now)
        yield health
        yield _counter("sonod_device_losses", "How often the device was lost or failed", services.reader.recoveries)
        present = services.planner.present
        revision = 0 if present is None else present.settings.revision
        yield _gauge("sonod_settings_revision", "Revision of the settings in force", revision)
        if (temperature_c := services.driver.temperature_c) is not None:
            yield _gauge("sonod_device_temperature_celsius", "As the board reports it", temperature_c)
        info = GaugeMetricFamily("sonod_info", "Always 1", labels=("version", "driver", "serial", "session"))
        info.add_metric((__version__, services.driver.uri.text, services.driver.serial, services.session.id), 1)
        yield info

    def _consumers(self) -> Iterator[Metric]:
        services = self._services
        wanted = GaugeMetricFamily("sonod_product_wanted", "1 when somebody subscribes to it", labels=("product",))
        for product in PRODUCTS:
            wanted.add_metric((product,), product in services.publisher.wanted)
        yield wanted
        told = services.publisher.block()
        yield _gauge("sonod_subscriber_connections", "Connections of subscribers now", told["connections"])
        yield _counter("sonod_subscriber_accepted", "Connections of subscribers accepted", told["accepted"])
        ended = CounterMetricFamily("sonod_subscriber_ended", "Connections that the daemon ended", labels=("cause",))
        for cause in ("refused", "cut_stalled", "cut_flooding"):
            ended.add_metric((cause,), told[cause])
        yield ended
        messages = CounterMetricFamily("sonod_stream_messages", "Messages handed to the socket", labels=("stream",))
        skipped = CounterMetricFamily("sonod_stream_skipped", "Frames that the variant leaves out", labels=("stream",))
        dropped = CounterMetricFamily("sonod_stream_dropped", "Frames lost before the socket", labels=("stream",))
        for stream, counts in told["streams"].items():
            messages.add_metric((stream,), counts["messages"])
            skipped.add_metric((stream,), counts["skipped"])
            dropped.add_metric((stream,), counts["dropped"])
        yield from (messages, skipped, dropped)
        yield _gauge("sonod_recording", "1 while raw frames are recorded", services.recorder.path is not None)
        yield _counter(
            "sonod_unrecorded_frames",
            "Frames that came during recordings and are not in their files",
            services.recorder.unrecorded,
        )
        cine = services.cine.block()
        held = GaugeMetricFamily("sonod_cine_frames", "Frames held for clips", labels=("ring",))
        for ring in ("rf", "image"):
            held.add_metric((ring,), cine[f"{ring}_frames"])
        yield held

    def _process(self) -> Iterator[Metric]:
        now_ns = self._services.session.monotonic_ns()
        silence = GaugeMetricFamily(
            "sonod_thread_silence_seconds", "Since the thread's loop last turned", labels=("thread",)
        )
        for pulse in self._pulses:
            silence.add_metric((pulse.name,), max(0, now_ns - pulse.last_ns) / 1e9)
        yield silence
        resident, descriptors = resident_bytes(), open_descriptors()
        yield _gauge("process_resident_memory_bytes", "Memory in RAM", resident)
        yield _gauge("process_open_fds", "Open files and sockets", descriptors)
        used = os.times()
        yield _counter("process_cpu_seconds", "Processor time used", used.user + used.system)


class MetricsServer:
    """Serves the metrics on a thread of its own from `start` to `leave`; EndpointError when the port cannot be had."""

    def __init__(self, host: str, port: int, collector: Collector) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(collector)
        server_class = _Server6 if ":" in host else _Server
        try:
            self._server = make_server(host, port, make_wsgi_app(registry), server_class, _Handler)
        except OSError as error:
            raise EndpointError(
                f"metrics: cannot listen on {host}:{port} ({error.strerror}); choose another metrics.port, 0 for any"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}/metrics"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="sonod-metrics")

    def start(self) -> None:
        self._thread.start()

    def leave(self, timeout_s: float) -> bool:
        """End the thread; False when that took longer than allowed."""
        if self._thread.ident is not None:
            threading.Thread(target=self._server.shutdown, name="metrics-end", daemon=True).start()
            self._thread.join(timeout_s)
        self._server.server_close()
        return not self._thread.is_alive()


class _Server(WSGIServer):
    allow_reuse_address = True

    def server_bind(self) -> None:
        # Not as the base class, which asks the name service who we are.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away or sent nonsense is its own affair."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = CLIENT_TIMEOUT_S

    def log_message(self, format: str, *arguments: object) -> None:
        """Not one line a scrape."""


def resident_bytes() -> int:
    """Memory of this process in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _counter(name: str, meaning: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, meaning, value=value)


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value=value)

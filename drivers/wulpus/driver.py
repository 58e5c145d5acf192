"""The driver behind `wulpus:`: WULPUS and WULPUS PRO through their dongle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.base import Uri
from sonod.drivers.directivity import scanned_f_number
from sonod.drivers.errors import DriverTimeout, SettingsRefused
from sonod.drivers.frame import Acquisition, Configuration, DataKind, SampleFormat, Slot
from sonod.drivers.link_counters import LinkCounters
from sonod.drivers.options import choice_option, number_option, whole_option
from sonod.drivers.pacing import Clock
from sonod.drivers.probe import Probe
from sonod.drivers.serial_board import COMMON_OPTIONS, SerialBoard, device_knob
from sonod.drivers.settings import KNOBS, Knob, Settings
from sonod.drivers.transports.byte_port import BytePort, Identity
from sonod.drivers.wulpus import protocol
from sonod.drivers.wulpus.protocol import Board, Package, Times, TxRx
from sonod.drivers.wulpus.scheme import SCHEMES, sequence_of, settings_of
from sonod.drivers.wulpus.shot_stream import ShotStream

if TYPE_CHECKING:
    from sonod.drivers.emulated.device import EmulatedDevice

USB_IDS = ((0x1915, 0x521A),)
# Nordic's stock example has the same id; this is what the dongle's firmware calls itself.
PRODUCT = "nRF52 USB CDC BLE Demo"
SOUND_SPEED_M_S = 1540.0
# A probe of unknown state may be in the middle of its longest period before it looks at a restart.
UNKNOWN_PERIOD_S = 2.5
# The radio link delivers what it still holds within this time.
LINK_S = 0.1
# Without a frame for this long after its period, the configuration was lost on the radio or no probe is connected.
CONNECTION_S = 3.0
# The envelope of an echo peaks about this many periods after it begins: a short burst of a broad-band element.
PULSE_DELAY_PERIODS = 1.7
# Converter: 12 bits, two's complement.
FULL_SCALE = 2048


@dataclass(frozen=True)
class _Plan:
    package: bytes
    shots: int
    period_s: float


class WulpusDriver(SerialBoard):
    """Eight (sixteen) multiplexed channels at 8 million samples a second: synthetic aperture, or M-mode.

    `start` sends the configuration, which makes the probe fire; `stop` sends the restart package, which ends that.
    """

    summary = "WULPUS or WULPUS PRO wearable probe through its USB dongle: B-mode by synthetic aperture, or M-mode"
    uri_form = (
        "wulpus:SERIAL|/dev/ttyACMn?board=wulpus|pro&sequence=synthetic|plane|line&txrx=0-0,1-1&pulses=N&"
        "sampling=8|4|2|1|0.5&probe=FILE&emulated=1"
    )
    needs = "the dongle on USB and a probe that it connects to; only tried on emulated boards"
    usb_ids = USB_IDS
    baud = 4_000_000

    def __init__(self, uri: Uri | str, clock: Clock | None = None, backend: Any = None) -> None:
        super().__init__(uri, clock, backend)
        own = ("board", "sequence", "txrx", "pulses", "sampling", "sampling_start_us", "converter_on_us")
        self.uri.reject_unknown((*COMMON_OPTIONS, *own))
        self._kind = Board(choice_option(self.uri, "board", "wulpus", [board.value for board in Board]))
        self._scheme = choice_option(self.uri, "sequence", "synthetic", SCHEMES)
        self._pulses = whole_option(self.uri, "pulses", 2, 0, protocol.MOST_PULSES)
        rates = {f"{rate / 1e6:g}": index for index, rate in enumerate(protocol.SAMPLING_HZ)}
        self._oversampling = rates[choice_option(self.uri, "sampling", "8", list(rates))]
        # Samples may begin at the pulse itself or up to some way after it.
        start_us = number_option(self.uri, "sampling_start_us", 503.0, 500.0, 2000.0)
        self._times = Times(sampling_us=start_us)
        self._converter_on_us = whole_option(self.uri, "converter_on_us", 195300, 0, 2_000_000)
        self._settings: tuple[TxRx, ...] = ()
        self._stream: ShotStream | None = None
        self._plan: _Plan | None = None
        self._period_s = UNKNOWN_PERIOD_S
        self._running = False
        self._sent_ns = 0
        self._heard = False
        # The image that is being put together, which may take longer than one call, and when its first byte came.
        self._image: NDArray[np.int16] = np.zeros((0, 1, 0), np.int16)
        self._first_ns = 0

    @property
    def probe(self) -> Probe:
        return sequence_of(self._settings, self._opened.probe, 0.0)[0]

    @property
    def link_counters(self) -> LinkCounters:
        stream, port = self._stream, self._port
        return stream.counters.link(port.failures, port.halts) if stream and port else LinkCounters()

    @property
    def stream(self) -> ShotStream:
        """Where the counters of the byte stream are; only while open."""
        assert self._stream is not None
        return self._stream

    def _make_emulated(self) -> EmulatedDevice:
        from sonod.drivers.emulated.wulpus import Wulpus, WulpusPro

        return (WulpusPro if self._kind is Board.PRO else Wulpus)(clock=self._clock)

    def _open(self) -> None:
        file = "wulpus-pro" if self._kind is Board.PRO else "wulpus"
        self._open_board(file, USB_IDS, "wulpus", _is_dongle)
        try:
            self._settings = settings_of(self._scheme, self.uri.options.get("txrx", ""), self._opened.probe, self._kind)
        except BaseException:
            self._close()
            raise

    def _identify(self, port: BytePort) -> None:
        """There is no question that the dongle answers: nothing more is known before the first frame.

        A probe that still fires for a client that died is told to stop here; `start` waits until it has.
        """
        port.set_dtr(False)
        # Dropping DTR throws away the part of a package that a dead client has left in the dongle.
        port.set_dtr(True)
        port.write(protocol.restart_package(self._kind))
        self._period_s = UNKNOWN_PERIOD_S
        self._sent_ns = self._clock.now_ns()
        self._stream = ShotStream(port)

    def _close(self) -> None:
        self._stream = None
        self._running = False
        super()._close()

    def _knobs(self) -> Mapping[str, Knob]:
        file, shots = self._opened, len(self._settings)
        sampling_hz = protocol.SAMPLING_HZ[self._oversampling]
        deepest = (self._times.first_sample_s + self._kind.usable_samples / sampling_hz) * SOUND_SPEED_M_S / 2
        knobs = {
            "depth_m": KNOBS["depth_m"].narrowed(maximum=round(deepest, 4), default=min(round(deepest, 4), 0.3)),
            "transmit_frequency_hz": device_knob(file, "transmit_frequency_hz", 0.1e6, self._kind.largest_pulse_hz),
            "gain_db": device_knob(
                file,
                "gain_db",
                protocol.GAINS_DB[0],
                protocol.GAINS_DB[-1],
                description="Gain of the programmable amplifier; the nearest of its 47 steps is used",
            ),
            "frame_rate_hz": KNOBS["frame_rate_hz"].on_device(
                minimum=1 / (protocol.LONGEST_PERIOD_S * shots),
                maximum=1 / (protocol.SHORTEST_PERIOD_S * shots),
                default=1 / (protocol.SHORTEST_PERIOD_S * shots),
                step=0.05,
            ),
        }
        if shots > 1:
            f_number = scanned_f_number(self._opened.probe, SOUND_SPEED_M_S)
            knobs["f_number"] = KNOBS["f_number"].narrowed(default=f_number)
        return knobs

    def _prepare(self, settings: Settings) -> Configuration:
        shots = len(self._settings)
        period_s = min(max(1 / (settings.frame_rate_hz * shots), protocol.SHORTEST_PERIOD_S), protocol.LONGEST_PERIOD_S)
        try:
            package = Package(
                settings=self._settings,
                board=self._kind,
                pulse_hz=settings.transmit_frequency_hz,
                pulses=self._pulses,
                period_s=period_s,
                gain_register=protocol.gain_register(settings.gain_db),
                oversampling=self._oversampling,
                transducer_hz=settings.transmit_frequency_hz,
                converter_on_us=min(self._converter_on_us, round(period_s * 1e6)),
                times=self._times,
            )
        except ValueError as error:
            raise SettingsRefused([str(error)]) from error
        probe, sequence = sequence_of(self._settings, self._opened.probe, self._times.first_sample_s)
        acquisition = Acquisition(
            probe=probe,
            sequence=sequence,
            kind=DataKind.CHANNEL,
            sample_format=SampleFormat.RF,
            shape=(shots, 1, self._kind.usable_samples),
            dtype=np.dtype(np.int16),
            sampling_hz=package.sampling_hz,
            sound_speed_m_s=SOUND_SPEED_M_S,
            center_frequency_hz=settings.transmit_frequency_hz,
            pulse_delay_s=PULSE_DELAY_PERIODS / settings.transmit_frequency_hz,
            sample_scale=1 / FULL_SCALE,
            sample_unit="full scale",
            slow_time=shots == 1,
        )
        return Configuration(settings, acquisition, _Plan(package.encode(), shots, period_s))

    def _apply(self, configuration: Configuration) -> None:
        plan = configuration.detail
        assert isinstance(plan, _Plan)
        previous, self._plan = self._plan, plan
        if self._image.shape != configuration.acquisition.shape:
            self._image = np.zeros(configuration.acquisition.shape, np.int16)
        if self._running and (previous is None or plan.package != previous.package):
            self._halt()
            self._configure()

    def _start(self) -> None:
        self._configure()
        self._running = True

    def _stop(self) -> None:
        self._running = False
        self._halt()

    def _read_into(self, slot: Slot, timeout_s: float) -> None:
        plan, stream = self._plan, self.stream
        assert plan is not None
        clock = self._clock
        deadline_ns = clock.now_ns() + int(timeout_s * 1e9)
        samples = slot.data.shape[2]
        while True:
            shot = stream.next(deadline_ns if self._heard else min(deadline_ns, self._silence_ends_ns(plan)))
            if shot is None:
                self._check_connection(plan)
                if clock.now_ns() < deadline_ns:
                    continue
                raise DriverTimeout(f"{self.uri.text}: no frame within {timeout_s:g} s")
            self._heard = True
            place = stream.place(shot)
            if place is None:
                continue
            self._image[place, 0] = stream.samples[:samples]
            if place == 0:
                self._first_ns = stream.first_byte_ns
            if place == plan.shots - 1:
                break
        np.copyto(slot.data, self._image)
        slot.first_byte_ns = self._first_ns
        slot.last_byte_ns = clock.now_ns()
        slot.device_ticks = stream.shot_number
        slot.lost = stream.lost_images()

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _configure(self) -> None:
        """Make the probe fire, once it has certainly stopped: nothing on the wire confirms either."""
        plan = self._plan
        assert plan is not None
        ready_ns = self._sent_ns + int((self._period_s + LINK_S) * 1e9)
        self.stream.drain(ready_ns)
        self.stream.begin(plan.shots)
        self.port.write(plan.package)
        self._sent_ns = self._clock.now_ns()
        self._period_s = plan.period_s
        self._heard = False

    def _halt(self) -> None:
        """The probe looks at this at the end of a shot."""
        self.port.write(protocol.restart_package(self._kind))
        self._sent_ns = self._clock.now_ns()

    def _check_connection(self, plan: _Plan) -> None:
        """A configuration that was sent while no probe was connected is lost in silence: send it again."""
        if not self._heard and self._clock.now_ns() >= self._silence_ends_ns(plan):
            self.stream.begin(plan.shots)
            self.port.write(plan.package)
            self._sent_ns = self._clock.now_ns()

    def _silence_ends_ns(self, plan: _Plan) -> int:
        """When nothing heard means that the configuration was lost."""
        return self._sent_ns + int((plan.period_s + CONNECTION_S) * 1e9)


def _is_dongle(identity: Identity) -> bool:
    return identity.product == PRODUCT

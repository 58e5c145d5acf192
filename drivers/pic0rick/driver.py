"""The drivers behind `pic0rick:` and `ultr4rick:`: find the board, learn its firmware, and hand over to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sonod.drivers.base import Uri
from sonod.drivers.errors import DeviceNotFound, DriverError, ProtocolError
from sonod.drivers.frame import Configuration, Slot
from sonod.drivers.link_counters import LinkCounters
from sonod.drivers.options import choice_option
from sonod.drivers.pacing import Clock
from sonod.drivers.pic0rick import console, p0rk
from sonod.drivers.pic0rick.binary_firmware import BinaryFirmware, ask
from sonod.drivers.pic0rick.console_firmware import ConsoleFirmware
from sonod.drivers.pic0rick.frame_stream import FrameStream
from sonod.drivers.serial_board import COMMON_OPTIONS, SerialBoard
from sonod.drivers.settings import Knob, Settings
from sonod.drivers.sweep import PassCollector, Sweep
from sonod.drivers.transports.byte_port import ByteBuffer, BytePort, Identity

if TYPE_CHECKING:
    from sonod.drivers.emulated.device import EmulatedDevice
    from sonod.drivers.emulated.p0rk import P0rkBoard
    from sonod.drivers.emulated.pic0rick import Pic0rick

# Any Pico project has the first two; the last is an example id that ultr4rick uses too.
TEXT_IDS = ((0x2E8A, 0x000A), (0x2E8A, 0x0009))
BINARY_IDS = ((0xCAFE, 0x4011),)
# The text firmware initialises for 0.4 s after DTR; a stream may still be running for 2 s of a stalled frame.
ANSWER_S = 3.0
# Once something has come, silence this long ends the answer.
QUIET_S = 0.15


class Pic0rickDriver(SerialBoard):
    """One pulse-echo channel at 60 million samples a second, under either firmware."""

    summary = "pic0rick pulse-echo board, text or P0RK firmware: A-mode and M-mode of one element"
    uri_form = (
        "pic0rick:SERIAL|/dev/ttyACMn?data=raw|envelope|alaw&damping_ns=NS&listen=1&sweep=SWEEP&probe=FILE&emulated=1"
    )
    needs = "the board on USB; only tried on emulated boards"
    usb_ids: tuple[tuple[int, int], ...] = (*TEXT_IDS, *BINARY_IDS)
    # The name that a binary firmware calls itself by, and that its product string begins with.
    board_name = "pic0rick"

    def __init__(self, uri: Uri | str, clock: Clock | None = None, backend: Any = None) -> None:
        super().__init__(uri, clock, backend)
        self.uri.reject_unknown((*COMMON_OPTIONS, "data", "damping_ns", "listen", "scale", "firmware", "sweep"))
        self._emulated_firmware = choice_option(self.uri, "firmware", "", ("", "text", "binary"))
        self._firmware: ConsoleFirmware | BinaryFirmware | None = None
        # With a sweep, shots are read one by one and delivered as the lines of a pass.
        self._sweep = Sweep.from_uri(self.uri)
        self._collector: PassCollector | None = None
        self._shot = Slot(0)

    @property
    def firmware(self) -> str:
        return self._firmware.name if self._firmware is not None else ""

    @property
    def link_counters(self) -> LinkCounters:
        firmware, port = self._firmware, self._port
        return firmware.counters.link(port.failures, port.halts) if firmware and port else LinkCounters()

    @property
    def running_firmware(self) -> ConsoleFirmware | BinaryFirmware:
        """The firmware found; DriverError before `open`. It has the counters of the byte stream."""
        if self._firmware is None:
            raise DriverError(f"{self.uri.text}: must be open, is {self.state}")
        return self._firmware

    def _make_emulated(self) -> EmulatedDevice:
        from sonod.drivers.emulated.p0rk import P0rkBoard
        from sonod.drivers.emulated.pic0rick import Pic0rick

        binary = self._emulated_firmware == "binary"
        return self._moved(P0rkBoard(clock=self._clock) if binary else Pic0rick(clock=self._clock))

    def _moved(self, board: P0rkBoard | Pic0rick) -> EmulatedDevice:
        """The emulated transducer moves as the sweep says."""
        board.front_end.sweep = self._sweep
        return board

    def _open(self) -> None:
        self._open_board(self.board_name, self.usb_ids, self.board_name, self._is_ours)

    def _is_ours(self, identity: Identity) -> bool:
        text = identity.product.lower()
        return text == "pico" or text.startswith(self.board_name)

    def _identify(self, port: BytePort) -> None:
        """Ask both firmwares to stop: one refuses the command and shows its prompt, the other confirms."""
        port.write(b"\nstream stop\n")
        buffer = ByteBuffer(port, 2 * p0rk.LONGEST_FRAME)
        deadline_ns = port.clock.now_ns() + int(ANSWER_S * 1e9)
        while buffer.more(deadline_ns):
            if buffer.data.find(b"stream stop\r\n", 0, buffer.length) >= 0 and buffer.data.endswith(
                console.PROMPT, 0, buffer.length
            ):
                buffer.drain(QUIET_S, 1.0)
                self._require_firmware("text")
                self._firmware = ConsoleFirmware(self.uri, port, self._opened)
                return
            if buffer.data.find(b"OK stream ", 0, buffer.length) >= 0:
                buffer.drain(QUIET_S, 1.0)
                self._require_firmware("binary")
                self._identify_binary(port)
                return
            if buffer.length > p0rk.LONGEST_FRAME:
                buffer.take(buffer.length - p0rk.HEADER_BYTES)
        raise ProtocolError(
            f"{port.identity.place}: answers neither with the prompt of the text firmware nor as the binary one does; "
            "is it another project's board?"
        )

    def _identify_binary(self, port: BytePort) -> None:
        stream = FrameStream(port)
        status = p0rk.parse_status(ask(port, stream, "status"))
        if status.board != self.board_name:
            raise DeviceNotFound(f"{port.identity.place}: is a {status.board}; use the driver {status.board}:")
        self._firmware = BinaryFirmware(self.uri, port, self._opened, stream, status)

    def _require_firmware(self, found: str) -> None:
        wanted = self._emulated_firmware
        if wanted and wanted != found:
            raise DeviceNotFound(f"driver URI {self.uri.text!r}: firmware={wanted}, but the board runs the {found} one")

    def _close(self) -> None:
        self._firmware = None
        super()._close()

    def _knobs(self) -> Mapping[str, Knob]:
        knobs = dict(self.running_firmware.knobs())
        if self._sweep is not None:
            lines, rate = self._sweep.line_count, knobs["frame_rate_hz"]
            assert isinstance(rate.default, float)
            knobs["frame_rate_hz"] = rate.narrowed(
                minimum=rate.minimum / lines, maximum=rate.maximum / lines, default=rate.default / lines, step=0.01
            )
        return knobs

    def _prepare(self, settings: Settings) -> Configuration:
        if self._sweep is None:
            return self.running_firmware.prepare(settings)
        faster = replace(settings, frame_rate_hz=settings.frame_rate_hz * self._sweep.line_count)
        single = self.running_firmware.prepare(faster)
        return Configuration(settings, self._sweep.acquisition(single.acquisition), single)

    def _apply(self, configuration: Configuration) -> None:
        if self._sweep is None:
            self.running_firmware.apply(configuration)
            return
        single = configuration.detail
        assert isinstance(single, Configuration)
        self.running_firmware.apply(single)
        self._shot.prepare(single)
        self._begin_pass(single)

    def _start(self) -> None:
        if self._shot.configuration is not None:
            self._begin_pass(self._shot.configuration)
        self.running_firmware.start()

    def _stop(self) -> None:
        self.running_firmware.stop()

    def _read_into(self, slot: Slot, timeout_s: float) -> None:
        if self._collector is None:
            self.running_firmware.read_into(slot, timeout_s)
            return
        clock, shot = self._clock, self._shot
        deadline_ns = clock.now_ns() + int(timeout_s * 1e9)
        while True:
            shot.lost = 0
            self.running_firmware.read_into(shot, max((deadline_ns - clock.now_ns()) / 1e9, 0.0))
            first_ns = self._collector.first_byte_ns or shot.first_byte_ns
            lost = self._collector.add(shot.data[0, 0], shot.lost, shot.first_byte_ns, slot.data[0])
            if lost >= 0:
                slot.lost = lost
                slot.device_ticks = shot.device_ticks
                slot.first_byte_ns = first_ns
                slot.last_byte_ns = shot.last_byte_ns
                return

    def _begin_pass(self, single: Configuration) -> None:
        """The movement is taken to begin a pass now."""
        assert self._sweep is not None
        self._collector = PassCollector(self._sweep, single.acquisition)
        if self.board is not None:
            self._moved(self.board)  # type: ignore[arg-type]


class Ultr4rickDriver(Pic0rickDriver):
    """The successor: the binary protocol under another name; pre-release hardware."""

    summary = "ultr4rick pulse-echo board, U4RK firmware: A-mode and M-mode of one element"
    uri_form = "ultr4rick:SERIAL|/dev/ttyACMn?data=raw|envelope|alaw&damping_ns=NS&listen=1&probe=FILE&emulated=1"
    usb_ids = BINARY_IDS
    board_name = "ultr4rick"

    def _make_emulated(self) -> EmulatedDevice:
        from sonod.drivers.emulated.p0rk import Ultr4rickBoard

        return self._moved(Ultr4rickBoard(clock=self._clock))

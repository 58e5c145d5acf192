"""An Interson probe of the first generation: registers, motor, and B-mode vectors that do not wait for anybody.

The register map and the stream are those of drivers/interson; strings, buffer and the scale of the echoes are invented,
since nobody has published them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.emulated.description import Description, Endpoint, Interface, Speed
from sonod.drivers.emulated.device import EmulatedDevice, Setup, Stall
from sonod.drivers.emulated.scene import Scene, add_echoes, echo_pulse, phantom
from sonod.drivers.interson import protocol
from sonod.drivers.interson.protocol import FRAME_BYTES, VECTOR_BYTES, VECTORS, Register
from sonod.drivers.pacing import Clock

PACKET_BYTES = 512
FPGA_VERSION = 7
SOUND_SPEED_M_S = 1540.0
# What the probe holds for a host that does not read; beyond that, bytes are lost.
FIFO_BYTES = 128 * 1024
# Full scale of the 8 bits, above the weakest level shown.
DYNAMIC_RANGE_DB = 70.0
WHITE_DB = -6.0
NOISE = 3e-4
# The probe compensates the usual attenuation at its usual frequency by itself.
COMPENSATION_DB_PER_M = 300.0
# A glitch: so many bytes are lost at this place in a frame.
GLITCH_PLACE = FRAME_BYTES // 2 + 300
GLITCH_BYTES = 100
APERTURE_M = 0.012
# Lines this near to the moving reflector hear it.
REACH_RAD = 0.15


class EmulatedInterson(EmulatedDevice):
    """The geometry is that of the driver's options, so that its picture has the right shape."""

    def __init__(
        self,
        serial: str = "EMU00001",
        clock: Clock | None = None,
        *,
        sector_rad: float = math.radians(60),
        radius_m: float = 0.01,
        range_m: float = 0.105,
        seed: int = 1,
    ) -> None:
        super().__init__(
            Description(
                protocol.VENDOR_ID,
                protocol.PRODUCT_ID,
                (Interface(0, 0xFF, 0, 0, (Endpoint(protocol.ENDPOINT, PACKET_BYTES),)),),
                manufacturer="Interson",
                product="GP 3.5 (emulated)",
                serial=serial,
                speed=Speed.HIGH,
            ),
            clock,
            seed,
        )
        self._geometry = _Geometry(sector_rad, radius_m, range_m / VECTOR_BYTES, seed)
        self._random = np.random.default_rng(seed)
        self._tile = self._random.standard_normal(FRAME_BYTES * 2, np.float32)
        self._born_ns = self.clock.now_ns()
        # The frame that has a glitch, or -1.
        self._glitch = -1
        self._power_on()

    @property
    def scene(self) -> Scene:
        """What is in front of the probe."""
        return self._geometry.scene

    @property
    def transmitting(self) -> bool:
        """Whether high voltage is on and pulses are sent."""
        return bool(self._registers[Register.MODE] and self._registers[Register.HIGH_VOLTAGE])

    @property
    def turning(self) -> bool:
        return bool(self._registers[Register.MOTOR])

    def reset(self) -> None:
        self._power_on()

    def _power_on(self) -> None:
        self._registers: dict[int, int] = {int(register): 0 for register in Register}
        # By how much the frame numbers are ahead of the frames made since the start.
        self._ahead = 0
        self._stop_stream()

    # -- USB -----------------------------------------------------------------------------------------------------------

    def control(self, setup: Setup, data: bytes) -> bytes:
        if setup.request_type == protocol.OUT and setup.request == protocol.REGISTER and len(data) == 1:
            self._write(setup.value, data[0])
            return b""
        if setup.request_type != protocol.IN:
            raise Stall
        if setup.request == protocol.REGISTER:
            return bytes((FPGA_VERSION if setup.value == Register.MODE else self._registers.get(setup.value, 0),))
        if setup.request == protocol.BUTTON:
            return b"\0"
        if setup.request == protocol.OEM and setup.value < protocol.OEM_BYTES:
            return b"\xff"
        raise Stall

    def bulk_in(self, endpoint: int, length: int) -> bytes | None:
        if not self._running:
            return None
        # Whoever had not asked when the buffer was full loses bytes, in the middle of a vector.
        self._sent += max(self._made(self.asked_ns) - self._sent - FIFO_BYTES, 0)
        made = self._made(self.clock.now_ns())
        count = min(made - self._sent, length) // PACKET_BYTES * PACKET_BYTES
        if count <= 0:
            return None
        parts = []
        while count:
            index, offset = divmod(self._sent, FRAME_BYTES)
            frame = self._frame(index)
            end = FRAME_BYTES
            if offset <= GLITCH_PLACE and self._glitch == index:
                end = GLITCH_PLACE
            part = frame[offset : min(end, offset + count)]
            parts.append(part)
            self._sent += len(part)
            count -= len(part)
            if self._glitch == index and self._sent - index * FRAME_BYTES == GLITCH_PLACE:
                # Bytes inside a vector get lost, and those behind them come too early.
                self._sent += GLITCH_BYTES
                self._glitch = -1
        return b"".join(parts)

    def due_ns(self, endpoint: int) -> int | None:
        if not self._running:
            return None
        return self._begun_ns + int((self._sent + PACKET_BYTES) / self._byte_rate_hz * 1e9)

    # -- the stream ----------------------------------------------------------------------------------------------------

    @property
    def _running(self) -> bool:
        return self._registers[Register.MODE] == protocol.B_MODE and self.turning

    @property
    def _byte_rate_hz(self) -> float:
        speed = bytes(self._registers.get(Register.MOTOR_SPEED + place, 0) for place in range(7))
        rate = next((hertz for hertz, known in protocol.MOTOR_SPEEDS.items() if known == speed), 15.0)
        return rate * FRAME_BYTES

    def _made(self, now_ns: int) -> int:
        return int((now_ns - self._begun_ns) / 1e9 * self._byte_rate_hz)

    def _stop_stream(self) -> None:
        self._begun_ns = 0
        self._sent = 0
        self._frames: dict[int, bytes] = {}
        self._glitch = -1

    def _write(self, address: int, value: int) -> None:
        before = self._running
        self._registers[address] = value
        if self._running and not before:
            self._stop_stream()
            self._begun_ns = self.clock.now_ns()

    def _frame(self, index: int) -> bytes:
        """The bytes of a frame since the start; with the faults that were asked for when it is first needed."""
        data = self._frames.get(index)
        if data is None:
            faults = self.faults
            if faults.take("drop_frames"):
                self._ahead += 1
            elif faults.take("duplicate_frames"):
                self._ahead -= 1
            if faults.take("corrupt_frames"):
                self._glitch = index
            begun_ns = self.clock.now_ns()
            data = self._draw((index + self._ahead) % protocol.FRAME_NUMBERS, index)
            self._frames = {index: data}
            # Making the picture is this program's work, not the probe's: its time stands still meanwhile.
            self._begun_ns += self.clock.now_ns() - begun_ns
        return data

    def _draw(self, number: int, index: int) -> bytes:
        time_s = (self._begun_ns - self._born_ns) / 1e9 + index * FRAME_BYTES / self._byte_rate_hz
        geometry, frequency = self._geometry, self._registers[Register.FREQUENCY]
        echoes = _still(geometry, frequency).copy()
        x, z = geometry.scene.moving_at(time_s)
        toward = math.atan2(x, z + geometry.radius_m)
        for line in np.flatnonzero(np.abs(geometry.angles - toward) < REACH_RAD).tolist():
            _add(echoes[line], geometry, line, frequency, time_s)
        level = self._registers[Register.VOLTAGE] / protocol.USUAL_VOLTAGE * self._registers[Register.HIGH_VOLTAGE]
        begin = int(self._random.integers(FRAME_BYTES))
        noise = self._tile[begin : begin + FRAME_BYTES].reshape(VECTORS, VECTOR_BYTES) * np.float32(NOISE)
        depths = np.arange(VECTOR_BYTES) * geometry.spacing_m
        decibels = 20 * np.log10(np.abs(echoes * np.float32(level) + noise) + np.float32(1e-9))
        decibels += (COMPENSATION_DB_PER_M * depths).astype(np.float32)
        grey = (decibels - WHITE_DB) / DYNAMIC_RANGE_DB + 1
        vectors: NDArray[np.uint8] = np.clip(grey * 255, 0, 255).astype(np.uint8)
        vectors[:, 0] = number
        return vectors.tobytes()


@dataclass(frozen=True)
class _Geometry:
    """Where the vectors lie, and what is in front of them."""

    sector_rad: float
    radius_m: float
    spacing_m: float
    seed: int

    @cached_property
    def angles(self) -> NDArray[np.float64]:
        return np.linspace(-0.5, 0.5, VECTORS) * self.sector_rad

    @cached_property
    def scene(self) -> Scene:
        return phantom(self.sector_rad / 2, -self.radius_m, self.seed)


@lru_cache(maxsize=4)
def _still(geometry: _Geometry, frequency: int) -> NDArray[np.complex64]:
    """Echoes (vectors, samples) of what does not move; slow, and the same for every probe of the same geometry."""
    echoes = np.zeros((VECTORS, VECTOR_BYTES), np.complex64)
    for line in range(VECTORS):
        _add(echoes[line], geometry, line, frequency, None)
    echoes.flags.writeable = False
    return echoes


def _add(vector: NDArray[np.complex64], geometry: _Geometry, line: int, frequency: int, time_s: float | None) -> None:
    """Add to a vector the echoes of what does not move, or at a time those of what does."""
    pulse = echo_pulse(protocol.frequency_hz(frequency), protocol.frequency_hz(protocol.USUAL_FREQUENCY_INDEX), 0.7)
    angle = float(geometry.angles[line])
    origin = np.array([geometry.radius_m * math.sin(angle), geometry.radius_m * (math.cos(angle) - 1)])
    width = SOUND_SPEED_M_S / pulse.frequency_hz / APERTURE_M
    scene = geometry.scene
    heard = (
        scene.still_heard(origin, angle, width) if time_s is None else scene.moving_heard(time_s, origin, angle, width)
    )
    add_echoes(vector, *heard, pulse, SOUND_SPEED_M_S / 2 / geometry.spacing_m, SOUND_SPEED_M_S, 0.0)

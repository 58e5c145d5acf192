"""The analogue part that pic0rick's boards share: pulser, one transducer, amplifier, 10-bit converter at 60 Msps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.emulated.reflectors import SINGLE_ELEMENT_SCENE, EchoScene, excitation

SAMPLING_HZ = 60e6
MIDDLE, LARGEST_CODE = 512, 1023
# The converter runs before the pulse leaves: in recorded data the pulse is around sample 6.
PULSE_SAMPLE = 6
# Amplitudes in converter counts at the least gain (code 0): an echo of strength 1 from 2 cm, what the limiter lets
# through of the pulse itself, and the noise at the amplifier's input.
ECHO_COUNTS, PULSE_COUNTS, NOISE_COUNTS = 2.0, 40.0, 0.006
# Gain in dB of one code, as the sheet of the amplifier has it at 2 mV a code; it ends where the control range does.
DB_PER_CODE, LAST_CODE = 0.096, 500
# The transducer rings this long after the pulse when it is damped, and this much longer when it is not.
RINGING_S, UNDAMPED = 0.5e-6, 4.0
DAMPED_NS = 2000


@dataclass
class PulseEcho:
    """Echoes of a single element; `shot` gives converter codes."""

    scene: EchoScene = field(default_factory=lambda: EchoScene(SINGLE_ELEMENT_SCENE, 5e6))
    gain_code: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        self._noise = np.random.default_rng(self.seed)
        self._place = np.zeros((1, 3))

    def shot(
        self, time_s: float, samples: int, first_ns: int, second_ns: int, damping_ns: int, *, fire: bool = True
    ) -> NDArray[np.uint16]:
        """Codes (samples,) of one shot at a time, with pulses of these lengths; noise alone when it does not fire."""
        gain = 10 ** (DB_PER_CODE * min(self.gain_code, LAST_CODE) / 20)
        signal = self._noise.normal(0, NOISE_COUNTS * gain + 0.4, samples)
        if fire and first_ns + second_ns > 0:
            frequency = 1e9 / (first_ns + second_ns)
            t0_s = -PULSE_SAMPLE / SAMPLING_HZ
            echoes = self.scene.receive(
                time_s,
                self._place,
                self._place,
                frequency_hz=frequency,
                sampling_hz=SAMPLING_HZ,
                samples=samples,
                t0_s=t0_s,
            )
            ringing = RINGING_S * (1 if damping_ns >= DAMPED_NS else UNDAMPED)
            pulse = excitation(frequency, SAMPLING_HZ, samples, t0_s, ringing)
            signal += gain * (ECHO_COUNTS * echoes + PULSE_COUNTS * self.scene.drive_gain(frequency) * pulse)
        codes: NDArray[np.uint16] = np.clip(np.rint(signal) + MIDDLE, 0, LARGEST_CODE).astype(np.uint16)
        codes[1] = codes[0]
        return codes

"""How widely one element hears, and the f-number that follows from it."""

from __future__ import annotations

import math

import numpy as np

from sonod.drivers.probe import FloatArray, Probe

# Share of the pitch that an element covers where a file does not say.
USUAL_FILL = 0.9
# -3 dB, as in the paper below.
LEAST_SENSITIVITY = 0.71
# Above this an f-number is no more a choice but a single element.
LARGEST_F_NUMBER = 10.0


def directivity(angle_rad: FloatArray, width_m: float, wavelength_m: float) -> FloatArray:
    """Far-field sensitivity of a strip element in a soft baffle, 1 straight ahead.

    sinc(w sin(a) / wavelength) cos(a): Selfridge, Kino, Khuri-Yakub, Appl. Phys. Lett. 37, 35 (1980).
    """
    sensitivity: FloatArray = np.sinc(width_m / wavelength_m * np.sin(angle_rad)) * np.cos(angle_rad)
    return sensitivity


def natural_f_number(probe: Probe, sound_speed_m_s: float) -> float:
    """The f-number at which the outermost element still hears with 0.71 of its best sensitivity, to one decimal.

    Perrot, Polichetti, Varray, Garcia, "So you think you can DAS?", Ultrasonics 111 (2021), section 2.3.
    An unknown centre frequency gives 1.5.
    """
    if not probe.center_frequency_hz > 0:
        return 1.5
    width = probe.element_width_m or USUAL_FILL * probe.pitch_m
    angles = np.linspace(0, math.pi / 2, 2001)
    hears = directivity(angles, width, sound_speed_m_s / probe.center_frequency_hz) >= LEAST_SENSITIVITY
    widest = angles[np.argmin(hears) - 1]
    f_number = 1 / (2 * math.tan(max(widest, 1e-3)))
    return min(round(f_number, 1), LARGEST_F_NUMBER)


def scanned_f_number(probe: Probe, sound_speed_m_s: float) -> float:
    """The f-number for one element moved over an aperture: its main lobe, to one decimal.

    A disc of diameter D hears out to asin(1.22 wavelength / D), its first null; the synthetic aperture that this spans
    resolves D / 2 at every depth (L. J. Cutrona et al., IRE Trans. Mil. Electron. 5(2), 1961).
    """
    if not (probe.center_frequency_hz > 0 and probe.element_width_m > 0):
        return natural_f_number(probe, sound_speed_m_s)
    null = min(1.22 * sound_speed_m_s / probe.center_frequency_hz / probe.element_width_m, 0.9)
    return min(max(round(1 / (2 * math.tan(math.asin(null))), 1), 0.5), LARGEST_F_NUMBER)

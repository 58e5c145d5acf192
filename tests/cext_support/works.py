"""The works by which beamformers are compared, as arguments of DelayAndSum and of the reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from sonod.daemon.bench.work import SOUND_SPEED_M_S, Work


def grid(work: Work) -> dict[str, Any]:
    return {
        "origins_m": work.origins_m,
        "directions": work.directions,
        "first_m": work.first_m,
        "spacing_m": work.spacing_m,
        "count": work.count,
    }


def arguments(work: Work) -> dict[str, Any]:
    return {
        "element_positions_m": work.elements_m,
        "element_normals": work.normals,
        "receive_elements": np.tile(np.arange(len(work.elements_m), dtype=np.int32), (work.transmits, 1)),
        "transmit_time_s": np.stack([work.arrival_s(index, work.points_m) for index in range(work.transmits)]),
        "sampling_hz": work.sampling_hz,
        "t0_s": np.zeros(work.transmits),
        "demodulation_hz": work.center_hz,
        "sound_speed_m_s": SOUND_SPEED_M_S,
        "f_number": work.f_number,
        "apodization": "rectangular",
    }

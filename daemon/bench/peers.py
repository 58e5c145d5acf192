"""What a user would take instead: other beamformers, run on the same arrays where they are installed.

None of them is a dependency; each is used through its own public interface.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.daemon.bench.work import SOUND_SPEED_M_S, Work

# Makes the beamformed picture (lines, points): complex baseband, or real RF for RF data.
Run = Callable[[], NDArray[Any]]

# Most bytes of tables that a peer may hold; works with more transmissions are measured on as many as fit.
MOST_TABLE_BYTES = 3_000_000_000
# Entries of a sparse matrix: value (complex64) and column (int32).
ENTRY_BYTES = 12


class PeerUnfit(ValueError):
    """A peer that cannot do this work."""


def installed(name: str) -> None:
    """PeerUnfit with the remedy when a peer is not installed."""
    if find_spec(name) is None:
        raise PeerUnfit(f"{name} is not installed: pip install {name}")


def versions(names: tuple[str, ...]) -> dict[str, str]:
    """Versions of the peers that are installed."""
    return {name: version(name) for name in names if find_spec(name) is not None}


def transmits_held(name: str, work: Work) -> int:
    """On how many of the work's transmissions a peer is measured."""
    if name == "ultraspy":
        return work.transmits
    per_transmit = 2 * ENTRY_BYTES * work.active_points // work.transmits
    return max(1, min(work.transmits, MOST_TABLE_BYTES // per_transmit, 3 if name == "pymust" else work.transmits))


def sparse_matrices(work: Work) -> Run:
    """SciPy: one CSR matrix for each transmission, linear interpolation and phase rotation in its entries."""
    from scipy.sparse import csr_array

    lateral = work.aperture.lateral_of_lines()
    elements = len(work.elements_m)
    value_type = np.float32 if work.is_rf else np.complex64
    matrices = []
    for transmit in range(work.transmits):
        arrival = work.arrival_s(transmit, work.points_m)
        rows, places, values = [], [], []
        for element in range(elements):
            distance = np.linalg.norm(work.points_m - work.elements_m[element], axis=-1)
            delay = arrival + distance / SOUND_SPEED_M_S
            index = delay * work.sampling_hz
            before = np.floor(index)
            inside = (lateral[:, element, None] <= work.half_apertures_m) & (before >= 0) & (before < work.samples - 1)
            share = (index - before)[inside]
            weight = np.full(share.shape, 1 / (elements * work.transmits), value_type)
            if not work.is_rf:
                weight = weight * np.exp(2j * np.pi * work.center_hz * delay[inside])
            sample = element * work.samples + before[inside].astype(np.int64)
            for offset, part in ((0, 1 - share), (1, share)):
                rows.append(np.flatnonzero(inside).astype(np.int32))
                places.append((sample + offset).astype(np.int32))
                values.append((weight * part).astype(value_type))
        shape = (inside.size, elements * work.samples)
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(places)))
        matrices.append(csr_array(entries, shape=shape))
    data = [np.ascontiguousarray(one.reshape(-1)) for one in work.data]

    def run() -> NDArray[Any]:
        total = matrices[0] @ data[0]
        for matrix, one in zip(matrices[1:], data[1:], strict=True):
            total = total + matrix @ one
        return np.asarray(total).reshape(work.points_m.shape[:2])

    return run


def pymust(work: Work) -> Run:
    """PyMUST: one `dasmtx` matrix for each plane wave, in single precision as its entries need no more."""
    if not work.linear_plane:
        raise PeerUnfit("pymust is compared on linear arrays with plane waves only")
    module = import_module("pymust")
    x, z = (np.asfortranarray(work.points_m[..., axis].T) for axis in (0, 2))
    matrices = []
    for wave in work.waves:
        param = module.utils.Param()
        param.fs, param.fc, param.c = work.sampling_hz, work.center_hz, SOUND_SPEED_M_S
        param.pitch = float(np.diff(work.elements_m[:2, 0])[0])
        param.Nelements, param.fnumber, param.t0 = len(work.elements_m), work.f_number, np.zeros((1, 1))
        delays = work.elements_m[:, 0] * np.sin(wave[0]) / SOUND_SPEED_M_S
        size = np.array([work.samples, len(work.elements_m)])
        matrix = module.dasmtx(size if work.is_rf else 1j * size, x, z, delays[None], param)
        matrices.append(matrix.tocsr().astype(np.float32 if work.is_rf else np.complex64))
    data = [np.ascontiguousarray(one.reshape(-1)) for one in work.data]
    lines, points = work.points_m.shape[:2]

    def run() -> NDArray[Any]:
        total = matrices[0] @ data[0]
        for matrix, one in zip(matrices[1:], data[1:], strict=True):
            total = total + matrix @ one
        return np.asarray(total).reshape(lines, points)

    return run


def ultraspy(work: Work) -> Run:
    """ultraspy: its delay and sum for the processor (Numba)."""
    if not work.linear_plane:
        raise PeerUnfit("ultraspy is compared on linear arrays with plane waves only")
    logging.getLogger("ultraspy").setLevel(logging.ERROR)
    beamformers = import_module("ultraspy.beamformers.das")
    scans = import_module("ultraspy.scan")
    own = beamformers.DelayAndSum(is_iq=not work.is_rf, on_gpu=False)
    elements = np.repeat(work.elements_m.T[:, None], work.transmits, axis=1).astype(np.float32)
    angles = np.zeros((work.transmits, len(work.elements_m)), np.float32)
    delays = np.stack([work.arrival_s(index, work.elements_m) for index in range(work.transmits)])
    for name, value in {
        "sampling_freq": work.sampling_hz,
        "central_freq": work.center_hz,
        "sound_speed": SOUND_SPEED_M_S,
        "t0": 0.0,
        "signal_duration": 0.0,
        "f_number": [work.f_number, work.f_number],
        "transmissions_idx": list(range(work.transmits)),
        "delays": delays,
        "emitted_thetas": angles,
        "received_thetas": angles,
        "emitted_probe": elements,
        "received_probe": elements,
    }.items():
        own.update_setup(name, value)
    own.update_option("emitted_aperture", False)
    own.update_option("fix_t0", False)
    scan = scans.GridScan(work.points_m[:, 0, 0], work.points_m[0, :, 2], on_gpu=False)
    data = np.ascontiguousarray(work.data, dtype=np.float32 if work.is_rf else np.complex64)

    def run() -> NDArray[Any]:
        picture = np.asarray(own.beamform(data, scan)).reshape(work.points_m.shape[:2])
        return picture.real if work.is_rf else picture

    return run


PEERS: dict[str, Callable[[Work], Run]] = {"scipy": sparse_matrices, "pymust": pymust, "ultraspy": ultraspy}

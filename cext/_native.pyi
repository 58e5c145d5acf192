from types import TracebackType
from typing import final

import numpy as np
from numpy.typing import NDArray

def instruction_sets() -> tuple[str, ...]: ...
def instruction_set() -> str: ...
def select_instruction_set(name: str) -> None: ...
def set_thread_count(count: int) -> None: ...
def thread_count() -> int: ...

@final
class Series:
    def __enter__(self) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

def filter_traces(
    sample_type: int,
    raw: NDArray[np.uint8],
    channels: int,
    gain: NDArray[np.float32],
    remove_offset: bool,
    coefficients: NDArray[np.float32],
    whole: NDArray[np.int32] | None,
    whole_unit: float,
    step: int,
    outputs: int,
    left: int,
    turns: NDArray[np.float32] | None,
    transmit_turns: NDArray[np.float32],
    output_gain: NDArray[np.float32] | None,
    real_part: bool,
    out: NDArray[np.float32],
) -> None: ...
def scale_baseband(
    sample_type: int,
    raw: NDArray[np.uint8],
    transmits: int,
    channels: int,
    gain: NDArray[np.float32],
    remove_offset: bool,
    out: NDArray[np.float32],
) -> None: ...
def das_exact(
    origins: NDArray[np.float64],
    directions: NDArray[np.float64],
    first: float,
    spacing: float,
    count: int,
    feet: NDArray[np.float64],
    points: NDArray[np.float64] | None,
    heights: NDArray[np.float64] | None,
    elements: NDArray[np.float64],
    normals: NDArray[np.float64],
    lateral: NDArray[np.float32] | None,
    receive: NDArray[np.int32],
    time32: NDArray[np.float32] | None,
    time64: NDArray[np.float64] | None,
    weight: NDArray[np.float32] | None,
    receive_time: NDArray[np.float32] | None,
    seen: NDArray[np.uint8],
    t0: NDArray[np.float64],
    sampling: float,
    demodulation: float,
    slowness: float,
    time_offset: float,
    per_half: float,
    least_half: float,
    window: int,
    factor: float,
    samples: int,
    data: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None: ...
def das_times(
    time32: NDArray[np.float32] | None,
    time64: NDArray[np.float64] | None,
    weight: NDArray[np.float32] | None,
    t0: NDArray[np.float64],
    block_points: int,
    step: int,
    start_s: float,
    time_offset: float,
    fine_rate: float,
    demodulation: float,
    tolerance: float,
    quadratic: NDArray[np.float32],
    ways: NDArray[np.int32],
    phases: NDArray[np.float32],
    kind: NDArray[np.int32],
    whole: NDArray[np.uint8],
    point_at: NDArray[np.int32] | None,
    points: NDArray[np.float32] | None,
) -> None: ...
def das_points(tables: object, data: NDArray[np.float32], out: NDArray[np.float32]) -> None: ...
def das_receive(
    geometry: tuple[object, ...],
    heads: NDArray[np.int32],
    paces: NDArray[np.float32],
    table: NDArray[np.int32] | None,
) -> None: ...

@final
class BlockSums:
    def __init__(
        self,
        geometry: tuple[object, ...],
        heads: NDArray[np.int32] | None,
        paces: NDArray[np.float32] | None,
        table: NDArray[np.int32] | None,
        order: NDArray[np.int32],
        class_of: NDArray[np.int32],
        shift: NDArray[np.int32],
        mirrored: NDArray[np.uint8],
        receive: NDArray[np.int32],
        map_of: NDArray[np.int32],
        map_first: NDArray[np.int32],
        map_traces: NDArray[np.int32],
        map_whole: NDArray[np.uint8],
        step: int,
        width: int,
        largest_drift: int,
        filters: object,
        begin_at: int,
        end_at: int,
        bound: float,
        peaks: NDArray[np.float32],
        scales: NDArray[np.float32],
        wave_turns: NDArray[np.float32],
        time_kind: NDArray[np.int32],
        weight_kind: NDArray[np.int32],
        quadratic: NDArray[np.float32],
        ways: NDArray[np.int32],
        phases: NDArray[np.float32],
        time_points: NDArray[np.float32],
        weight_points: NDArray[np.float32],
        samples: int,
        planes: NDArray[np.int32],
        efforts: NDArray[np.float32],
        fine_at: NDArray[np.int32],
        pieces: NDArray[np.int32],
        factor: float,
    ) -> None: ...
    def run(self, data: NDArray[np.float32], out: NDArray[np.float32], begin: int) -> None: ...

def adaptive(
    origins: NDArray[np.float64],
    directions: NDArray[np.float64],
    first: float,
    spacing: float,
    feet: NDArray[np.float64],
    per_half: float,
    least_half: float,
    window: int,
    positions: NDArray[np.float32],
    heard: NDArray[np.uint8],
    lateral: NDArray[np.float32],
    channel_of: NDArray[np.int32],
    transmit_fine: NDArray[np.float32],
    transmit_weight: NDArray[np.float32] | None,
    wave_turns: NDArray[np.float32],
    fine_per_metre: float,
    turns_per_fine: float,
    method: int,
    bins: int,
    lags: int,
    reach: int,
    left: int,
    numerator: int,
    coefficients: NDArray[np.float32],
    traces: NDArray[np.float32],
    factor: float,
    data: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None: ...
def envelope(iq: NDArray[np.float32], out: NDArray[np.float32]) -> None: ...
def scan_convert(
    lines: NDArray[np.float32],
    base: NDArray[np.int32],
    spans: NDArray[np.int32],
    line_share: NDArray[np.float32],
    sample_share: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None: ...
def compress(
    envelope: NDArray[np.float32],
    slope: float,
    row_offset: NDArray[np.float32],
    persistence: float,
    level: NDArray[np.float32] | None,
    first: bool,
    table: NDArray[np.uint8] | None,
    out: NDArray[np.uint8],
) -> None: ...
def compress_lines(
    lines: NDArray[np.float32],
    slope: float,
    row_offset: NDArray[np.float32],
    persistence: float,
    level: NDArray[np.float32] | None,
    first: bool,
    table: NDArray[np.uint8] | None,
    out: NDArray[np.uint8],
) -> None: ...
def compress_scan(
    lines: NDArray[np.float32],
    base: NDArray[np.int32],
    spans: NDArray[np.int32],
    line_share: NDArray[np.float32],
    sample_share: NDArray[np.float32],
    slope: float,
    row_offset: NDArray[np.float32],
    persistence: float,
    level: NDArray[np.float32] | None,
    first: bool,
    table: NDArray[np.uint8] | None,
    out: NDArray[np.uint8],
) -> None: ...

# -- simulation --------------------------------------------------------------------------------------------------------

SIMULATE_BAND: int
SIMULATE_BLOCK: int

def simulate_field(
    count: int,
    elements: NDArray[np.float32],
    station: NDArray[np.int32],
    stations: int,
    directivity: NDArray[np.float32],
    decay: NDArray[np.float32],
    decay_per_m: float,
    x: NDArray[np.float32],
    z: NDArray[np.float32],
    loss: NDArray[np.float32],
    delay_turns: NDArray[np.float32],
    apodization: NDArray[np.float32],
    reference_turns: NDArray[np.float32],
    turns_per_m: float,
    window: NDArray[np.float32],
    window_scale: float,
    out: NDArray[np.float32],
) -> None: ...
def simulate_deposit(
    count: int,
    elements: NDArray[np.float32],
    station: NDArray[np.int32],
    stations: int,
    directivity: NDArray[np.float32],
    decay: NDArray[np.float32],
    decay_per_m: float,
    points: NDArray[np.float32],
    lobe: NDArray[np.float32],
    loss: NDArray[np.float32],
    arrival: NDArray[np.float32],
    meeting: NDArray[np.float32],
    incoming: NDArray[np.float32],
    samples_per_m: float,
    turns_per_m: float,
    half: int,
    grid: NDArray[np.float32],
) -> None: ...
def simulate_convolve(
    grid: NDArray[np.float32], pulse: NDArray[np.float32], carrier: NDArray[np.float32], out: NDArray[np.float32]
) -> None: ...
def simulate_frame(
    count: int,
    elements: NDArray[np.float32],
    station: NDArray[np.int32],
    stations: int,
    directivity: NDArray[np.float32],
    decay: NDArray[np.float32],
    decay_per_m: float,
    points: NDArray[np.float32],
    lobe: NDArray[np.float32],
    loss: NDArray[np.float32],
    arrival: NDArray[np.float32],
    meeting: NDArray[np.float32],
    incoming: NDArray[np.float32],
    samples_per_m: float,
    turns_per_m: float,
    half: int,
    pulse: NDArray[np.float32],
    carrier: NDArray[np.float32],
    background: NDArray[np.float32],
    noise: NDArray[np.float32],
    noise_start: NDArray[np.int32],
    noise_level: float,
    level: float,
    gain: NDArray[np.float32],
    limit: float,
    out: NDArray[np.int16],
) -> None: ...
def crc32c(data: NDArray[np.uint8] | bytes | bytearray | memoryview, crc: int) -> int: ...
def unpack(packed: NDArray[np.uint8], format: int, offset: int, out: NDArray[np.int16]) -> None: ...
def deinterleave(
    items: NDArray[np.uint8], item_bytes: int, samples: int, channels: int, out: NDArray[np.uint8]
) -> None: ...

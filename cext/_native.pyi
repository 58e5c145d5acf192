import numpy as np
from numpy.typing import NDArray

def instruction_sets() -> tuple[str, ...]: ...
def instruction_set() -> str: ...
def select_instruction_set(name: str) -> None: ...
def envelope(iq: NDArray[np.float32], out: NDArray[np.float32]) -> None: ...

# -- simulation --------------------------------------------------------------------------------------------------------

SIMULATE_FINE: int
SIMULATE_PHASES: int
SIMULATE_TURN: int

def simulate_field(
    count: int,
    elements: NDArray[np.float32],
    directivity: NDArray[np.float32],
    decay: NDArray[np.float32],
    decay_per_m: float,
    x: NDArray[np.float32],
    z: NDArray[np.float32],
    delay_turns: NDArray[np.float32],
    apodization: NDArray[np.float32],
    turns_per_m: float,
    cosine: NDArray[np.float32],
    sine: NDArray[np.float32],
    scratch: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None: ...
def simulate_deposit(
    count: int,
    elements: NDArray[np.float32],
    directivity: NDArray[np.float32],
    decay: NDArray[np.float32],
    decay_per_m: float,
    x: NDArray[np.float32],
    z: NDArray[np.float32],
    arrival: NDArray[np.float32],
    amplitude: NDArray[np.float32],
    fine_per_m: float,
    scratch: NDArray[np.float32],
    grid: NDArray[np.float32],
) -> None: ...
def simulate_convolve(
    grid: NDArray[np.float32], pulse: NDArray[np.float32], scratch: NDArray[np.float32], out: NDArray[np.float32]
) -> None: ...
def simulate_frame(
    count: int,
    elements: NDArray[np.float32],
    directivity: NDArray[np.float32],
    decay: NDArray[np.float32],
    decay_per_m: float,
    points: NDArray[np.float32],
    meeting: NDArray[np.float32],
    axis_x: float,
    axis_z: float,
    samples_per_m: float,
    lobe: NDArray[np.float32],
    lobe_scale: float,
    pulse: NDArray[np.float32],
    background: NDArray[np.float32],
    noise: NDArray[np.float32],
    noise_start: NDArray[np.int32],
    noise_level: float,
    level: float,
    gain: NDArray[np.float32],
    limit: float,
    scratch: NDArray[np.float32],
    out: NDArray[np.int16],
) -> None: ...

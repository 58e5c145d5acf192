"""What the probe fires and who listens: transmit events and their sequence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.probe import FloatArray, frozen_array


class TransmitKind(StrEnum):
    PLANE = "plane"
    DIVERGING = "diverging"
    FOCUSED = "focused"
    SINGLE_ELEMENT = "single-element"


@dataclass(frozen=True, eq=False)
class TransmitEvent:
    """One firing.

    `delays_s (elements,)`: element k fires at delays_s[k] after time zero (may be negative, NaN = silent).
    `t0_s`: time of the first sample after time zero.
    `origin_m (3,)`: virtual source (diverging, behind the face), focus (focused), or element (single element).
    `angle_rad`: steering angle of a plane wave in the x-z plane, positive towards +x.
    `receive_elements (channels,)`: the element whose echo channel c holds; -1 = not measured (samples mean nothing).
    """

    kind: TransmitKind
    delays_s: FloatArray
    origin_m: FloatArray
    receive_elements: NDArray[np.int32]
    angle_rad: float = 0.0
    t0_s: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "delays_s", frozen_array(self.delays_s, "transmit.delays_s", (None,)))
        object.__setattr__(self, "origin_m", frozen_array(self.origin_m, "transmit.origin_m", (3,)))
        receive = np.array(self.receive_elements, dtype=np.int32)
        receive.flags.writeable = False
        object.__setattr__(self, "receive_elements", receive)
        elements = len(self.delays_s)
        if receive.ndim != 1 or (receive.size and (receive.min() < -1 or receive.max() >= elements)):
            raise ValueError(f"transmit.receive_elements: must be (channels,) of -1..{elements - 1}")
        if np.isinf(self.delays_s).any() or np.isnan(self.delays_s).all():
            raise ValueError("transmit.delays_s: must be finite, NaN for a silent element, and at least one must fire")
        if not (np.isfinite(self.origin_m).all() and np.isfinite([self.angle_rad, self.t0_s]).all()):
            raise ValueError("transmit: origin_m, angle_rad and t0_s must be finite")


@dataclass(frozen=True, eq=False)
class Sequence:
    """The ordered transmit events that make one image; all have the same number of elements and of channels."""

    events: tuple[TransmitEvent, ...]

    def __post_init__(self) -> None:
        if not self.events:
            raise ValueError("sequence.events: needs at least one transmit event")
        shapes = {(len(event.delays_s), len(event.receive_elements)) for event in self.events}
        if len(shapes) != 1:
            raise ValueError(f"sequence.events: all must have the same elements and channels, got {sorted(shapes)}")

    @property
    def element_count(self) -> int:
        return len(self.events[0].delays_s)

    @property
    def channel_count(self) -> int:
        return len(self.events[0].receive_elements)

    @property
    def delays_s(self) -> FloatArray:
        """(transmits, elements)"""
        return np.stack([event.delays_s for event in self.events])

    @property
    def t0_s(self) -> FloatArray:
        """(transmits,)"""
        return np.array([event.t0_s for event in self.events])

    @property
    def origins_m(self) -> FloatArray:
        """(transmits, 3)"""
        return np.stack([event.origin_m for event in self.events])

    @property
    def angles_rad(self) -> FloatArray:
        """(transmits,)"""
        return np.array([event.angle_rad for event in self.events])

    @property
    def receive_elements(self) -> NDArray[np.int32]:
        """(transmits, channels)"""
        return np.stack([event.receive_elements for event in self.events])

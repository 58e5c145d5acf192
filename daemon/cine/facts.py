"""What is known of each frame in the rings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sonod.client.wire.geometry import ImageGeometry
from sonod.drivers.digests import PictureRow
from sonod.drivers.frame import Configuration, GroundTruth, Slot


@dataclass(frozen=True, slots=True)
class RawFacts:
    """A raw frame: everything of its slot but the samples."""

    configuration: Configuration
    number: int
    transmit_ns: int
    transmit_uncertainty_ns: int
    first_byte_ns: int
    last_byte_ns: int
    device_ticks: int
    lost: int
    truth: GroundTruth | None

    @classmethod
    def of(cls, slot: Slot) -> RawFacts:
        assert slot.configuration is not None
        return cls(
            slot.configuration,
            slot.number,
            slot.transmit_ns,
            slot.transmit_uncertainty_ns,
            slot.first_byte_ns,
            slot.last_byte_ns,
            slot.device_ticks,
            slot.lost,
            # Recordings hold no map of tissues.
            None if slot.truth is None else replace(slot.truth, tissues=None),
        )


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """A picture: the frame it was made of, where its pixels lie, and its row in a recording; `ring_lost` and `failed`
    are the frames of the session of which no picture was made by then."""

    configuration: Configuration
    number: int
    last_byte_ns: int
    geometry: ImageGeometry
    row: PictureRow
    ring_lost: int
    failed: int

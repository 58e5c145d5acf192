"""Digests of frames and of what is made of them, by which two runs are compared bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

# XXH3 with 128 bits: quicker than memory, and no accident goes unseen. Against forgers there are the bundle's SHA-256.
DIGEST_NAME, DIGEST_BYTES = "xxh3-128", 16
# The outputs of processing, in the order in which they are made.
STAGES = ("prepare", "beamform", "detect", "scan_convert", "compress")


def digest_of(data: NDArray[Any]) -> bytes:
    """Digest of the array's bytes in C order."""
    return xxhash.xxh3_128_digest(np.ascontiguousarray(data).data.cast("B"))


@dataclass(frozen=True)
class PictureRow:
    """What was made of frame `number`: the digest of each stage's output that was made (STAGES), the amplitude shown
    white, and how many pictures the same plan had made before this one."""

    number: int
    revision: int
    pictures_before: int
    level: float
    digests: Mapping[str, bytes] = field(default_factory=dict)

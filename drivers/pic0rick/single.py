"""One element that fires and listens: its sequence."""

from __future__ import annotations

import numpy as np

from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind

# The envelope of an echo peaks about this many periods after it begins: a damped element of 60 % bandwidth.
PULSE_DELAY_PERIODS = 1.7


def single_element(t0_s: float) -> Sequence:
    """One firing, one channel; the first sample is `t0_s` after the pulse (negative: before it)."""
    event = TransmitEvent(TransmitKind.SINGLE_ELEMENT, np.zeros(1), np.zeros(3), np.zeros(1, np.int32), t0_s=t0_s)
    return Sequence((event,))

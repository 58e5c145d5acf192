"""A device's own time on the host's clock: the one model for every driver whose device stamps its frames.

    time = DeviceTime(tick_ns=1.0)
    time.begin_anew()                            the device has been opened, and may have been switched off before
    time.compare(ticks, before_ns, after_ns)     asked and answered: the device's clock stood at `ticks` in between
    time.stamp(slot, ticks, first_byte_ns)       a frame whose first transmission the device says was at `ticks`

Keep it as long as the driver lives: the line goes on through freezes, changes of settings and reconnections.
"""

from __future__ import annotations

from sonod.drivers.clock import ClockFit, ClockLine
from sonod.drivers.frame import Slot

# Numbers that a recording and JSON can hold; 146 years of nanoseconds. A wider counter is taken by its lower bits.
MOST_BITS = 62


class DeviceTime:
    """Ticks of `tick_ns` nanoseconds, nominally, on a counter of `bits` that begins again at 0 after its last one.

    One thread. A device that never tells its time in answer to a question has no line: when its frames come says by
    when they were fired, and not since when.
    """

    def __init__(self, tick_ns: float, bits: int = MOST_BITS) -> None:
        if not 1 <= bits <= MOST_BITS:
            raise ValueError(f"bits: must be in 1..{MOST_BITS}, got {bits}")
        self._tick_ns = tick_ns
        self._range = 1 << bits
        self._fit = ClockFit(tick_ns)
        # What the counter showed last, carried over its ends, and about when; None = nothing yet.
        self._last: tuple[int, int] | None = None

    @property
    def line(self) -> ClockLine | None:
        """The device's clock against the host's, None while it is not known."""
        return self._fit.line

    def begin_anew(self) -> None:
        """The device's clock may have begun anew."""
        self._fit.forget()
        self._last = None

    def compare(self, ticks: int, before_ns: int, after_ns: int) -> None:
        """The counter stood at `ticks` at some moment between the two host times."""
        self._fit.observe(self.unwrapped(ticks, after_ns), before_ns, after_ns)

    def stamp(self, slot: Slot, ticks: int, first_byte_ns: int) -> None:
        """The frame in the slot was fired at `ticks`, and its first byte came at that host time: sets its ticks, its
        time of transmission and the device's clock."""
        whole = self.unwrapped(ticks, first_byte_ns)
        self._fit.observe(whole, None, first_byte_ns)
        # Before the 0 at which we met it there is nothing to say.
        slot.device_ticks = max(whole, -1)
        line = slot.device_clock = self._fit.line
        if line is None:
            return
        host_ns, slot.transmit_uncertainty_ns = line.at(whole)
        # Whatever the line says, sound leaves before its echoes come.
        slot.transmit_ns = min(host_ns, first_byte_ns)

    def unwrapped(self, ticks: int, host_ns: int) -> int:
        """The counter's value, seen at about that host time, as it would be on a counter without an end."""
        ticks %= self._range
        if self._last is not None:
            last_ticks, last_ns = self._last
            # However many times it went round in a pause: the host's clock knows.
            expected = last_ticks + round((host_ns - last_ns) / self._tick_ns)
            half = self._range // 2
            ticks = expected + (ticks - expected + half) % self._range - half
        self._last = ticks, host_ns
        return ticks

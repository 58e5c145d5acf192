"""How the daemon is, in one word: published with the state, and the exit code of `sonod status --check`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sonod.daemon.state import State

# Over so long a time losses are looked at.
WINDOW_NS = 10_000_000_000
# So great a part of the frames may be lost before it counts: one late moment now and then is no illness.
TOLERATED_LOSS = 0.02
# Judged from fewer frames, one late moment while it begins would be a tenth of them.
SHORTEST_NS = 5_000_000_000
# A running device may be silent for so long, at a slow frame rate for three periods.
SILENT_NS = 2_000_000_000


class Health(StrEnum):
    GOOD = "good"  # frames flow
    IDLE = "idle"  # no frames, as asked: frozen, stopped, or a recording has been played
    STARTING = "starting"  # the device is being opened
    DEGRADED = "degraded"  # running, but frames are lost or cannot be processed, or none come
    RECOVERING = "recovering"  # the device is away or failed; it is looked for
    LEAVING = "leaving"  # the daemon ends


# As shell scripts and monitors understand them: 75 is EX_TEMPFAIL, it may be well again without anybody's help.
EXIT_CODES: Mapping[Health, int] = {
    Health.GOOD: 0,
    Health.IDLE: 0,
    Health.STARTING: 75,
    Health.RECOVERING: 75,
    Health.LEAVING: 75,
    Health.DEGRADED: 1,
}
_OF_STATE = {
    State.STARTING: Health.STARTING,
    State.RECOVERING: Health.RECOVERING,
    State.FROZEN: Health.IDLE,
    State.STOPPED: Health.IDLE,
    State.ENDED: Health.IDLE,
    State.LEAVING: Health.LEAVING,
}


@dataclass(frozen=True)
class Counts:
    """What has happened by one moment: frames acquired, and lost on the way for whatever cause."""

    time_ns: int
    frames: int
    lost: int
    failed: int


class HealthKeeper:
    """Judges from counts that it is shown now and then; one thread shows, any may read."""

    def __init__(self) -> None:
        self._seen: deque[Counts] = deque()
        self._silent = False

    def see(self, counts: Counts, last_frame_ns: int, period_ns: int) -> None:
        """Look at the counts now; `last_frame_ns` is when the newest frame came, or the device was started."""
        self._seen.append(counts)
        while len(self._seen) > 2 and counts.time_ns - self._seen[0].time_ns > WINDOW_NS:
            self._seen.popleft()
        self._silent = counts.time_ns - last_frame_ns > max(SILENT_NS, 3 * period_ns)

    def judge(self, state: State) -> tuple[Health, str]:
        """The health in this state, and why it is not good."""
        if state is not State.RUNNING:
            return _OF_STATE[state], ""
        if self._silent:
            return Health.DEGRADED, "the device gives no frames"
        seen = tuple(self._seen)
        if len(seen) >= 2 and seen[-1].time_ns - seen[0].time_ns >= SHORTEST_NS:
            first, last = seen[0], seen[-1]
            frames = last.frames - first.frames
            failed, lost = last.failed - first.failed, last.lost - first.lost
            if failed > max(1.0, TOLERATED_LOSS * frames):
                return Health.DEGRADED, f"{failed} of the last {frames} frames could not be processed"
            if lost > max(1.0, TOLERATED_LOSS * frames):
                return Health.DEGRADED, f"{lost} of the last {frames} frames were lost"
        return Health.GOOD, ""

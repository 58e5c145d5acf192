from __future__ import annotations

import pytest

from sonod.daemon.health import EXIT_CODES, WINDOW_NS, Counts, Health, HealthKeeper
from sonod.daemon.state import State

SECOND = 1_000_000_000
PERIOD_NS = SECOND // 30


def keeper(*counts: Counts, silent_s: float = 0.0, period_ns: int = PERIOD_NS) -> HealthKeeper:
    made = HealthKeeper()
    for one in counts:
        made.see(one, one.time_ns - int(silent_s * 1e9), period_ns)
    return made


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_health_and_every_health_an_exit_code(state: State) -> None:
    health, _ = HealthKeeper().judge(state)
    assert health in EXIT_CODES


def test_running_with_frames_is_good() -> None:
    made = keeper(Counts(0, 0, 0, 0), Counts(SECOND, 30, 0, 0))
    assert made.judge(State.RUNNING) == (Health.GOOD, "")
    assert EXIT_CODES[Health.GOOD] == 0


def test_one_late_moment_is_forgiven_and_a_lasting_loss_is_not() -> None:
    assert keeper(Counts(0, 0, 0, 0), Counts(5 * SECOND, 150, 3, 0)).judge(State.RUNNING)[0] is Health.GOOD
    health, why = keeper(Counts(0, 0, 0, 0), Counts(5 * SECOND, 150, 5, 0)).judge(State.RUNNING)
    assert (health, why) == (Health.DEGRADED, "5 of the last 150 frames were lost")


def test_the_first_moments_are_not_judged() -> None:
    assert keeper(Counts(0, 0, 0, 0), Counts(SECOND, 8, 6, 0)).judge(State.RUNNING)[0] is Health.GOOD


def test_failing_processing_is_named() -> None:
    health, why = keeper(Counts(0, 0, 0, 0), Counts(5 * SECOND, 30, 0, 30)).judge(State.RUNNING)
    assert (health, why) == (Health.DEGRADED, "30 of the last 30 frames could not be processed")


def test_old_losses_are_forgotten() -> None:
    later = 3 * WINDOW_NS
    made = keeper(
        Counts(0, 0, 0, 0), Counts(SECOND, 30, 20, 0), Counts(later, 900, 20, 0), Counts(later + SECOND, 930, 20, 0)
    )
    assert made.judge(State.RUNNING)[0] is Health.GOOD


def test_silent_device_is_named_unless_it_is_slow_by_nature() -> None:
    one = Counts(9 * SECOND, 1, 0, 0)
    assert keeper(one, silent_s=2.5).judge(State.RUNNING) == (Health.DEGRADED, "the device gives no frames")
    assert keeper(one, silent_s=2.5, period_ns=2 * SECOND).judge(State.RUNNING)[0] is Health.GOOD
    assert keeper(one, silent_s=2.5).judge(State.FROZEN)[0] is Health.IDLE

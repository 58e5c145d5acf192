"""Setting the host's UTC moves the mapping, is told, and touches no monotonic time."""

from __future__ import annotations

import itertools

import pytest

from sonod.daemon.discipline import Discipline, read_discipline
from sonod.daemon.session import REFRESH_NS, Session, UtcStep

HOUR_NS = 3_600_000_000_000


class Clocks:
    """A monotonic clock that goes on by itself, and a UTC that can be set and slewed."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000
        self.utc_offset_ns = 1_795_000_000_000_000_000
        self.rate = 1.0
        self.discipline = Discipline(True, 250_000, 10_000)

    def monotonic_ns(self) -> int:
        self.now_ns += 50
        return self.now_ns

    def utc_ns(self) -> int:
        return self.utc_offset_ns + int(self.now_ns * self.rate)

    def session(self) -> tuple[Session, list[UtcStep]]:
        steps: list[UtcStep] = []
        session = Session(self.monotonic_ns, self.utc_ns, lambda: self.discipline)
        session.stepped = steps.append
        return session, steps


@pytest.mark.parametrize("step_ns", [HOUR_NS, -2 * HOUR_NS, 5_000_000, -5_000_000])
def test_step_changes_the_mapping_at_once_and_is_told_once(step_ns: int) -> None:
    clocks = Clocks()
    session, steps = clocks.session()
    before = session.utc
    clocks.now_ns += 300_000_000
    clocks.utc_offset_ns += step_ns
    after = session.check()
    assert after is session.utc is session.check()
    assert (before.steps, after.steps) == (0, 1)
    assert [step.mapping for step in steps] == [after]
    assert steps[0].step_ns == pytest.approx(step_ns, abs=10_000)
    assert after.utc_of(clocks.now_ns) == pytest.approx(clocks.utc_ns(), abs=1000)


def test_both_steps_of_a_day_leave_monotonic_times_alone() -> None:
    clocks = Clocks()
    session, steps = clocks.session()
    stamps = []
    for index in range(400):
        clocks.now_ns += 33_000_000
        if index == 100:
            clocks.utc_offset_ns += HOUR_NS
        if index == 250:
            clocks.utc_offset_ns -= 2 * HOUR_NS
        session.check()
        session.refresh()
        stamps.append((session.monotonic_ns(), session.utc.utc_of(clocks.now_ns) - clocks.utc_ns()))
    gaps = [two[0] - one[0] for one, two in itertools.pairwise(stamps)]
    assert max(gaps) - min(gaps) < 10_000
    assert max(abs(error) for _, error in stamps) < 1000
    assert len(steps) == 2
    assert session.utc.steps == 2


def test_slewing_is_no_step_and_its_rate_is_measured() -> None:
    clocks = Clocks()
    session, steps = clocks.session()
    clocks.rate = 1 + 40e-6
    # The rate changes now, the time does not jump.
    clocks.utc_offset_ns -= int(clocks.now_ns * 40e-6)
    for _ in range(40):
        clocks.now_ns += REFRESH_NS
        session.check()
        session.refresh()
    assert not steps
    assert session.utc_rate == pytest.approx(1 + 40e-6, abs=1e-7)
    assert session.utc_residual_ns < 1000


def test_mapping_says_whether_somebody_keeps_the_clock() -> None:
    clocks = Clocks()
    session, _ = clocks.session()
    assert session.utc.synchronized is True
    clocks.discipline = Discipline(False)
    clocks.now_ns += REFRESH_NS + 1
    session.refresh()
    assert session.utc.synchronized is False


def test_discipline_of_this_machine_can_be_read() -> None:
    found = read_discipline()
    assert found.synchronized in (True, False, None)
    assert (found.synchronized is None) == (found.maximum_error_ns is None)

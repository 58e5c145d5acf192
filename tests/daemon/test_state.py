from __future__ import annotations

import itertools

import pytest

from sonod.daemon.state import TRANSITIONS, Situation, State, StateKeeper


def test_every_state_is_in_the_table_and_can_be_left_for_the_end() -> None:
    assert set(TRANSITIONS) == set(State)
    for state, following in TRANSITIONS.items():
        assert state is State.LEAVING or State.LEAVING in following


def test_allowed_transitions_are_told_with_their_time() -> None:
    told: list[Situation] = []
    keeper = StateKeeper(itertools.count(100).__next__)
    keeper.listener = told.append
    keeper.enter(State.RUNNING)
    keeper.enter(State.RECOVERING, "cable pulled")
    assert told == [Situation(State.RUNNING, "", 101), Situation(State.RECOVERING, "cable pulled", 102)]
    assert keeper.state is State.RECOVERING


def test_same_state_again_is_told_only_when_the_reason_is_new() -> None:
    told: list[Situation] = []
    keeper = StateKeeper(lambda: 7)
    keeper.enter(State.RECOVERING, "gone")
    keeper.listener = told.append
    keeper.enter(State.RECOVERING, "gone")
    keeper.enter(State.RECOVERING, "permission denied")
    assert [situation.reason for situation in told] == ["permission denied"]


def test_forbidden_transition_is_a_fault() -> None:
    keeper = StateKeeper()
    keeper.enter(State.STOPPED)
    with pytest.raises(RuntimeError, match="frozen cannot follow stopped"):
        keeper.enter(State.FROZEN)

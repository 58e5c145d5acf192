"""Fixtures of the tests of the core: every instruction set, and threads as they were."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sonod.cext.instruction import instruction_set, instruction_sets, select_instruction_set
from sonod.cext.threads import set_thread_count, thread_count


@pytest.fixture(params=instruction_sets())
def each_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test on every instruction set of this processor."""
    before = instruction_set()
    select_instruction_set(request.param)
    yield request.param
    select_instruction_set(before)


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before, chosen = thread_count(), instruction_set()
    yield
    set_thread_count(before)
    select_instruction_set(chosen)

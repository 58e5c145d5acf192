"""Growth is told from what comes and goes."""

from __future__ import annotations

import random
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

MB = 1_000_000
RESTS, EVERY_S = 10, 30.0


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return import_module("rests")


def seen(
    rests: ModuleType, memory: Callable[[int], float], descriptors: Callable[[int], int] = lambda _: 48
) -> list[object]:
    return [rests.Rest(EVERY_S * rest, int(memory(rest)), descriptors(rest)) for rest in range(RESTS)]


def test_memory_that_comes_and_goes_is_flat(rests: ModuleType) -> None:
    for seed in range(50):
        random_ = random.Random(seed)
        growth = rests.growth(seen(rests, lambda _: 163 * MB + random_.uniform(0, 8 * MB)))  # noqa: B023
        assert growth.broken == []


def test_one_odd_rest_is_no_growth(rests: ModuleType) -> None:
    for odd in range(RESTS):
        growth = rests.growth(seen(rests, lambda rest: (163 + 60 * (rest == odd)) * MB))  # noqa: B023
        assert growth.broken == []
        assert growth.memory_bytes == 0


def test_what_comes_once_in_the_beginning_is_no_growth(rests: ModuleType) -> None:
    assert rests.growth(seen(rests, lambda rest: (163 + 20 * (rest > 1)) * MB)).broken == []


def test_leak_is_found_among_what_comes_and_goes(rests: ModuleType) -> None:
    # A megabyte of each change of settings, of which there are two between rests, one of them for the rest itself.
    for seed in range(50):
        random_ = random.Random(seed)
        growth = rests.growth(seen(rests, lambda rest: (163 + 3 * rest) * MB + random_.uniform(0, 4 * MB)))  # noqa: B023
        assert growth.broken
        assert growth.memory_bytes_s == pytest.approx(3 * MB / EVERY_S, rel=0.3)


def test_descriptors_that_stay_open_are_found(rests: ModuleType) -> None:
    growth = rests.growth(seen(rests, lambda _: 163 * MB, lambda rest: 48 + rest))
    assert growth.broken == ["open descriptors have grown by 7"]


def test_few_rests_give_no_slope_but_large_leaks(rests: ModuleType) -> None:
    few = seen(rests, lambda rest: (163 + 30 * rest) * MB)[:3]
    growth = rests.growth(few)
    assert growth.memory_bytes_s is None
    assert growth.broken == ["memory has grown by 60.0 MB"]
    assert rests.growth(few[:1]).broken == []

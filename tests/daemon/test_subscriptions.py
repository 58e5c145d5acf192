from __future__ import annotations

import pytest

from sonod.daemon.subscriptions import PREFIX_LIMIT, PRODUCTS, VARIANT_LIMIT, Subscriptions


@pytest.mark.parametrize(
    ("prefixes", "wanted"),
    [
        ([], set()),
        ([b"sonod.1.bmode."], {"bmode"}),
        ([b"sonod.1.bmode.linear", b"sonod.1.rf.other"], {"bmode"}),
        ([b"sonod.1.settings.", b"sonod.2."], set()),
        ([b"sonod.1.i"], {"iq"}),
        ([b""], set(PRODUCTS)),
        ([b"sonod.1."], set(PRODUCTS)),
    ],
)
def test_wanted_products_follow_the_prefixes(prefixes: list[bytes], wanted: set[str]) -> None:
    subscriptions = Subscriptions()
    for prefix in prefixes:
        assert subscriptions.heard(b"\x01" + prefix)
    assert subscriptions.wanted("linear") == wanted


def test_cancelled_prefix_is_forgotten() -> None:
    subscriptions = Subscriptions()
    subscriptions.heard(b"\x01sonod.1.bmode.")
    assert not subscriptions.heard(b"\x00sonod.1.bmode.")
    assert subscriptions.wanted("linear") == frozenset()


def test_anything_else_is_ignored() -> None:
    subscriptions = Subscriptions()
    for message in (b"", b"\x02", b"hello", b"\x00never"):
        assert not subscriptions.heard(message)
    assert subscriptions.wanted("linear") == frozenset()


def test_too_many_prefixes_mean_everything_until_all_are_gone() -> None:
    subscriptions = Subscriptions()
    for index in range(PREFIX_LIMIT + 5):
        subscriptions.heard(b"\x01x%d" % index)
    assert subscriptions.wanted("linear") == frozenset(PRODUCTS)
    for index in range(PREFIX_LIMIT + 5):
        subscriptions.heard(b"\x00x%d" % index)
    assert subscriptions.wanted("linear") == frozenset()


@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        (b"sonod.1+every3.bmode.", "must be every-N or rate-HZ, lz4, or both joined by +; got 'every3'"),
        (b"sonod.1+every-0.bmode.", "got 'every-0'"),
        (b"sonod.1+every-1001.bmode.", "every must be in 1..1000; got 1001"),
        (b"sonod.1+lz4+every-2.bmode.", "got 'lz4+every-2'"),
        (b"sonod.1+every-1.bmode.", "must be spelt ''"),
        (b"sonod.1+every-3", "must be named in full, with a dot behind it; got 'every-3'"),
        (b"sonod.1+every-3.bmod.", "got 'bmod.'"),
        (b"sonod.1+last.settings.", "must be of a product out of bmode, "),
        (b"sonod.1+\xff.bmode.", "got '\ufffd'"),
    ],
)
def test_variant_that_brings_nothing_is_refused_with_the_reason(prefix: bytes, reason: str) -> None:
    subscriptions = Subscriptions()
    subscriptions.heard(b"\x01" + prefix)
    ((refused, why),) = subscriptions.refused()
    assert refused == prefix
    assert reason in why
    assert subscriptions.refused() == []
    assert not subscriptions.wanted("linear")
    assert not subscriptions.asked_again("linear")


@pytest.mark.parametrize(
    "prefix",
    [
        b"sonod.1+every-3.",
        b"sonod.1+every-3.bm",
        b"sonod.1+rate-5+lz4.rf.linear",
        b"sonod.1+last.bmode.",
        b"sonod.1.x",
        b"",
    ],
)
def test_what_may_bring_something_is_not_refused(prefix: bytes) -> None:
    subscriptions = Subscriptions()
    subscriptions.heard(b"\x01" + prefix)
    assert subscriptions.refused() == []


def test_one_variant_too_many_is_refused_and_those_in_use_are_not() -> None:
    subscriptions = Subscriptions()
    for every in range(2, 2 + VARIANT_LIMIT):
        subscriptions.heard(b"\x01sonod.1+every-%d.bmode." % every)
    subscriptions.heard(b"\x01sonod.1+every-2.rf.")
    assert subscriptions.refused() == []
    subscriptions.heard(b"\x01sonod.1+lz4.bmode.")
    assert "16 others are in use" in subscriptions.refused()[0][1]
    subscriptions.heard(b"\x00sonod.1+every-3.bmode.")
    subscriptions.heard(b"\x01sonod.1+lz4.bmode.")
    assert subscriptions.refused() == []

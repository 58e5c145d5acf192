from __future__ import annotations

import pytest

from sonod.daemon.subscriptions import PREFIX_LIMIT, PRODUCTS, Subscriptions


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

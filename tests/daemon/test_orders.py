"""The thread of orders that recordings and clips have: in order, to the end, and busy between them."""

from __future__ import annotations

import threading

import pytest

from sonod.daemon.cine.orders import OrderThread
from sonod.daemon.errors import CommandError

PATIENCE_S = 30.0


def test_orders_are_carried_out_in_turn_and_refusals_reach_who_asked() -> None:
    orders = OrderThread("orders", lambda: False, lambda: None, lambda: None)

    def refuse() -> dict[str, object]:
        raise CommandError("busy", "not now")

    futures = [orders.order(lambda: {"number": 1}), orders.order(refuse), orders.order(lambda: {"number": 2})]
    orders.launch()
    assert futures[0].result(PATIENCE_S) == {"number": 1}
    with pytest.raises(CommandError, match="not now"):
        futures[1].result(PATIENCE_S)
    assert futures[2].result(PATIENCE_S) == {"number": 2}
    assert orders.leave(PATIENCE_S)


def test_it_gets_on_with_what_it_has_begun_and_concludes_it_when_it_leaves() -> None:
    told: list[str] = []
    turned = threading.Event()

    def advance() -> None:
        told.append("advance")
        turned.set()

    orders = OrderThread("orders", lambda: True, advance, lambda: told.append("conclude"))
    orders.launch()
    assert turned.wait(PATIENCE_S)
    assert orders.leave(PATIENCE_S)
    assert told[-1] == "conclude"
    assert told.count("conclude") == 1


def test_what_was_ordered_before_it_leaves_is_carried_out() -> None:
    begun, going = threading.Event(), threading.Event()

    def wait() -> dict[str, object]:
        begun.set()
        going.wait(PATIENCE_S)
        return {}

    orders = OrderThread("orders", lambda: False, lambda: None, lambda: None)
    orders.launch()
    first = orders.order(wait)
    assert begun.wait(PATIENCE_S)
    second = orders.order(lambda: {"carried out": True})
    assert not orders.leave(0.0)
    assert orders.is_leaving()
    going.set()
    assert orders.leave(PATIENCE_S)
    assert (first.result(0), second.result(0)) == ({}, {"carried out": True})


def test_leaving_before_it_was_launched_is_no_trouble() -> None:
    assert OrderThread("orders", lambda: False, lambda: None, lambda: None).leave(0.0)

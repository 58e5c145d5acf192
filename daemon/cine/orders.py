"""A thread that carries out orders one after the other, and between them gets on with what it has begun."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from sonod.daemon.cine.feed import PERIOD_S
from sonod.daemon.errors import CommandError

Result = dict[str, Any]


class OrderThread:
    """`advance` gets on with what is `busy`, every PERIOD_S; `conclude` is called once at the end, when every order has
    been carried out. All of them are called on this thread, and so are the orders.
    """

    def __init__(
        self, name: str, busy: Callable[[], bool], advance: Callable[[], None], conclude: Callable[[], None]
    ) -> None:
        self._busy = busy
        self._advance = advance
        self._conclude = conclude
        self._orders: deque[tuple[Callable[[], Result], Future[Result]]] = deque()
        self._changed = threading.Condition()
        self._leaving = False
        self._thread = threading.Thread(target=self._run, name=name)

    def launch(self) -> None:
        """Begin to carry out orders."""
        self._thread.start()

    def leave(self, timeout_s: float) -> bool:
        """Carry out what was ordered and end the thread; False when that took longer than allowed."""
        with self._changed:
            self._leaving = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def is_leaving(self) -> bool:
        """Whether the thread is to end; from any thread."""
        return self._leaving

    def order(self, action: Callable[[], Result]) -> Future[Result]:
        """Have it done, from any thread; the future fails with the action's CommandError."""
        future: Future[Result] = Future()
        with self._changed:
            self._orders.append((action, future))
            self._changed.notify()
        return future

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._orders or self._leaving, PERIOD_S if self._busy() else None)
                order = self._orders.popleft() if self._orders else None
            if order is not None:
                action, future = order
                try:
                    future.set_result(action())
                except CommandError as error:
                    future.set_exception(error)
            elif self._busy():
                self._advance()
            if self._leaving and not self._orders:
                break
        self._conclude()

"""Connecting to an address that a person may have typed."""

from __future__ import annotations

from typing import Any

import zmq

from sonod.client.errors import ClientError

# A machine that answers nothing is taken for gone after 2 + 3 x 2 s.
PROBE_PERIOD_S = 2
MISSED_PROBES = 3


class AddressError(ClientError, ValueError):
    """An address cannot be one; one line says what it must be."""


def connect(socket: Any, endpoint: str) -> None:
    """Connect a ZeroMQ socket, now or when somebody listens there; AddressError when nobody ever could."""
    _notice_vanished_machines(socket)
    try:
        socket.connect(endpoint)
    except (zmq.ZMQError, UnicodeEncodeError) as error:
        raise AddressError(
            f"{endpoint!r}: is no address; it must be tcp://HOST:PORT or ipc:///PATH, for example tcp://127.0.0.1:5555"
        ) from error


def _notice_vanished_machines(socket: Any) -> None:
    """A machine that vanishes closes no connection: have the kernel look, so that another is made.

    Not by heartbeats: libzmq 4.3.5 ends a process whose connection is given up so while messages wait to be read
    (decision 0079).
    """
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, PROBE_PERIOD_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, PROBE_PERIOD_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, MISSED_PROBES)

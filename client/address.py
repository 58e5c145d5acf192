"""Connecting to an address that a person may have typed."""

from __future__ import annotations

from typing import Any

import zmq

from sonod.client.errors import ClientError


class AddressError(ClientError, ValueError):
    """An address cannot be one; one line says what it must be."""


def connect(socket: Any, endpoint: str) -> None:
    """Connect a ZeroMQ socket, now or when somebody listens there; AddressError when nobody ever could."""
    try:
        socket.connect(endpoint)
    except (zmq.ZMQError, UnicodeEncodeError) as error:
        raise AddressError(
            f"{endpoint!r}: is no address; it must be tcp://HOST:PORT or ipc:///PATH, for example tcp://127.0.0.1:5555"
        ) from error

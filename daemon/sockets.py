"""What the daemon's sockets share."""

from __future__ import annotations

import zmq

from sonod.daemon.errors import EndpointError

# Long enough for the last messages on this machine, short enough for a stop within two seconds.
LINGER_MS = 200


def bind(socket: zmq.Socket[bytes], endpoint: str, key: str) -> str:
    """Bind, and return the address with the port that was found for `*`; EndpointError names the remedy."""
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise EndpointError(
            f"{key}: cannot listen on {endpoint} ({error.strerror}); stop the program that does, or choose another port"
        ) from error
    found = socket.getsockopt(zmq.LAST_ENDPOINT)
    return found.rstrip(b"\0").decode() if isinstance(found, bytes) else endpoint

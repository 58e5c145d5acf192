"""A filter on a TCP connection that lets its peer say nothing more."""

from __future__ import annotations

import ctypes
import socket
import struct

# <linux/socket.h>; Python's `socket` does not name it.
SO_ATTACH_FILTER = getattr(socket, "SO_ATTACH_FILTER", 26)
# Classic BPF (Linux, Documentation/networking/filter.rst), as (code, jump if true, jump if false, constant). It is run
# on each segment from the start of the TCP header: one that is longer than its header carries data and is dropped.
_DROP_DATA = (
    (0x30, 0, 0, 12),  # A = the byte that holds the header's length, in words, in its upper half
    (0x54, 0, 0, 0xF0),
    (0x74, 0, 0, 2),  # A = the header's length in bytes
    (0x07, 0, 0, 0),  # X = A
    (0x80, 0, 0, 0),  # A = the segment's length
    (0x1D, 0, 1, 0),  # the same?
    (0x06, 0, 0, 0xFFFFFFFF),
    (0x06, 0, 0, 0),
)
_PROGRAM = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _DROP_DATA))


def drop_data(connection: socket.socket) -> bool:
    """Drop all that the peer sends from now on; False when this system cannot. What we send still arrives, and is
    acknowledged; the peer's kernel tries again, ever more slowly, and its program waits."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    # struct sock_fprog: how many instructions, and where they are.
    program = struct.pack("HP", len(_DROP_DATA), ctypes.addressof(_PROGRAM))
    try:
        connection.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
        # Closed, it shall be gone at once, and not wait for a peer that is not heard.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        return False
    return True

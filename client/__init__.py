"""The consumer's side of sonod: needs NumPy and pyzmq, and neither the daemon nor the compiled core.

    from sonod.client import Control, Subscriber

    for frame in Subscriber().frames("bmode", latest=True):
        print(frame.header.frame, frame.header.revision, frame.data.shape)

`wire` has the messages as pure functions; docs/wire-protocol.md describes them for other languages.
"""

from sonod.client.control import AsyncControl, Control
from sonod.client.errors import ClientError, NoAnswer, RequestRefused
from sonod.client.frame import Frame
from sonod.client.latest import LatestFrames
from sonod.client.lease import HeldLease
from sonod.client.losses import MissedFrames
from sonod.client.shared import SharedFrames
from sonod.client.subscriber import AsyncSubscriber, Subscriber
from sonod.client.wire.variant import Variant

__all__ = [
    "AsyncControl",
    "AsyncSubscriber",
    "ClientError",
    "Control",
    "Frame",
    "HeldLease",
    "LatestFrames",
    "MissedFrames",
    "NoAnswer",
    "RequestRefused",
    "SharedFrames",
    "Subscriber",
    "Variant",
]

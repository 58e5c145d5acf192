"""The consumer's side of sonod: needs NumPy and pyzmq, and neither the daemon nor the compiled core.

    from sonod.client import Control, Subscriber

    for frame in Subscriber().frames("bmode", latest=True):
        print(frame.header.frame, frame.header.revision, frame.data.shape)

`wire` has the messages as pure functions; docs/wire-protocol.md describes them for other languages. `calibration` and
`conventions` say what a pixel is to a tracker and in the words of others; `bridges` and `conformance` are programs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonod.client.control import AsyncControl, Control
    from sonod.client.errors import AccessRefused, ClientError, NoAnswer, RequestRefused
    from sonod.client.frame import Frame
    from sonod.client.latest import LatestFrames
    from sonod.client.lease import HeldLease
    from sonod.client.losses import MissedFrames
    from sonod.client.shared import SharedFrames
    from sonod.client.subscriber import AsyncSubscriber, Subscriber
    from sonod.client.wire.variant import Variant


__all__ = [
    "AccessRefused",
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
_MODULES = {
    "AccessRefused": "errors",
    "AsyncControl": "control",
    "AsyncSubscriber": "subscriber",
    "ClientError": "errors",
    "Control": "control",
    "Frame": "frame",
    "HeldLease": "lease",
    "LatestFrames": "latest",
    "MissedFrames": "losses",
    "NoAnswer": "errors",
    "RequestRefused": "errors",
    "SharedFrames": "shared",
    "Subscriber": "subscriber",
    "Variant": "wire.variant",
}


def __getattr__(name: str) -> Any:
    """Imported on use: the command line needs the errors in every command, NumPy in few."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

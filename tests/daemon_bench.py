"""A running daemon on a driver whose frames the test gives out, and clients of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from picture_driver import PictureDriver

from sonod.client.control import Control
from sonod.client.frame import Frame
from sonod.client.subscriber import Subscriber
from sonod.client.wire.notices import EventNotice, StateNotice
from sonod.daemon.app import Daemon

# Far longer than anything here takes; a test that waits so long has failed.
PATIENCE_S = 10.0
BASE: dict[str, dict[str, Any]] = {
    "driver": {"uri": "picture:"},
    "publish": {"endpoint": "tcp://127.0.0.1:*"},
    "control": {"endpoint": "tcp://127.0.0.1:*"},
    "viewer": {"enabled": False},
    # Room for every frame that a test gives out at once.
    "acquire": {"waiting_frames": 64, "read_timeout_s": 0.05, "retry_first_s": 0.01, "retry_longest_s": 0.02},
}


@dataclass
class Bench:
    """A daemon, its driver and clients of it."""

    daemon: Daemon
    driver: PictureDriver
    control: Control
    subscriber: Subscriber

    def frames(self, product: str = "bmode") -> Iterator[Frame]:
        """Frames, the subscription known to the daemon before this returns."""
        messages = self.subscriber.messages(product, "state", timeout_s=PATIENCE_S)
        # The state is subscribed to last: when it comes, as to every newcomer, the other subscription has arrived too.
        while not isinstance(next(messages), StateNotice):
            pass
        return (message for message in messages if isinstance(message, Frame))

    def until_state(self, state: str) -> StateNotice:
        """The first notice of this state."""
        for message in self.subscriber.messages("state", timeout_s=PATIENCE_S):
            if isinstance(message, StateNotice) and message.state == state:
                return message
        raise AssertionError("the subscription ended")

    def event(self, name: str, cause: Callable[[], object], **facts: object) -> EventNotice:
        """The event with these facts that `cause` brings about."""
        messages = self.subscriber.messages("event", "state", timeout_s=PATIENCE_S)
        next(messages)
        cause()
        for message in messages:
            if isinstance(message, EventNotice) and message.event == name and facts.items() <= message.facts.items():
                return message
        raise AssertionError("the subscription ended")


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("sonod-")}

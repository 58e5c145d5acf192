"""A running daemon on a driver whose frames the test gives out, and clients of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from picture_driver import PictureDriver

from sonod.client.control import Control
from sonod.client.frame import Frame, Message
from sonod.client.replies import Status
from sonod.client.subscriber import Subscriber
from sonod.client.wire.notices import EventNotice, StateNotice
from sonod.daemon.app import Daemon

# Far longer than anything here takes; a test that waits so long has failed.
PATIENCE_S = 10.0
# For what takes many steps, on a machine that has a great deal else to do.
LONG_PATIENCE_S = 60.0
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
        next(messages)
        # libzmq may send a notice that was under way to a newcomer whose subscriptions the daemon has not read yet.
        deadline_s = time.monotonic() + PATIENCE_S
        while product not in self.daemon.publisher.wanted:
            assert time.monotonic() < deadline_s, f"the daemon has not heard of the subscription to {product}"
            time.sleep(0.001)
        return self._only_frames(messages)

    def _only_frames(self, messages: Iterator[Message]) -> Iterator[Frame]:
        last_s = time.monotonic()
        for message in messages:
            if isinstance(message, Frame):
                yield message
                last_s = time.monotonic()
            # The state is repeated for ever, so that the subscriber's own time limit never ends.
            elif time.monotonic() - last_s > PATIENCE_S:
                raise AssertionError(f"no frame within {PATIENCE_S:g} s")

    def until_state(self, state: str) -> StateNotice:
        """The first notice of this state."""
        for message in self.subscriber.messages("state", timeout_s=PATIENCE_S):
            if isinstance(message, StateNotice) and message.state == state:
                return message
        raise AssertionError("the subscription ended")

    def until(self, holds: Callable[[Status], object]) -> Status:
        """The first status of which this holds."""
        deadline_s = time.monotonic() + LONG_PATIENCE_S
        while not holds(status := self.control.status()):
            assert time.monotonic() < deadline_s, f"it never came to that: {status} {status.values}"
        return status

    def feed_when_applied(self, count: int) -> threading.Thread:
        """Give out frames as soon as the device has taken settings that are to come; `set` waits for the first."""
        reader = self.daemon.reader
        before = reader._expected

        def feed() -> None:
            deadline_s = time.monotonic() + LONG_PATIENCE_S
            while reader._expected is before and time.monotonic() < deadline_s:
                time.sleep(0.001)
            self.driver.deliver(count)

        feeder = threading.Thread(target=feed)
        feeder.start()
        return feeder

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

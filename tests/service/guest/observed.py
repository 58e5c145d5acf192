"""What can be seen of the service in the guest: systemd's view, its journal, its frames."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from sonod.client import Control, Frame, RequestRefused, Subscriber

PATIENCE_S = 60.0
# For one answer of the daemon or of its page.
ANSWER_S = 10.0


class Unit:
    """One unit of systemd."""

    def __init__(self, name: str) -> None:
        self.name = name

    def do(self, verb: str) -> tuple[int, str]:
        """`systemctl VERB`: its exit code, and the first line that it said."""
        command = ["systemctl", verb, self.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        return done.returncode, done.stderr.strip().split("\n")[0]

    def show(self, name: str) -> str:
        return output("systemctl", "show", "--property", name, "--value", self.name)

    @property
    def pid(self) -> int:
        return int(self.show("MainPID"))

    def journal(self, *options: str) -> str:
        return output("journalctl", "-u", self.name, "--no-pager", *options)


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def command(*words: str) -> tuple[int, str]:
    """Its exit code, and the first line that it said."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.returncode, (done.stdout or done.stderr).strip().split("\n")[0]


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
        return str(answer.read().decode())


def control() -> Control:
    return Control(timeout_s=ANSWER_S)


def state() -> str:
    with control() as asked:
        return asked.status().state


def health() -> tuple[int, str]:
    done = subprocess.run(["sonod", "status", "--check"], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.split(":")[0]


def until_health(wanted: tuple[int, str]) -> tuple[int, str]:
    """What is said last: as wanted, or when patience ends. The command, too, gives a busy daemon seconds only."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := health()) != wanted and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def begin_recording(path: str) -> bool:
    """False when the process that writes has not begun within the daemon's own ten seconds, for another attempt."""
    with control() as asked:
        try:
            return bool(asked.start_recording(path))
        except RequestRefused as refusal:
            if "has not begun within" not in str(refusal):
                raise
            return False


def settings() -> dict[str, float]:
    with control() as asked:
        return dict(asked.get().settings)  # type: ignore[arg-type]


def next_frame(other_than: str = "", after: float = 0.0) -> Frame:
    """A frame of another session, or acquired after this moment of the monotonic clock."""
    with Subscriber() as subscriber:
        for frame in subscriber.frames("bmode", latest=True, timeout_s=PATIENCE_S):
            if frame.header.session != other_than and frame.header.times.first_byte_ns > after * 1e9:
                return frame
    raise AssertionError("the subscription ended")


def until(condition: Callable[[], object], what: str) -> str:
    """The first true result."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if result := condition():
                return str(result)
        except (OSError, subprocess.CalledProcessError):
            pass
        time.sleep(0.05)
    raise TimeoutError(f"not within {PATIENCE_S:.0f} s: {what}")


def owner_of(process: int) -> str:
    return Path(f"/proc/{process}").owner()

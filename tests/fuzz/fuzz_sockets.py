"""Hostile requests and hostile bytes for a real daemon, for as long as you like; the suite has a short form.

    python tests/fuzz/fuzz_sockets.py --minutes 10

A `sonod run` of the simulated probe listens on loopback without keys and on another port with keys. Requests go to
both: without keys a reply that says so may have changed something; with a key of role `view` nothing may ever change.
Conversations of bytes go to all four ports. After each round the daemon must be alive, transmitting, answering,
publishing, and at the settings at which it was. Exit code 0 when it was.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import zmq
from hypothesis import HealthCheck, given, seed, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from hostile import changes_something, conversations, requests, talk

from sonod.client.control import Control
from sonod.client.keys import ClientKeys
from sonod.client.subscriber import Subscriber

CONFIGURATION = """
[driver]
uri = "sim:wires"
[publish]
endpoint = "tcp://127.0.0.1:*"
also = ["tcp://0.0.0.0:*"]
[control]
endpoint = "tcp://127.0.0.1:*"
also = ["tcp://0.0.0.0:*"]
[access]
keys = "{folder}/keys"
[viewer]
enabled = false
[log]
form = "json"
"""
ANSWER_S = 20.0
# Frames that wait for processing, are in it, or wait to be published.
FRAMES_UNDER_WAY = 8
REQUESTS_A_ROUND, CONVERSATIONS_A_ROUND = 150, 60


class Target:
    """A daemon of its own process, and a client that watches it."""

    def __init__(self, folder: Path) -> None:
        sonod = [sys.executable, "-m", "sonod"]
        keys, file = folder / "keys", folder / "viewer.key"
        subprocess.run(
            [*sonod, "keys", "new", "viewer", "--folder", keys, "--out", file], check=True, stdout=sys.stderr
        )
        (folder / "sonod.toml").write_text(CONFIGURATION.format(folder=folder))
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen([*sonod, "run", "--config", folder / "sonod.toml"], stderr=self.log)
        while not (ready := self.logged("ready")):
            assert self.process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        self.watch = Control(ready[0]["control"], ANSWER_S)
        described = self.watch.request("describe").values
        self.controls = [place.replace("0.0.0.0", "127.0.0.1") for place in described["controls"]]
        self.frames = [place.replace("0.0.0.0", "127.0.0.1") for place in described["frames"]]
        self.keys = ClientKeys.read(file)
        self.settings = self.watch.get()
        self.plain: Any = None
        self.keyed: Any = None

    def logged(self, event: str) -> list[dict[str, Any]]:
        self.log.flush()
        with open(self.log.name) as lines:
            found = []
            for line in lines:
                with contextlib.suppress(ValueError):
                    if json.loads(line)["event"] == event:
                        found.append(json.loads(line))
            return found

    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024

    def dealer(self, context: zmq.Context[Any], keyed: bool) -> Any:
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.RCVTIMEO, int(ANSWER_S * 1000))
        socket.setsockopt(zmq.LINGER, 0)
        if keyed:
            self.keys.apply(socket)
        socket.connect(self.controls[keyed])
        return socket

    def restore(self) -> None:
        """Undo what accepted requests have done."""
        token = self.watch.take_over_lease("fuzz").token
        assert token
        self.watch.set(dict(self.settings.settings), lease=token)
        self.watch.start(token)
        self.watch.unfreeze(token)
        self.watch.release_lease(token)
        self.settings = self.watch.get()

    def check(self) -> None:
        """Alive, at its settings, and publishing."""
        assert self.process.poll() is None, f"the daemon has ended with {self.process.returncode}"
        now = self.watch.get()
        assert now == self.settings, f"changed: {self.settings} to {now}"
        with Subscriber(self.frames[0]) as subscriber:
            headers = []
            for frame in subscriber.frames("bmode", timeout_s=ANSWER_S):
                headers.append(frame.header)
                # One that was acquired before the settings were restored may have been under way.
                if frame.header.revision >= now.revision:
                    break
                assert len(headers) < FRAMES_UNDER_WAY, [(header.frame, header.revision) for header in headers]
            assert headers[-1].revision == now.revision, [(header.frame, header.revision) for header in headers]
            if len(headers) > 1:
                sys.stderr.write(f"under way: {[(header.frame, header.revision) for header in headers]}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    counts = {"requests": 0, "accepted": 0, "with_view_key": 0, "conversations": 0, "rounds": 0}
    with tempfile.TemporaryDirectory(prefix="sonod-fuzz-") as name:
        target = Target(Path(name))
        context: zmq.Context[Any] = zmq.Context()
        # Before its first image, after it, and after each round.
        resident_mib = [target.resident_mib()]
        target.restore()
        target.check()
        resident_mib.append(target.resident_mib())
        deadline = time.monotonic() + options.minutes * 60
        limits: Any = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}

        def hostile_request(request: bytes) -> None:
            before = target.watch.get()
            target.keyed.send(request)
            reply = target.keyed.recv()
            counts["with_view_key"] += 1
            assert not changes_something(request, reply), (request, reply)
            assert target.watch.get() == before, request
            target.plain.send(request)
            reply = target.plain.recv()
            counts["requests"] += 1
            if changes_something(request, reply):
                counts["accepted"] += 1
                target.restore()
            else:
                assert target.watch.get() == before, request

        def hostile_bytes(pieces: list[bytes]) -> None:
            for place in (*target.controls, *target.frames):
                talk(place, pieces)
                counts["conversations"] += 1

        def play(body: Any, strategy: Any, examples: int, number: int) -> None:
            seed(number)(settings(max_examples=examples, **limits)(given(strategy)(body)))()

        try:
            while time.monotonic() < deadline:
                number = options.seed * 1_000_000 + counts["rounds"]
                target.plain, target.keyed = target.dealer(context, False), target.dealer(context, True)
                play(hostile_request, requests, REQUESTS_A_ROUND, number)
                play(hostile_bytes, conversations, CONVERSATIONS_A_ROUND, number)
                target.plain.close()
                target.keyed.close()
                target.restore()
                target.check()
                counts["rounds"] += 1
                resident_mib.append(target.resident_mib())
                if sys.stderr.isatty():
                    sys.stderr.write(f"\r{counts} {resident_mib[-1]:.0f} MiB ")
            failures = target.logged("command_failed")
            facts = {**counts, "minutes": options.minutes, "seed": options.seed, "internal_errors": len(failures)}
            facts["resident_mib"] = [round(mib) for mib in resident_mib]
            sys.stdout.write(json.dumps(facts) + "\n")
            for failure in failures[:5]:
                sys.stdout.write(json.dumps(failure)[:2000] + "\n")
            return 1 if failures else 0
        finally:
            context.destroy(linger=0)
            target.watch.close()
            target.process.terminate()
            target.process.wait(30)
            target.log.close()


if __name__ == "__main__":
    sys.exit(main())

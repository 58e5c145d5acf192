"""Runs in the container, as root, under a real systemd: everything that must not stop the service, one after the other.

Each line of its output is one promise: `ok` or `FAILED`, what was done, what came of it, and how long it took.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import h5py
from observed import Unit, begin_recording, command, next_frame, owner_of, read, settings, state, until, until_health

EMULATION = "/run/emu/t"
GOOD = '[driver]\nuri = "bulk:"\n[metrics]\nenabled = true\n'
PROMISED_S = 2.0


class Emulator:
    def __init__(self) -> None:
        program = Path(__file__).with_name("emulator.py")
        # The preload library in the daemon binds its sockets there.
        os.umask(0)
        Path(EMULATION).mkdir(parents=True)
        self._process = subprocess.Popen(
            [sys.executable, str(program), EMULATION], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def ask(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class Board(Protocol):
    """The emulated front-end on the service's USB."""

    def ask(self, line: str) -> str:
        """`unplug`, `plug` or `state`; the answer is what it does: idle, armed, running."""


class Campaign:
    """What must hold in any guest. `promised_s`: streaming again, and stopped."""

    # Tables of the configuration, and what is in its [settings] besides.
    tables = GOOD
    own_settings = ""
    kills = 3

    def __init__(self, board: Board, unit: str, configuration: Path, recording: str, promised_s: float) -> None:
        self.failed = 0
        self.emulator = board
        self.unit = Unit(unit)
        self.configuration = configuration
        self.recording = recording
        self.promised_s = promised_s

    def promise(self, what: str, kept: bool, came: str) -> None:
        self.failed += not kept
        sys.stdout.write(f"{'ok    ' if kept else 'FAILED'}  {what}: {came}\n")
        sys.stdout.flush()

    # -- the campaign -----------------------------------------------------------------------------------------------

    @property
    def steps(self) -> Sequence[Callable[[], None]]:
        return (
            self.starts, self.page_and_metrics, self.journal_has_fields, self.clipped, self.killed,
            self.stopped_by_a_signal, self.unplugged, self.bad_reload, self.good_reload, self.stops,
            self.bad_configuration, self.confined,
        )  # fmt: skip

    def run(self) -> None:
        for step in self.steps:
            try:
                step()
            except Exception as error:  # noqa: BLE001  the next promise is looked at all the same
                self.promise(step.__name__, False, f"{type(error).__name__}: {error}")
                sys.stdout.write(self.unit.journal("-o", "cat", "-n", "20") + "\n")

    def configure(self, more: str = "", depth_m: float | None = None) -> None:
        """Write the configuration, with further tables."""
        depth = "" if depth_m is None else f"depth_m = {depth_m:.4f}\n"
        self.configuration.write_text(f"{self.tables}{more}[settings]\n{self.own_settings}{depth}")

    def starts(self) -> None:
        self.configure()
        begun = time.monotonic()
        code, told = self.unit.do("start")
        active_s = time.monotonic() - begun
        frame = next_frame()
        streaming_s = time.monotonic() - begun
        kept = code == 0 and self.unit.show("ActiveState") == "active"
        self.promise("start", kept, f"ready after {active_s:.2f} s, first frame after {streaming_s:.2f} s {told}")
        self.promise("status line", self.unit.show("StatusText").startswith("running"), self.unit.show("StatusText"))
        owner = owner_of(self.unit.pid)
        self.promise("user", owner == "sonod", f"{owner}, frame {frame.header.frame}")

    def page_and_metrics(self) -> None:
        page = until(lambda: read("http://127.0.0.1:5580/"), "the viewer's page")
        self.promise("viewer page", "sonod" in page, f"{len(page)} bytes")
        metrics = read("http://127.0.0.1:5581/metrics")
        wanted = 'sonod_state{state="running"} 1.0'
        self.promise("metrics", wanted in metrics, wanted)

    def journal_has_fields(self) -> None:
        lines = [json.loads(line) for line in self.unit.journal("-o", "json").splitlines()]
        ready = [line for line in lines if line.get("SONOD_EVENT") == "ready"]
        kept = bool(ready) and ready[0]["SONOD_DRIVER"] == "bulk:" and "SONOD_SERIAL" in ready[0]
        self.promise(
            "journal fields", kept, str({key: one for key, one in ready[0].items() if key.startswith("SONOD_")})
        )

    def clipped(self) -> None:
        """As somebody who has just installed it would: with no folder, and with one that the service cannot see."""
        code, told = command("sonod", "clip", "--before", "2", "--after", "1")
        saved = Path(told.split(":")[0])
        kept = code == 0 and saved.parent == Path(self.recording).parent and (saved / "manifest.json").is_file()
        self.promise("clip", kept, told)
        code, told = command("sonod", "verify", str(saved))
        self.promise("clip verified", code == 0, told)
        code, told = command("sonod", "clip", "/root/knee")
        self.promise("clip where it may not", code == 2 and "/var/lib/sonod" in told, told)

    def killed(self) -> None:
        for _ in range(self.kills):
            before, session = self.unit.pid, next_frame().header.session
            begun = time.monotonic()
            os.kill(before, signal.SIGKILL)
            next_frame(other_than=session)
            took_s = time.monotonic() - begun
            self.promise(
                "SIGKILL", took_s < self.promised_s and self.unit.pid != before, f"streaming again after {took_s:.2f} s"
            )

    def stopped_by_a_signal(self) -> None:
        before, session = self.unit.pid, next_frame().header.session
        begun = time.monotonic()
        os.kill(before, signal.SIGSTOP)
        next_frame(other_than=session)
        took_s = time.monotonic() - begun
        told = "watchdog" in self.unit.journal().lower()
        self.promise(
            "SIGSTOP", self.unit.pid != before and told, f"restarted by the watchdog, streaming after {took_s:.1f} s"
        )

    def unplugged(self) -> None:
        before, session = self.unit.pid, next_frame().header.session
        self.emulator.ask("unplug")
        until(lambda: state() == "recovering", "recovering")
        time.sleep(3)
        waiting = until_health((75, "recovering"))
        begun = time.monotonic()
        self.emulator.ask("plug")
        frame = next_frame(after=begun)
        took_s = time.monotonic() - begun
        same = self.unit.pid == before and frame.header.session == session
        told = f"{'same' if same else 'another'} process, streaming {took_s:.2f} s after plugging in"
        self.promise("unplug, plug", same and took_s < self.promised_s, told)
        self.promise("health while unplugged", waiting == (75, "recovering"), f"{waiting[1]}, exit code {waiting[0]}")

    def bad_reload(self) -> None:
        before = self.unit.pid
        self.configure("[acquire]\nwaiting = 1\n", depth_m=99)
        code, told = self.unit.do("reload")
        until(lambda: "acquire.waiting: unknown key" in self.unit.journal(), "a line in the journal")
        self.promise("bad reload", code != 0, f"systemctl reload fails ({code}) {told}")
        os.kill(before, signal.SIGHUP)
        until(lambda: "reload_refused" in self.unit.journal(), "reload_refused in the journal")
        frame = next_frame()
        line = next(line for line in reversed(self.unit.journal("-o", "cat").splitlines()) if "reload_refused" in line)
        self.promise("bad configuration by SIGHUP", self.unit.pid == before and frame.header.frame > 0, line[:200])
        until(lambda: "refused" in self.unit.show("StatusText"), "the refusal in the status line")
        self.promise("status line", True, self.unit.show("StatusText"))

    def good_reload(self) -> None:
        before = self.unit.pid
        depth_m = settings()["depth_m"]
        self.configure(depth_m=depth_m * 0.8)
        code, told = self.unit.do("reload")
        until(lambda: settings()["depth_m"] != depth_m, "the new depth")
        self.promise(
            "good reload",
            code == 0 and self.unit.pid == before,
            f"depth {depth_m} m -> {settings()['depth_m']} m {told}",
        )

    def stops(self) -> None:
        until(lambda: begin_recording(self.recording), "a recording")
        time.sleep(1)
        firing = self.emulator.ask("state")
        begun = time.monotonic()
        code, _ = self.unit.do("stop")
        took_s = time.monotonic() - begun
        now = self.emulator.ask("state")
        self.promise(
            "stop", code == 0 and took_s < self.promised_s, f"{took_s:.2f} s, result {self.unit.show('Result')}"
        )
        self.promise("transmit off", firing == "running" and now == "idle", f"front-end {firing} -> {now}")
        with h5py.File(self.recording) as file:
            self.promise("recording closed", True, f"opens, attributes {sorted(file.attrs)}")
        left = subprocess.run(["pgrep", "-u", "sonod"], capture_output=True, text=True, check=False).stdout.split()
        self.promise("nothing left behind", left == [], f"{len(left)} processes of the user sonod")

    def bad_configuration(self) -> None:
        self.configuration.write_text("[driver]\nur = 1\n[publish]\nendpoint = 'tcp://0.0.0.0:5555'\n")
        # What was killed and restarted above must not count.
        self.unit.do("reset-failed")
        code, _ = self.unit.do("start")
        time.sleep(3)
        found = {name: self.unit.show(name) for name in ("ActiveState", "ExecMainStatus", "NRestarts")}
        kept = code != 0 and found == {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0"}
        self.promise("bad configuration at start", kept, str(found))
        lines = [line for line in self.unit.journal("-o", "cat").splitlines() if "driver.ur: unknown key" in line]
        self.promise("its line in the journal", bool(lines), lines[-1] if lines else "none")

    def confined(self) -> None:
        text = subprocess.run(
            ["systemd-analyze", "security", self.unit.name, "--no-pager"], capture_output=True, text=True, check=False
        ).stdout
        line = next(line for line in text.splitlines() if "Overall exposure" in line)
        score = float(line.split(":")[1].split()[0])
        self.promise("hardening", score <= 1.5, line.strip("→ "))


def conclude(campaign: Campaign) -> int:
    """The last line of the report, and the exit code."""
    sys.stdout.write(f"\n{'everything kept' if not campaign.failed else f'{campaign.failed} promises broken'}\n")
    return int(campaign.failed > 0)


if __name__ == "__main__":
    configuration = Path("/etc/sonod/sonod.toml")
    campaign = Campaign(Emulator(), "sonod.service", configuration, "/var/lib/sonod/campaign.h5", PROMISED_S)
    campaign.run()
    sys.exit(conclude(campaign))

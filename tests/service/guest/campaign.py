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
import urllib.request
from collections.abc import Callable
from pathlib import Path

import h5py

from sonod.client import Control, Frame, Subscriber

EMULATION = "/run/emu/t"
CONFIGURATION = Path("/etc/sonod/sonod.toml")
RECORDING = "/var/lib/sonod/campaign.h5"
GOOD = '[driver]\nuri = "bulk:"\n[metrics]\nenabled = true\n'
PATIENCE_S = 30.0
# Promised: streaming again, and stopped.
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


class Campaign:
    def __init__(self) -> None:
        self.failed = 0
        self.emulator = Emulator()

    def promise(self, what: str, kept: bool, came: str) -> None:
        self.failed += not kept
        sys.stdout.write(f"{'ok    ' if kept else 'FAILED'}  {what}: {came}\n")
        sys.stdout.flush()

    # -- the campaign -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        for step in (
            self.starts, self.page_and_metrics, self.journal_has_fields, self.killed, self.stopped_by_a_signal,
            self.unplugged, self.bad_reload, self.good_reload, self.stops, self.bad_configuration, self.confined,
        ):  # fmt: skip
            try:
                step()
            except Exception as error:  # noqa: BLE001  the next promise is looked at all the same
                self.promise(step.__name__, False, f"{type(error).__name__}: {error}")

    def starts(self) -> None:
        CONFIGURATION.write_text(GOOD)
        begun = time.monotonic()
        code, told = systemctl("start", "sonod")
        active_s = time.monotonic() - begun
        frame = next_frame()
        streaming_s = time.monotonic() - begun
        kept = code == 0 and show("ActiveState") == "active"
        self.promise("start", kept, f"ready after {active_s:.2f} s, first frame after {streaming_s:.2f} s {told}")
        self.promise("status line", show("StatusText").startswith("running"), show("StatusText"))
        self.promise("user", user_of(pid()) == "sonod", f"{user_of(pid())}, frame {frame.header.frame}")

    def page_and_metrics(self) -> None:
        page = until(lambda: read("http://127.0.0.1:5580/"), "the viewer's page")
        self.promise("viewer page", "sonod" in page, f"{len(page)} bytes")
        metrics = read("http://127.0.0.1:5581/metrics")
        wanted = 'sonod_state{state="running"} 1.0'
        self.promise("metrics", wanted in metrics, wanted)

    def journal_has_fields(self) -> None:
        lines = [json.loads(line) for line in journal("-o", "json").splitlines()]
        ready = [line for line in lines if line.get("SONOD_EVENT") == "ready"]
        kept = bool(ready) and ready[0]["SONOD_DRIVER"] == "bulk:" and "SONOD_SERIAL" in ready[0]
        self.promise(
            "journal fields", kept, str({key: one for key, one in ready[0].items() if key.startswith("SONOD_")})
        )

    def killed(self) -> None:
        for _ in range(3):
            before, session = pid(), next_frame().header.session
            begun = time.monotonic()
            os.kill(before, signal.SIGKILL)
            next_frame(other_than=session)
            took_s = time.monotonic() - begun
            self.promise("SIGKILL", took_s < PROMISED_S and pid() != before, f"streaming again after {took_s:.2f} s")

    def stopped_by_a_signal(self) -> None:
        before, session = pid(), next_frame().header.session
        begun = time.monotonic()
        os.kill(before, signal.SIGSTOP)
        next_frame(other_than=session)
        took_s = time.monotonic() - begun
        told = "watchdog" in journal().lower()
        self.promise("SIGSTOP", pid() != before and told, f"restarted by the watchdog, streaming after {took_s:.1f} s")

    def unplugged(self) -> None:
        before, session = pid(), next_frame().header.session
        self.emulator.ask("unplug")
        until(lambda: state() == "recovering", "recovering")
        time.sleep(3)
        waiting = health()
        begun = time.monotonic()
        self.emulator.ask("plug")
        frame = next_frame(after=begun)
        took_s = time.monotonic() - begun
        kept = pid() == before and frame.header.session == session and took_s < PROMISED_S
        self.promise("unplug, plug", kept, f"same process, streaming {took_s:.2f} s after plugging in")
        self.promise("health while unplugged", waiting == (75, "recovering"), f"{waiting[1]}, exit code {waiting[0]}")

    def bad_reload(self) -> None:
        before = pid()
        CONFIGURATION.write_text(GOOD + "[acquire]\nwaiting = 1\n[settings]\ndepth_m = 99\n")
        code, told = systemctl("reload", "sonod")
        until(lambda: "acquire.waiting: unknown key" in journal(), "a line in the journal")
        self.promise("bad reload", code != 0, f"systemctl reload fails ({code}) {told}")
        os.kill(before, signal.SIGHUP)
        until(lambda: "reload_refused" in journal(), "reload_refused in the journal")
        frame = next_frame()
        line = next(line for line in reversed(journal("-o", "cat").splitlines()) if "reload_refused" in line)
        self.promise("bad configuration by SIGHUP", pid() == before and frame.header.frame > 0, line[:200])
        until(lambda: "refused" in show("StatusText"), "the refusal in the status line")
        self.promise("status line", True, show("StatusText"))

    def good_reload(self) -> None:
        before = pid()
        depth_m = settings()["depth_m"]
        CONFIGURATION.write_text(GOOD + f"[settings]\ndepth_m = {depth_m * 0.8:.4f}\n")
        code, told = systemctl("reload", "sonod")
        until(lambda: settings()["depth_m"] != depth_m, "the new depth")
        self.promise(
            "good reload", code == 0 and pid() == before, f"depth {depth_m} m -> {settings()['depth_m']} m {told}"
        )

    def stops(self) -> None:
        with Control() as control:
            control.start_recording(RECORDING)
        time.sleep(1)
        firing = self.emulator.ask("state")
        begun = time.monotonic()
        code, _ = systemctl("stop", "sonod")
        took_s = time.monotonic() - begun
        now = self.emulator.ask("state")
        self.promise("stop", code == 0 and took_s < PROMISED_S, f"{took_s:.2f} s, result {show('Result')}")
        self.promise("transmit off", firing == "running" and now == "idle", f"front-end {firing} -> {now}")
        with h5py.File(RECORDING) as file:
            self.promise("recording closed", True, f"opens, attributes {sorted(file.attrs)}")
        left = subprocess.run(["pgrep", "-u", "sonod"], capture_output=True, text=True, check=False).stdout.split()
        self.promise("nothing left behind", left == [], f"{len(left)} processes of the user sonod")

    def bad_configuration(self) -> None:
        CONFIGURATION.write_text("[driver]\nur = 1\n[publish]\nendpoint = 'tcp://0.0.0.0:5555'\n")
        # What was killed and restarted above must not count.
        systemctl("reset-failed", "sonod")
        code, _ = systemctl("start", "sonod")
        time.sleep(3)
        found = {name: show(name) for name in ("ActiveState", "ExecMainStatus", "NRestarts")}
        kept = code != 0 and found == {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0"}
        self.promise("bad configuration at start", kept, str(found))
        lines = [line for line in journal("-o", "cat").splitlines() if "driver.ur: unknown key" in line]
        self.promise("its line in the journal", bool(lines), lines[-1] if lines else "none")

    def confined(self) -> None:
        text = subprocess.run(
            ["systemd-analyze", "security", "sonod.service", "--no-pager"], capture_output=True, text=True, check=False
        ).stdout
        line = next(line for line in text.splitlines() if "Overall exposure" in line)
        score = float(line.split(":")[1].split()[0])
        self.promise("hardening", score <= 1.5, line.strip("→ "))


# -- helpers
# -------------------------------------------------------------------------------------------------------------


def systemctl(*words: str) -> tuple[int, str]:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.returncode, done.stderr.strip().split("\n")[0]


def show(name: str) -> str:
    return subprocess.run(
        ["systemctl", "show", "--property", name, "--value", "sonod"], capture_output=True, text=True, check=True
    ).stdout.strip()


def pid() -> int:
    return int(show("MainPID"))


def user_of(process: int) -> str:
    return Path(f"/proc/{process}").owner()


def journal(*options: str) -> str:
    return subprocess.run(
        ["journalctl", "-u", "sonod", "--no-pager", *options], capture_output=True, text=True, check=True
    ).stdout


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def state() -> str:
    with Control() as control:
        return control.status().state


def health() -> tuple[int, str]:
    done = subprocess.run(["sonod", "status", "--check"], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.split(":")[0]


def settings() -> dict[str, float]:
    with Control() as control:
        return dict(control.get().settings)  # type: ignore[arg-type]


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
        except OSError:
            pass
        time.sleep(0.05)
    raise TimeoutError(f"not within {PATIENCE_S:.0f} s: {what}")


if __name__ == "__main__":
    campaign = Campaign()
    campaign.run()
    sys.stdout.write(f"\n{'everything kept' if not campaign.failed else f'{campaign.failed} promises broken'}\n")
    sys.exit(campaign.failed > 0)

"""The daemon of the fault campaign, and what systemd would hear from it."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from pathlib import Path

from control_group import group_of

WATCHDOG_S = 10.0
WRITER = b"sonod.daemon.cine.writer"
# A process on a busy machine has started by then.
START_S = 120.0
# Under a limit of memory from the start to the end; its rings are small here.
MEMORY_LIMIT_BYTES = 768 << 20


class Daemon:
    """The process under test, and what systemd would hear from it; made, it is ready. `leak_mb`: it keeps so much of
    each change of settings."""

    def __init__(self, folder: Path, environment: dict[str, str], leak_mb: float = 0.0) -> None:
        self.frames = self.control = ""
        self._ready = threading.Event()
        self.config = folder / "sonod.toml"
        self.write(0.05)
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(folder / "notify"))
        self._manager.settimeout(1.0)
        self.fed: list[float] = []
        self.lines: Counter[str] = Counter()
        self.device_losses: Counter[str] = Counter()
        # The newest lines of level error, for the report.
        self.errors: deque[str] = deque(maxlen=20)
        variables = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
            **environment,
        }
        program = [str(Path(__file__).with_name("leaking_daemon.py")), str(leak_mb)] if leak_mb else ["-m", "sonod"]
        command = [sys.executable, *program, "run", "--service", "--config", str(self.config)]
        # In a process group of its own: a signal for whoever runs the campaign is not for the daemon.
        self.process = subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True, process_group=0)
        self.group = group_of(self.process.pid)
        if self.group is not None:
            self.group.memory(MEMORY_LIMIT_BYTES)
        for listen in (self._hear, self._read_log):
            threading.Thread(target=listen, daemon=True).start()
        self._ready.wait(START_S)
        if not self.control:
            self.close()
            raise TimeoutError(f"the daemon does not get ready: {dict(self.lines)} {list(self.errors)}")

    def write(self, depth_m: float, spoilt: bool = False) -> None:
        text = (
            '[driver]\nuri = "bulk:"\n[viewer]\nenabled = false\n[publish]\nendpoint = "tcp://127.0.0.1:*"\n'
            f'[control]\nendpoint = "tcp://127.0.0.1:*"\n[settings]\ndepth_m = {depth_m}\n'
            # Small rings are full soon, and then take no more memory.
            "[cine]\nrf_memory_mib = 16\nimage_memory_mib = 8\n[record]\nkeep_free_mib = 1\n"
        )
        self.config.write_text(text + ("nonsense = 1\n" if spoilt else ""))

    @property
    def memory_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096

    @property
    def descriptors(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    @property
    def writers(self) -> list[int]:
        """Its processes that write recordings and clips."""
        found = []
        for children in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                for child in map(int, children.read_text().split()):
                    if WRITER in Path(f"/proc/{child}/cmdline").read_bytes():
                        found.append(child)
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.group is not None:
            self.group.close()

    def _hear(self) -> None:
        while self.process.poll() is None:
            with contextlib.suppress(TimeoutError):
                if b"WATCHDOG=1" in self._manager.recv(4096):
                    self.fed.append(time.monotonic())
        self._manager.close()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                told = json.loads(line)
                self.lines[told["event"]] += 1
                if told["event"] == "ready":
                    (self.frames,), self.control = told["frames"], told["control"]
                    self._ready.set()
                if told["event"] == "device_lost":
                    self.device_losses[told["reason"]] += 1
                if told["level"] == "error":
                    self.errors.append(line.strip()[:500])
            except (ValueError, KeyError, TypeError):
                self.lines["(not a log line)"] += 1
        # It has ended; nobody needs to wait for it.
        self._ready.set()

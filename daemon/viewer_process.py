"""The viewer's web gateway, a program of its own: an ordinary client that is started and ended with the daemon."""

from __future__ import annotations

import subprocess
import sys
import threading
from importlib.util import find_spec

import structlog

MODULE = "sonod.client.viewer"
END_TIMEOUT_S = 1.0
# What the gateway prints when it serves, in front of the page's address.
READY = "viewer "


class ViewerProcess:
    """Runs the gateway as a child; its failure is logged and stops nothing.

    The child's standard input is a pipe that nobody writes to: when the daemon is gone, however it went, the pipe
    ends, and the gateway with it. Its standard output tells when the page is served, and where.
    """

    def __init__(self, frames: str, control: str, host: str, port: int, keys: str = "") -> None:
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._command = [
            *(sys.executable, "-m", MODULE),
            *("--frames", frames, "--control", control),
            *("--host", host, "--port", str(port)),
            "--until-input-ends",
            *(("--keys", keys) if keys else ()),
        ]
        self._child: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None
        self._reported = False
        self._log = structlog.get_logger()

    @staticmethod
    def available() -> bool:
        """Whether the gateway is installed."""
        return find_spec(MODULE) is not None

    def start(self) -> None:
        try:
            child = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        except OSError as error:
            self._log.error("viewer_failed", reason=str(error))
            return
        self._child = child
        self._listener = threading.Thread(target=self._listen, args=(child,), name="sonod-viewer")
        self._listener.start()

    def check(self) -> None:
        """Say once when the gateway has ended by itself."""
        if self._child is not None and not self._reported and self._child.poll() is not None:
            self._reported = True
            self._log.error("viewer_ended", exit_code=self._child.returncode, url=self.url)

    def stop(self) -> None:
        """End the gateway; by force when it does not go."""
        child = self._child
        if child is None:
            return
        if child.stdin is not None:
            child.stdin.close()
        child.terminate()
        try:
            child.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if self._listener is not None:
            self._listener.join(END_TIMEOUT_S)

    def _listen(self, child: subprocess.Popen[str]) -> None:
        """Until the gateway ends, or closes its output."""
        assert child.stdout is not None
        with child.stdout as lines:
            for line in lines:
                if line.startswith(READY):
                    self.url = line.removeprefix(READY).strip()
                    self._log.info("viewer_ready", url=self.url)

"""The viewer's web gateway, a program of its own: an ordinary client that is started and ended with the daemon."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import structlog

MODULE = "sonod.client.viewer"
END_TIMEOUT_S = 1.0


class ViewerProcess:
    """Runs the gateway as a child; its failure is logged and stops nothing.

    The child's standard input is a pipe that nobody writes to: when the daemon is gone, however it went, the pipe
    ends, and the gateway with it.
    """

    def __init__(self, frames: str, control: str, host: str, port: int) -> None:
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._command = [
            *(sys.executable, "-m", MODULE),
            *("--frames", frames, "--control", control),
            *("--host", host, "--port", str(port)),
            "--until-input-ends",
        ]
        self._child: subprocess.Popen[bytes] | None = None
        self._reported = False
        self._log = structlog.get_logger()

    @staticmethod
    def available() -> bool:
        """Whether the gateway is installed."""
        return find_spec(MODULE) is not None

    def start(self) -> None:
        try:
            self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE)
        except OSError as error:
            self._log.error("viewer_failed", reason=str(error))

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

"""Which devices are attached to this machine, as `sonod devices` tells; run as a program of its own, when asked."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any

COMMAND = (sys.executable, "-m", "sonod", "devices", "--json")
# Boards are asked who they are; one that does not answer takes seconds.
TIMEOUT_S = 30.0
# A file's name has a dot or a slash.
SIMULATED = re.compile(r"sim:[a-z0-9-]*")


class DevicesUnknown(Exception):
    """Nobody could look; one line says why and what to do."""


class Devices:
    """Looks at this machine's devices, once at a time. `here`: the daemon runs on this machine."""

    def __init__(self, here: bool) -> None:
        self._here = here
        self._looking = asyncio.Lock()
        self._found: frozenset[str] = frozenset()

    async def look(self) -> list[dict[str, Any]]:
        """A row for each device and emulated board, as `sonod devices --json` has it."""
        if not self._here:
            raise DevicesUnknown("the daemon is on another machine; run `sonod devices` there")
        if self._looking.locked():
            raise DevicesUnknown("somebody looks already; wait for it")
        async with self._looking:
            rows = _rows(await _run())
            self._found = frozenset(uri for row in rows if isinstance(uri := row.get("uri"), str))
            return rows

    def offers(self, uri: object) -> bool:
        """Whether a page may have the daemon use this driver: a device found at the last look, or a simulated probe
        with a scene of its own. No page names a file."""
        return isinstance(uri, str) and (uri in self._found or SIMULATED.fullmatch(uri) is not None)


async def _run() -> bytes:
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*COMMAND, stdin=nothing, stdout=pipe, stderr=pipe)
    try:
        output, problem = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    except TimeoutError as error:
        raise DevicesUnknown(f"no answer in {TIMEOUT_S:g} s; run `sonod devices` in a terminal") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        lines = problem.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise DevicesUnknown(lines[-1][:300])
    return output


def _rows(output: bytes) -> list[dict[str, Any]]:
    try:
        rows = json.loads(output)
    except ValueError as error:
        raise DevicesUnknown(f"`sonod devices` was not understood ({error})") from error
    return [row for row in rows if isinstance(row, dict)]

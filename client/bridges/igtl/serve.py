"""Run the bridge until told to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable

from sonod.client.bridges.igtl.bridge import Bridge
from sonod.client.bridges.igtl.options import Options
from sonod.client.calibration import Calibration
from sonod.client.lease import HeldLease

HOLDER = "OpenIGTLink bridge"


def run(options: Options, version: str, calibration: Calibration | None, ready: Callable[[str, int], None]) -> None:
    """Serve until SIGINT or SIGTERM; PortInUse when the address cannot be had, RequestRefused when somebody else holds
    the lease that was asked for. `ready` gets the address."""
    logging.basicConfig(format="igtl: %(message)s", level=logging.INFO, stream=sys.stderr)
    with contextlib.ExitStack() as held:
        lease = held.enter_context(HeldLease(HOLDER, options.control)) if options.hold_lease else None
        # Once it is lost we are one like all others.
        asyncio.run(
            _serve(options, version, calibration, lambda: None if lease is None or lease.lost else lease.token, ready)
        )


async def _serve(
    options: Options,
    version: str,
    calibration: Calibration | None,
    token: Callable[[], str | None],
    ready: Callable[[str, int], None],
) -> None:
    bridge = Bridge(options, version, calibration, token)
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    try:
        ready(*await bridge.start())
        ends = [asyncio.ensure_future(told.wait()), asyncio.ensure_future(bridge.finished())]
        done, waiting = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in waiting:
            end.cancel()
        for end in done:
            end.result()
    finally:
        await bridge.stop()

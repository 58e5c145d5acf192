"""`python -m sonod.client.viewer`: serve the page until told to end."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
import threading

from sonod.client.address import AddressError
from sonod.client.keys import KeyFileError
from sonod.client.viewer.gateway import Gateway, PortInUse
from sonod.client.viewer.options import Options, UsageError, parse_options

# The usual 1024 are used up by one program that opens connections and forgets them; then nobody else gets in.
OPEN_FILES = 8192
EXIT_DONE, EXIT_USAGE, EXIT_UNAVAILABLE = 0, 2, 69


def main() -> int:
    """Exit code 0 when told to end, 2 for a wrong command line, 69 when the address cannot be had."""
    logging.basicConfig(format="viewer: %(message)s", level=logging.WARNING)
    try:
        asyncio.run(_serve(parse_options(sys.argv[1:])))
    except (UsageError, KeyFileError, AddressError) as error:
        sys.stderr.write(f"viewer: {error}\n")
        return EXIT_USAGE
    except PortInUse as error:
        sys.stderr.write(f"viewer: {error}\n")
        return EXIT_UNAVAILABLE
    return EXIT_DONE


async def _serve(options: Options) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    gateway = Gateway(options)
    try:
        url = await gateway.start()
        sys.stdout.write(f"viewer {url}\n")
        sys.stdout.flush()
        if options.until_input_ends:
            # A daemon thread: reading cannot be interrupted when a signal comes first.
            threading.Thread(target=_wait_for_end_of_input, args=(loop, told), daemon=True).start()
        await told.wait()
    finally:
        await gateway.stop()


def _wait_for_end_of_input(loop: asyncio.AbstractEventLoop, told: asyncio.Event) -> None:
    while True:
        try:
            if not os.read(0, 4096):
                break
        except OSError:
            break
    # The loop may have ended by itself meanwhile.
    if not loop.is_closed():
        loop.call_soon_threadsafe(told.set)


if __name__ == "__main__":
    sys.exit(main())

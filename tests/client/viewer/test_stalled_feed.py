"""A page whose process could not read for a while: libzmq ends processes that send heartbeats then (decision 0079)."""

from __future__ import annotations

import subprocess
import sys

# Longer than heartbeats every two seconds are waited for; in a process of its own, which would be ended.
STALLED_S = 4.5
SCRIPT = """
import asyncio, sys, threading, time
import zmq, zmq.asyncio
from sonod.client.viewer.feed import Feed

def flood(publisher, leaving):
    while not leaving.is_set():
        publisher.send_multipart([b"sonod.1.bmode.linear", b"{}", bytes(300_000)])
        time.sleep(0.01)

async def look(endpoint, stalled_s):
    feed = Feed(zmq.asyncio.Context(), endpoint)
    feed._socket.subscribe(b"")
    running = asyncio.create_task(feed.run())
    await asyncio.sleep(0.3)
    time.sleep(stalled_s)
    await asyncio.sleep(0.3)
    running.cancel()
    feed.close()

publisher = zmq.Context().socket(zmq.XPUB)
publisher.setsockopt(zmq.SNDHWM, 8)
publisher.bind("tcp://127.0.0.1:*")
leaving = threading.Event()
flooding = threading.Thread(target=flood, args=(publisher, leaving))
flooding.start()
asyncio.run(look(publisher.getsockopt_string(zmq.LAST_ENDPOINT), float(sys.argv[1])))
leaving.set()
flooding.join()
"""


def test_a_feed_that_was_not_read_for_a_while_goes_on() -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT, str(STALLED_S)], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")

"""Signals reach the main thread at any moment, whatever it is doing."""

from __future__ import annotations

import subprocess
import sys

# Another thread sends signals as fast as it can while the main one waits and looks; then one that ends it.
HAIL = """
import os, signal, threading
from sonod.daemon.signals import Signals

def hail():
    for _ in range(20_000):
        os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.{last})

with Signals(reloads=True) as signals:
    thread = threading.Thread(target=hail)
    thread.start()
    reloads = 0
    while not signals.is_set():
        signals.wait(0.001)
        reloads += signals.take_reload()
    thread.join()
assert reloads > 0
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
"""


def hail(last: str) -> None:
    subprocess.run([sys.executable, "-c", HAIL.format(last=last)], check=True, timeout=60)


def test_a_hail_of_signals_stops_nothing_but_the_daemon() -> None:
    hail("SIGTERM")


def test_interrupting_ends_it_too() -> None:
    hail("SIGINT")


def test_hanging_up_ends_it_where_there_is_nothing_to_read_again() -> None:
    script = """
import os, signal
from sonod.daemon.signals import Signals
with Signals(reloads=False) as signals:
    os.kill(os.getpid(), signal.SIGHUP)
    signals.wait(60)
    assert signals.is_set() and not signals.take_reload()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)

"""The fault campaign: everything goes wrong, again and again, and the daemon must not care.

    python tests/soak/soak.py [--seconds 300] [--seed 1] [--report FILE.json] [--only FAULT] [--step-clock] [--leak MB]

Starts the daemon as a service on an emulated front-end (bulk RF protocol, through the real libusb under umockdev's
preload library), one patient subscriber, and then, at moments that the seed decides, faults: USB errors, unplugging,
consumers that stall, die or flood, malformed bytes, changes of settings, reloads of good and bad configurations,
moments without processor time or with little of it, recordings whose process is killed, has no memory or a full disk,
clips. With `--step-clock` (as root, on a machine that nobody else uses) also steps of the system's clock. Where control
groups may be made, the daemon and its children have 768 MiB from the start to the end. Exit code 0 when every invariant
held:

- the process that was started is alive at the end, streams, and then ends as asked;
- every frame number that the patient subscriber did not receive has exactly one cause in its accounts;
- every frame that a recording had flushed is in its file and whole, and clips have the hashes of their manifests;
- the watchdog was fed all the time; the log's volume is bounded; nothing was ended for want of memory;
- resident memory and open descriptors are flat, by looks at the daemon at rest in the same state through the campaign;
  of one too short for that its end against its start.

With `--leak` the daemon keeps so many MB of each change of settings, and the campaign must break.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from campaign import SETTLE_S, Campaign
from faults import names
from soaked_daemon import Daemon

from sonod.drivers.emulated.server import RemoteBoard


def run(seconds: float, seed: int, only: str = "", steps_clock: bool = False, leak_mb: float = 0.0) -> dict[str, Any]:
    """One campaign; its report, `broken` being the invariants that did not hold."""
    with tempfile.TemporaryDirectory(prefix="sonod-") as folder:
        with RemoteBoard("bulk", Path(folder, "t"), phantom="wires", probe="phased") as board:
            daemon = Daemon(Path(folder), board.environment, leak_mb)
            try:
                campaign = Campaign(daemon, board, seed, only, steps_clock)
                broken = campaign.run(seconds)
                daemon.process.terminate()
                if daemon.process.wait(SETTLE_S) != 0:
                    broken.append(f"asked to stop, the daemon ended with {daemon.process.returncode}")
            finally:
                daemon.close()
        return campaign.report(broken)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="The fault campaign.")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--only", default="", help="one fault by name, as in the report: to find the guilty one")
    parser.add_argument("--step-clock", action="store_true", help="also steps of the system's clock; as root")
    parser.add_argument("--leak", type=float, default=0.0, metavar="MB", help="of each change of settings are kept")
    options = parser.parse_args(arguments)
    if options.step_clock and os.geteuid() != 0:
        sys.exit("soak: --step-clock: only root may set the clock")
    if options.only and options.only not in (known := names(options.step_clock)):
        sys.exit(f"soak: --only: there is no fault {options.only!r}; there are {', '.join(known)}")
    # Asked to end, it ends what it has begun: limits, and steps of the clock.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(f"soak: ended by signal {number}"))
    report = run(options.seconds, options.seed, options.only, options.step_clock, options.leak)
    text = json.dumps(report, indent=2)
    if options.report is not None:
        options.report.write_text(text + "\n")
    sys.stdout.write(text + "\n")
    return bool(report["broken"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

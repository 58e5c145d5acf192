"""Room for recordings."""

from __future__ import annotations

from collections.abc import Iterator

from sonod.daemon.config import Config
from sonod.daemon.doctor.finding import Finding, good, warning, wrong
from sonod.daemon.doctor.machine import Machine

# A minute of RF at 100 MB/s, and room for everything else.
DISK_WARNING_BYTES = 10 << 30
DISK_FAILURE_BYTES = 1 << 30


def check_disk(machine: Machine, config: Config) -> Iterator[Finding]:
    configured = config.record.folder
    folder = machine.root / (configured.lstrip("/") or "var/lib/sonod")
    if configured and not folder.is_dir():
        yield wrong(
            "disk",
            f"record.folder: {configured} is not there: clips cannot be saved",
            f"make it: mkdir -p {configured}",
        )
        return
    while not folder.is_dir():
        folder = folder.parent
    free = machine.free_bytes(folder)
    shown = f"{free / 1e9:.1f} GB free for recordings in /{folder.relative_to(machine.root)}"
    remedy = "move old recordings away, or record elsewhere (ReadWritePaths in docs/service.md)"
    if free < DISK_FAILURE_BYTES:
        yield wrong("disk", shown, remedy)
    elif free < DISK_WARNING_BYTES:
        yield warning("disk", f"{shown}: a minute of RF may take 6 GB", remedy)
    else:
        yield good("disk", shown)

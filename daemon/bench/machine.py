"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import sonod
from sonod.cext.instruction import instruction_set
from sonod.cext.threads import thread_count
from sonod.daemon.bench.peers import versions


@dataclass(frozen=True)
class Machine:
    """Processor, system and versions; a figure without them means little."""

    processor: str
    cores: int
    system: str
    instruction_set: str
    threads: int
    python: str
    numpy: str
    sonod: str
    peers: Mapping[str, str]


def this_machine(peers: tuple[str, ...] = ()) -> Machine:
    """The machine that runs this process, with the versions of the peers that are measured."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        system=f"{platform.system()} {platform.release()}",
        instruction_set=instruction_set(),
        threads=thread_count(),
        python=platform.python_version(),
        numpy=np.__version__,
        sonod=sonod.__version__,
        peers=versions(peers),
    )


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()

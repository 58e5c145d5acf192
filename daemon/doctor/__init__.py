"""What is wrong with this machine for sonod, one finding for each thing, with its cure.

Every check is a function of a `Machine`, which names the root of the file system and what cannot be read from files, so
that each can be shown a machine with that one thing wrong, and of the configuration that the daemon will use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sonod.daemon.config import Config
from sonod.daemon.doctor.boards import check_group, check_rules, check_usb, check_usbfs
from sonod.daemon.doctor.disk import check_disk
from sonod.daemon.doctor.finding import Finding, Verdict
from sonod.daemon.doctor.host import check_clock, check_governor, check_instructions, check_memory, check_realtime
from sonod.daemon.doctor.machine import Limit, Machine
from sonod.daemon.doctor.ports import check_ports

__all__ = ["Finding", "Limit", "Machine", "Verdict", "examine"]

# In the order in which a person would look.
CHECKS: Sequence[Callable[[Machine, Config], Iterator[Finding]]] = (
    check_usb,
    check_rules,
    check_group,
    check_usbfs,
    check_governor,
    check_instructions,
    check_realtime,
    check_clock,
    check_memory,
    check_disk,
    check_ports,
)


def examine(machine: Machine, config: Config) -> tuple[Finding, ...]:
    """Every check's findings."""
    return tuple(finding for check in CHECKS for finding in check(machine, config))

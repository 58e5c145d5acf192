"""What is wrong with this machine for sonod, one finding for each thing, with its cure.

Every check is a function of a `Machine`, which names the root of the file system and what cannot be read from files, so
that each can be shown a machine with that one thing wrong.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from sonod.daemon.config import Config
from sonod.drivers import driver_class, driver_names
from sonod.drivers.errors import DriverError
from sonod.drivers.transports.udev import udev_rule

RULES_FOLDERS = ("etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d")
RULES_NAMES = ("70-sonod.rules", "71-sonod-local.rules")
# The drivers keep at most 12 MiB of transfers in flight; Linux's usual limit for all of them is 16 MiB.
USBFS_NEEDED_MIB = 16
# A minute of RF at 100 MB/s, and room for everything else.
DISK_WARNING_BYTES = 10 << 30
DISK_FAILURE_BYTES = 1 << 30
# Of the memory that there is; the rest is for the daemon, the system and a browser.
LARGEST_RING_SHARE = 0.4


class Verdict(StrEnum):
    GOOD = "good"
    WARNING = "warning"  # sonod works, but not as well as it could
    WRONG = "wrong"  # something will not work


@dataclass(frozen=True)
class Finding:
    """What one check found; `remedy` is '' when all is well."""

    check: str
    verdict: Verdict
    message: str
    remedy: str = ""


class Limit(NamedTuple):
    """A soft limit of this process; -1 = none."""

    realtime_priority: int
    locked_bytes: int


@dataclass(frozen=True)
class Machine:
    """Where and as whom the checks look."""

    root: Path = Path("/")
    user_id: int = field(default_factory=os.geteuid)
    group_ids: frozenset[int] = field(default_factory=lambda: frozenset({*os.getgroups(), os.getegid()}))
    limits: Limit = field(
        default_factory=lambda: Limit(
            resource.getrlimit(resource.RLIMIT_RTPRIO)[0], resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
        )
    )
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free
    # What `stat` says of a device node: permission bits, owner, group.
    node: Callable[[Path], tuple[int, int, int]] = lambda path: (
        stat.S_IMODE(path.stat().st_mode),
        path.stat().st_uid,
        path.stat().st_gid,
    )

    def text(self, path: str) -> str | None:
        """The file's text without the line's end, or None."""
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:
            return None


@dataclass(frozen=True)
class Attached:
    """A USB device of which some driver may be, as the kernel shows it."""

    vendor_id: int
    product_id: int
    name: str
    drivers: tuple[str, ...]
    node: Path


Check = Callable[[Machine, Config], Iterator[Finding]]


def examine(machine: Machine, config: Config) -> tuple[Finding, ...]:
    """Every check's findings, in the order in which a person would look."""
    return tuple(finding for check in CHECKS for finding in check(machine, config))


def attached(machine: Machine) -> tuple[Attached, ...]:
    """The devices on the bus that a driver claims."""
    claims: dict[tuple[int, int], tuple[str, ...]] = {}
    for name in driver_names():
        try:
            pairs = driver_class(name).usb_ids
        except DriverError:
            continue
        for pair in pairs:
            claims[pair] = (*claims.get(pair, ()), name)
    found = []
    for folder in sorted((machine.root / "sys/bus/usb/devices").glob("*")):
        numbers = [_hexadecimal(folder / name) for name in ("idVendor", "idProduct")]
        pair = (numbers[0], numbers[1])
        if pair not in claims:
            continue
        bus, device = (_read(folder / name) for name in ("busnum", "devnum"))
        name = " ".join(filter(None, (_read(folder / "product"), _read(folder / "serial"))))
        node = machine.root / f"dev/bus/usb/{int(bus or 0):03d}/{int(device or 0):03d}"
        found.append(Attached(*pair, name, claims[pair], node))
    return tuple(found)


# -- checks
# --------------------------------------------------------------------------------------------------------------


def check_usb(machine: Machine, config: Config) -> Iterator[Finding]:
    if not (machine.root / "dev/bus/usb").is_dir():
        yield Finding(
            "usb",
            Verdict.WARNING,
            "/dev/bus/usb is not there: no USB device can be opened",
            "load the kernel's USB drivers (modprobe xhci_pci), or give the container or guest its USB bus; the "
            "simulated probe and recordings need none",
        )
        return
    boards = attached(machine)
    if not boards:
        yield Finding("usb", Verdict.GOOD, "no board is attached; `sonod devices` lists everything that is")
    for board in boards:
        named = f"{board.vendor_id:04x}:{board.product_id:04x} {board.name}".strip()
        yield _permission(machine, board, named)


def _permission(machine: Machine, board: Attached, named: str) -> Finding:
    what = f"{named} (perhaps {', '.join(board.drivers)})"
    try:
        mode, owner, group = machine.node(board.node)
    except OSError as error:
        return Finding(
            "permissions",
            Verdict.WRONG,
            f"{what}: no device node ({error.strerror or error})",
            "is udev running? udevadm trigger --action=add --subsystem-match=usb",
        )
    if (
        machine.user_id == 0
        or (machine.user_id == owner and mode & 0o600 == 0o600)
        or (group in machine.group_ids and mode & 0o060 == 0o060)
        or mode & 0o006 == 0o006
    ):
        return Finding("permissions", Verdict.GOOD, f"{what}: may be opened")
    return Finding(
        "permissions",
        Verdict.WRONG,
        f"{what}: this user may not open it",
        f"sudo sonod install-service --device {board.vendor_id:04x}:{board.product_id:04x}, or put into "
        f"/etc/udev/rules.d/71-sonod-local.rules: {udev_rule(board.vendor_id, board.product_id)} ; "
        "then plug it in again, and be in the group sonod (usermod -aG sonod USER, log in again)",
    )


def check_rules(machine: Machine, config: Config) -> Iterator[Finding]:
    for folder in RULES_FOLDERS:
        if any((machine.root / folder / name).is_file() for name in RULES_NAMES):
            yield Finding("udev", Verdict.GOOD, f"rules are in /{folder}")
            return
    yield Finding(
        "udev",
        Verdict.WARNING,
        "no udev rules of sonod: boards can be opened by root alone, and plugging in starts nothing",
        "sudo sonod install-service, or the Debian package",
    )


def check_group(machine: Machine, config: Config) -> Iterator[Finding]:
    groups = machine.text("etc/group") or ""
    if any(line.startswith("sonod:") for line in groups.splitlines()):
        yield Finding("group", Verdict.GOOD, "the group sonod is there")
    else:
        yield Finding(
            "group",
            Verdict.WARNING,
            "there is no group sonod: the udev rules give their permission to nobody",
            "sudo sonod install-service, or groupadd --system sonod",
        )


def check_usbfs(machine: Machine, config: Config) -> Iterator[Finding]:
    text = machine.text("sys/module/usbcore/parameters/usbfs_memory_mb")
    if text is None or not text.isdigit():
        yield Finding("usbfs", Verdict.GOOD, "no limit for USB transfers is known here")
    elif 0 < int(text) < USBFS_NEEDED_MIB:
        yield Finding(
            "usbfs",
            Verdict.WRONG,
            f"usbfs_memory_mb is {text}: a board that streams needs {USBFS_NEEDED_MIB}",
            f"echo {USBFS_NEEDED_MIB} > /sys/module/usbcore/parameters/usbfs_memory_mb, for good the kernel option "
            f"usbcore.usbfs_memory_mb={USBFS_NEEDED_MIB}",
        )
    else:
        size = "without a limit" if text == "0" else f"{text} MiB"
        yield Finding("usbfs", Verdict.GOOD, f"memory for USB transfers: {size}")


def check_governor(machine: Machine, config: Config) -> Iterator[Finding]:
    found = {
        _read(path)
        for path in sorted((machine.root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor"))
    }
    slow = found & {"powersave", "conservative", "userspace"}
    driver = _read(machine.root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver")
    if slow == {"powersave"} and driver in ("intel_pstate", "amd-pstate-epp"):
        # There it only means that the processor chooses by itself.
        slow = set()
    if slow:
        yield Finding(
            "governor",
            Verdict.WARNING,
            f"processors run under the governor {', '.join(sorted(slow))}: pictures will be late",
            "cpupower frequency-set -g performance (package linux-cpupower)",
        )
    else:
        yield Finding("governor", Verdict.GOOD, f"governor: {', '.join(sorted(found)) or 'not told here'}")


def check_instructions(machine: Machine, config: Config) -> Iterator[Finding]:
    from sonod.cext.instruction import instruction_sets

    there_are = instruction_sets()
    wanted = config.core.instruction_set
    flags = next(
        (
            line.partition(":")[2].split()
            for line in (machine.text("proc/cpuinfo") or "").splitlines()
            if line.startswith("flags")
        ),
        None,
    )
    if wanted not in ("auto", *there_are):
        yield Finding(
            "instructions",
            Verdict.WRONG,
            f"core.instruction_set: {wanted!r} is not available here",
            f"one of {', '.join(('auto', *there_are))}",
        )
    elif flags is not None and "avx2" not in flags:
        yield Finding(
            "instructions",
            Verdict.WARNING,
            "the processor has no AVX2: the base kernels are used, which are slower",
            "a guest may hide it: give it the host's processor (qemu: -cpu host); else use fewer lines or a lower rate",
        )
    else:
        yield Finding("instructions", Verdict.GOOD, f"instruction sets: {', '.join(there_are)}")


def check_realtime(machine: Machine, config: Config) -> Iterator[Finding]:
    wanted = max(config.realtime.reader_priority, config.realtime.runner_priority)
    limits = machine.limits
    problem = False
    if wanted and machine.user_id != 0 and 0 <= limits.realtime_priority < wanted:
        problem = True
        yield Finding(
            "realtime",
            Verdict.WARNING,
            f"priority {wanted} is asked for, {limits.realtime_priority} is allowed: it will be refused",
            "sudo sonod install-service --realtime; without systemd, rtprio in /etc/security/limits.conf",
        )
    if config.realtime.lock_memory and limits.locked_bytes >= 0:
        problem = True
        yield Finding(
            "realtime",
            Verdict.WARNING,
            f"realtime.lock_memory is asked for, but the limit is {limits.locked_bytes // 1024} KiB: it is refused",
            "sudo sonod install-service --realtime; without systemd, memlock unlimited in /etc/security/limits.conf",
        )
    if not problem:
        asked = "as asked for" if wanted or config.realtime.lock_memory else "none is asked for"
        yield Finding("realtime", Verdict.GOOD, f"real-time rights: {asked}")


def check_clock(machine: Machine, config: Config) -> Iterator[Finding]:
    source = machine.text("sys/devices/system/clocksource/clocksource0/current_clocksource")
    if source in ("hpet", "acpi_pm", "jiffies", "refined-jiffies"):
        yield Finding(
            "clock",
            Verdict.WARNING,
            f"the kernel's clock is {source}: every look at it takes about a microsecond or more",
            "see why tsc was given up: dmesg | grep -i clocksource",
        )
    synchronised = any(
        (machine.root / path).exists()
        for path in (
            "run/systemd/timesync/synchronized",
            "run/chrony/chronyd.pid",
            "run/chronyd.pid",
            "run/ntpd.pid",
            "run/ptp4l",
        )
    )
    if not synchronised:
        yield Finding(
            "clock",
            Verdict.WARNING,
            "no program keeps the clock in step: UTC in the frames is worth what the clock on the board is",
            "apt install chrony (or systemd-timesyncd); for two machines, PTP",
        )
    elif source not in ("hpet", "acpi_pm", "jiffies", "refined-jiffies"):
        yield Finding("clock", Verdict.GOOD, f"clock: {source or 'not told here'}, kept in step")


def check_memory(machine: Machine, config: Config) -> Iterator[Finding]:
    cine = config.cine
    rings_mib = (cine.rf_memory_mib if cine.rf_s else 0) + (cine.image_memory_mib if cine.image_s else 0)
    lines = (machine.text("proc/meminfo") or "").splitlines()
    total_mib = next((int(line.split()[1]) >> 10 for line in lines if line.startswith("MemTotal:")), None)
    if total_mib is not None and rings_mib > total_mib * LARGEST_RING_SHARE:
        yield Finding(
            "memory",
            Verdict.WARNING,
            f"the rings for clips may take {rings_mib} MiB of this machine's {total_mib} MiB",
            "make cine.rf_memory_mib and cine.image_memory_mib smaller (fewer seconds), or rf_s and image_s 0 (none)",
        )
    else:
        yield Finding("memory", Verdict.GOOD, f"rings for clips take at most {rings_mib} MiB")


def check_disk(machine: Machine, config: Config) -> Iterator[Finding]:
    folder = machine.root / "var/lib/sonod"
    while not folder.is_dir():
        folder = folder.parent
    free = machine.free_bytes(folder)
    shown = f"{free / 1e9:.1f} GB free for recordings in /{folder.relative_to(machine.root)}"
    remedy = "move old recordings away, or record elsewhere (ReadWritePaths in docs/service.md)"
    if free < DISK_FAILURE_BYTES:
        yield Finding("disk", Verdict.WRONG, shown, remedy)
    elif free < DISK_WARNING_BYTES:
        yield Finding("disk", Verdict.WARNING, f"{shown}: a minute of RF may take 6 GB", remedy)
    else:
        yield Finding("disk", Verdict.GOOD, shown)


def check_ports(machine: Machine, config: Config) -> Iterator[Finding]:
    wanted = [("publish.endpoint", config.publish.endpoint), ("control.endpoint", config.control.endpoint)]
    addresses = [(key, *_host_and_port(endpoint)) for key, endpoint in wanted if endpoint.startswith("tcp://")]
    if config.viewer.enabled:
        addresses.append(("viewer.port", config.viewer.host, config.viewer.port))
    if config.metrics.enabled:
        addresses.append(("metrics.port", config.metrics.host, config.metrics.port))
    busy = [(key, port) for key, host, port in addresses if port and not _free(host, port)]
    if len(busy) == len([port for _, _, port in addresses if port]) and busy:
        # All of them: that is a daemon that runs with this configuration, or one like it.
        yield Finding("ports", Verdict.GOOD, "all ports are in use: a sonod seems to run (`sonod status`)")
        return
    for key, port in busy:
        yield Finding(
            "ports",
            Verdict.WRONG,
            f"{key}: port {port} is in use by another program",
            f"end it (ss -ltnp 'sport = :{port}' names it), or choose another port",
        )
    if not busy:
        yield Finding("ports", Verdict.GOOD, f"free: {', '.join(str(port) for _, _, port in addresses if port)}")


CHECKS: Sequence[Check] = (
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


# -- helpers
# -------------------------------------------------------------------------------------------------------------


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _hexadecimal(path: Path) -> int:
    try:
        return int(_read(path), 16)
    except ValueError:
        return -1


def _host_and_port(endpoint: str) -> tuple[str, int]:
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return host.strip("[]"), int(port) if port.isdigit() else 0


def _free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
        return True

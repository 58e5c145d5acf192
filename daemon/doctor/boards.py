"""Boards on the bus, and whether they may be opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sonod.daemon.config import Config
from sonod.daemon.doctor.finding import Finding, good, warning, wrong
from sonod.daemon.doctor.machine import Machine, read
from sonod.drivers.transports.udev import udev_rule
from sonod.drivers.transports.usb_bus import claimed_ids

RULES_FOLDERS = ("etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d")
RULES_NAMES = ("70-sonod.rules", "71-sonod-local.rules")
# The drivers keep at most 12 MiB of transfers in flight; Linux's usual limit for all of them is 16 MiB.
USBFS_NEEDED_MIB = 16


@dataclass(frozen=True)
class Attached:
    """A USB device of which some driver may be, as the kernel shows it."""

    vendor_id: int
    product_id: int
    name: str
    drivers: tuple[str, ...]
    node: Path


def check_usb(machine: Machine, config: Config) -> Iterator[Finding]:
    if not (machine.root / "dev/bus/usb").is_dir():
        yield warning(
            "usb",
            "/dev/bus/usb is not there: no USB device can be opened",
            "load the kernel's USB drivers (modprobe xhci_pci), or give the container or guest its USB bus; the "
            "simulated probe and recordings need none",
        )
        return
    boards = attached(machine)
    if not boards:
        yield good("usb", "no board is attached; `sonod devices` lists everything that is")
    for board in boards:
        named = f"{board.vendor_id:04x}:{board.product_id:04x} {board.name}".strip()
        yield _permission(machine, board, named)


def check_rules(machine: Machine, config: Config) -> Iterator[Finding]:
    for folder in RULES_FOLDERS:
        if any((machine.root / folder / name).is_file() for name in RULES_NAMES):
            yield good("udev", f"rules are in /{folder}")
            return
    yield warning(
        "udev",
        "no udev rules of sonod: boards can be opened by root alone, and plugging in starts nothing",
        "sudo sonod install-service, or the Debian package",
    )


def check_group(machine: Machine, config: Config) -> Iterator[Finding]:
    groups = machine.text("etc/group") or ""
    if any(line.startswith("sonod:") for line in groups.splitlines()):
        yield good("group", "the group sonod is there")
    else:
        yield warning(
            "group",
            "there is no group sonod: the udev rules give their permission to nobody",
            "sudo sonod install-service, or groupadd --system sonod",
        )


def check_usbfs(machine: Machine, config: Config) -> Iterator[Finding]:
    text = machine.text("sys/module/usbcore/parameters/usbfs_memory_mb")
    if text is None or not text.isdigit():
        yield good("usbfs", "no limit for USB transfers is known here")
    elif 0 < int(text) < USBFS_NEEDED_MIB:
        yield wrong(
            "usbfs",
            f"usbfs_memory_mb is {text}: a board that streams needs {USBFS_NEEDED_MIB}",
            f"echo {USBFS_NEEDED_MIB} > /sys/module/usbcore/parameters/usbfs_memory_mb, for good the kernel option "
            f"usbcore.usbfs_memory_mb={USBFS_NEEDED_MIB}",
        )
    else:
        size = "without a limit" if text == "0" else f"{text} MiB"
        yield good("usbfs", f"memory for USB transfers: {size}")


def attached(machine: Machine) -> tuple[Attached, ...]:
    """The devices on the bus that a driver claims."""
    claims = claimed_ids()
    found = []
    for folder in sorted((machine.root / "sys/bus/usb/devices").glob("*")):
        numbers = [_hexadecimal(folder / name) for name in ("idVendor", "idProduct")]
        pair = (numbers[0], numbers[1])
        if pair not in claims:
            continue
        bus, device = (read(folder / name) for name in ("busnum", "devnum"))
        name = " ".join(filter(None, (read(folder / "product"), read(folder / "serial"))))
        node = machine.root / f"dev/bus/usb/{int(bus or 0):03d}/{int(device or 0):03d}"
        found.append(Attached(*pair, name, claims[pair], node))
    return tuple(found)


def _permission(machine: Machine, board: Attached, named: str) -> Finding:
    what = f"{named} (perhaps {', '.join(board.drivers)})"
    try:
        mode, owner, group = machine.node(board.node)
    except OSError as error:
        return wrong(
            "permissions",
            f"{what}: no device node ({error.strerror or error})",
            "is udev running? udevadm trigger --action=add --subsystem-match=usb",
        )
    if (
        machine.user_id == 0
        or (machine.user_id == owner and mode & 0o600 == 0o600)
        or (group in machine.group_ids and mode & 0o060 == 0o060)
        or mode & 0o006 == 0o006
    ):
        return good("permissions", f"{what}: may be opened")
    return wrong(
        "permissions",
        f"{what}: this user may not open it",
        f"sudo sonod install-service --device {board.vendor_id:04x}:{board.product_id:04x}, or put into "
        f"/etc/udev/rules.d/71-sonod-local.rules: {udev_rule(board.vendor_id, board.product_id)} ; "
        "then plug it in again, and be in the group sonod (usermod -aG sonod USER, log in again)",
    )


def _hexadecimal(path: Path) -> int:
    try:
        return int(read(path), 16)
    except ValueError:
        return -1

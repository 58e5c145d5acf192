"""Where the service's files go, and what must be done so that the system knows them.

`sonod install-service` puts them under /etc, where administrators put things; the Debian package under /usr/lib, where
packages do. Both use the files that travel with sonod.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from sonod.daemon.errors import ConfigError
from sonod.drivers import driver_class, driver_names
from sonod.drivers.errors import DriverError

PROGRAM_MARK = "@SONOD@"
CONFIGURATION = "etc/sonod/sonod.toml"
LOCAL_RULES = "etc/udev/rules.d/71-sonod-local.rules"
UNITS = ("sonod.service", "sonod@.service")
REALTIME = tuple(f"etc/systemd/system/{unit}.d/realtime.conf" for unit in UNITS)
# Places that the service cannot see.
HOMES = ("/home", "/root", "/run/user")
DEVICE_FORM = re.compile(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(?::([\w.+-]+))?")
LOCAL_HEAD = "# Boards that `sonod install-service --device` has named.\n"

# After the files are there: the user, the folders, the rules, the units.
COMMANDS: Sequence[Sequence[str]] = (
    ("systemd-sysusers",),
    ("systemd-tmpfiles", "--create", "sonod.conf"),
    ("udevadm", "control", "--reload"),
    ("udevadm", "trigger", "--action=change", "--subsystem-match=usb"),
    ("systemctl", "daemon-reload"),
)


@dataclass(frozen=True)
class Layout:
    """Folders, below the root, for each kind of file."""

    units: str
    rules: str
    sysusers: str
    tmpfiles: str


LOCAL = Layout("etc/systemd/system", "etc/udev/rules.d", "etc/sysusers.d", "etc/tmpfiles.d")
PACKAGED = Layout("usr/lib/systemd/system", "usr/lib/udev/rules.d", "usr/lib/sysusers.d", "usr/lib/tmpfiles.d")


@dataclass(frozen=True)
class File:
    """A file to be written. `keep` = one that people edit: never overwritten, never removed."""

    path: str
    text: str
    keep: bool = False


@dataclass(frozen=True)
class Device:
    """A USB device that an administrator has named; `serial` '' = every one with these ids."""

    vendor_id: int
    product_id: int
    serial: str = ""

    @classmethod
    def parse(cls, text: str) -> Device:
        """ConfigError when the text is not VID:PID or VID:PID:SERIAL."""
        found = DEVICE_FORM.fullmatch(text)
        if found is None:
            raise ConfigError([f"--device: must be VID:PID or VID:PID:SERIAL in hexadecimal; got {text!r}"])
        return cls(int(found[1], 16), int(found[2], 16), found[3] or "")

    @property
    def rules(self) -> tuple[str, ...]:
        """Lines of udev: the device itself, and the serial port that the kernel may have made of it."""
        ids = f'idVendor}}=="{self.vendor_id:04x}"', f'idProduct}}=="{self.product_id:04x}"'
        serial = (f'serial}}=="{self.serial}"',) if self.serial else ()
        usb = ", ".join(f"ATTR{{{one}" for one in (*ids, *serial))
        tty = ", ".join(f"ATTRS{{{one}" for one in (*ids, *serial))
        right = 'MODE="0660", GROUP="sonod", TAG+="uaccess"'
        wants = f', TAG+="systemd", ENV{{SYSTEMD_WANTS}}+="sonod@{self.driver}.service"' if self.driver else ""
        return (
            f'SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_device", {usb}, {right}{wants}',
            f'SUBSYSTEM=="tty", {tty}, {right}',
        )

    @property
    def driver(self) -> str:
        """The one driver that claims it; '' when several do; a device that nobody claims may be a bulk front-end."""
        claiming = [name for name in driver_names() if (self.vendor_id, self.product_id) in _ids(name)]
        return claiming[0] if len(claiming) == 1 else "" if claiming else "bulk"


def service_files(program: str, layout: Layout) -> tuple[File, ...]:
    """Everything that an installation consists of; `program` is the path of the command `sonod`."""
    units = [File(f"{layout.units}/{unit}", _text(unit).replace(PROGRAM_MARK, program)) for unit in UNITS]
    configuration = (files("sonod") / "config" / "sonod.toml").read_text(encoding="utf-8")
    return (
        *units,
        File(f"{layout.rules}/70-sonod.rules", _text("70-sonod.rules")),
        File(f"{layout.sysusers}/sonod.conf", _text("sonod.sysusers")),
        File(f"{layout.tmpfiles}/sonod.conf", _text("sonod.tmpfiles")),
        File(CONFIGURATION, with_metrics(configuration), keep=True),
    )


def with_metrics(configuration: str) -> str:
    """The shipped configuration as a service begins with it: the metrics page is on."""
    head, mark, rest = configuration.partition("[metrics]")
    return head + mark + rest.replace("enabled = false", "enabled = true", 1)


def realtime_files() -> tuple[File, ...]:
    return tuple(File(path, _text("realtime.conf")) for path in REALTIME)


def local_rules(present: str, devices: Sequence[Device]) -> File:
    """The file of the administrator's own devices, with these added to what it has."""
    lines = present.splitlines() or LOCAL_HEAD.splitlines()
    lines += [rule for device in devices for rule in device.rules if rule not in lines]
    return File(LOCAL_RULES, "\n".join(lines) + "\n")


def installed_program() -> str:
    """The path of the command beside this Python; ConfigError when a service could not run it."""
    program = Path(sys.executable).parent / "sonod"
    problems = []
    if (distribution("sonod").read_text("direct_url.json") or "").find('"editable": true') >= 0:
        problems.append("this is an editable installation, which is built again when it is imported")
    for place in (program, Path(sys.base_prefix).resolve(), Path(sys.executable).resolve()):
        if any(place.is_relative_to(home) for home in HOMES):
            problems.append(f"{place} is in a home directory, which the service cannot see")
            break
    if problems:
        raise ConfigError(
            [
                f"install-service: {problem}; install sonod for the system, for example: "
                "/usr/bin/python3 -m venv /opt/sonod && /opt/sonod/bin/pip install sonod && "
                "sudo /opt/sonod/bin/sonod install-service"
                for problem in problems
            ]
        )
    return str(program)


def write(root: Path, wanted: Sequence[File], dry: bool) -> Iterator[str]:
    """Put the files in place; one line for each, also when nothing is done to it."""
    for file in wanted:
        target = root / file.path
        present = target.read_text() if target.is_file() else None
        if present == file.text:
            yield f"as it should be  {target}"
        elif present is not None and file.keep:
            yield f"kept as it is    {target}"
        else:
            yield f"{'write' if present is None else 'overwrite':<16} {target}"
            if not dry:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(file.text)
                target.chmod(0o644)


def remove(root: Path, wanted: Sequence[File], dry: bool) -> Iterator[str]:
    """Take the files away, but for those that people edit; one line for each."""
    for file in wanted:
        target = root / file.path
        if not target.is_file():
            continue
        if file.keep:
            yield f"kept             {target}"
            continue
        yield f"remove           {target}"
        if not dry:
            target.unlink()
            if file.path in REALTIME and not any(target.parent.iterdir()):
                target.parent.rmdir()


def run(commands: Sequence[Sequence[str]], dry: bool, call: Callable[..., int] = subprocess.call) -> Iterator[str]:
    """Run commands of the system; one that is not there or fails is told and does not stop the others."""
    for command in commands:
        shown = " ".join(command)
        if dry:
            yield f"run              {shown}"
            continue
        try:
            code = call(list(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except OSError as error:
            yield f"not run          {shown} ({os.strerror(error.errno or 0)})"
            continue
        yield f"{'run' if code == 0 else f'failed ({code})':<16} {shown}"


def _text(name: str) -> str:
    return (files("sonod") / "systemd" / name).read_text(encoding="utf-8")


def _ids(driver: str) -> tuple[tuple[int, int], ...]:
    try:
        return driver_class(driver).usb_ids
    except DriverError:
        return ()

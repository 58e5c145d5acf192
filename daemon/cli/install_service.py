"""`sonod install-service`: the units, the udev rules, the user and the folders, from this installation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from sonod.daemon.cli.failure import FAILED, USAGE, Failure
from sonod.daemon.cli.output import put
from sonod.daemon.installation import (
    COMMANDS,
    LOCAL,
    LOCAL_RULES,
    PACKAGED,
    UNITS,
    Device,
    File,
    installed_program,
    local_rules,
    realtime_files,
    remove,
    run,
    service_files,
    write,
)


def install_service(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Take away what was installed.")] = False,
    root: Annotated[
        Path, typer.Option("--root", metavar="DIR", help="Into this tree instead of the running system.")
    ] = Path("/"),
    program: Annotated[
        str | None,
        typer.Option("--program", metavar="PATH", help="The command that the units start.", show_default=False),
    ] = None,
    realtime: Annotated[bool, typer.Option("--realtime", help="Also let [realtime] have what it asks for.")] = False,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", metavar="VID:PID[:SERIAL]", help="Also a rule for this board; may be repeated."),
    ] = None,
) -> None:
    """Install sonod as a service of systemd, or take it away again. Starts nothing: starting means firing."""
    devices = [Device.parse(text) for text in device or ()]
    if uninstall and (devices or realtime):
        raise Failure(USAGE, "install-service: --uninstall takes everything away; leave --device and --realtime out")
    system = root.resolve() == Path("/")
    if system and not dry_run and os.geteuid() != 0:
        raise Failure(
            FAILED,
            f"install-service: must be root to write below /{LOCAL.units}; use sudo, or --dry-run to see what it does",
        )
    if not root.is_dir():
        raise Failure(USAGE, f"--root: no such folder {root}")
    try:
        if uninstall:
            _uninstall(root, system, dry_run)
        else:
            _install(root, system, dry_run, program, realtime, devices)
    except OSError as error:
        raise Failure(FAILED, f"install-service: {error.filename}: {error.strerror}") from error


def _install(root: Path, system: bool, dry: bool, program: str | None, realtime: bool, devices: list[Device]) -> None:
    wanted = [*realtime_files()] if realtime else []
    if (root / PACKAGED.units / UNITS[0]).is_file():
        put(f"The units are there already: a package has put them into /{PACKAGED.units}.")
    else:
        wanted = [*service_files(program or installed_program(), LOCAL), *wanted]
    if devices:
        present = root / LOCAL_RULES
        wanted.append(local_rules(present.read_text() if present.is_file() else "", devices))
    for line in write(root, wanted, dry):
        put(line)
    if not system:
        put("In the system of this tree run: " + "; ".join(" ".join(command) for command in COMMANDS))
        return
    for line in run(COMMANDS, dry):
        put(line)
    put("\nNothing was started. Look at /etc/sonod/sonod.toml ([driver] uri), then:")
    put("    sonod doctor --config /etc/sonod/sonod.toml")
    put("    systemctl enable --now sonod")


def _uninstall(root: Path, system: bool, dry: bool) -> None:
    wanted = (*service_files("", LOCAL), *realtime_files(), File(LOCAL_RULES, ""))
    if system:
        for line in run((("systemctl", "disable", "--now", UNITS[0]), ("systemctl", "stop", "sonod@*.service")), dry):
            put(line)
    for line in remove(root, wanted, dry):
        put(line)
    if system:
        for line in run((("udevadm", "control", "--reload"), ("systemctl", "daemon-reload")), dry):
            put(line)
    put("Configurations in /etc/sonod, recordings in /var/lib/sonod, and the user and group sonod stay.")

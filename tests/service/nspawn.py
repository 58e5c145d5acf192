"""A real systemd boots in a container of Debian, the package is installed in it, and the service is put through it.

    python tests/service/nspawn.py sonod_VERSION_ARCH.deb [--base TREE]

Needs root and the packages systemd-container and mmdebstrap; the base tree is made once (a minute) and copied for each
run. The probe is an emulated front-end that speaks the bulk RF protocol, seen by the daemon through the real libusb
under umockdev's preload library. There is no udev in a container: virtual_machine.py tries what needs one. What came
of it is in docs/service-campaign.md. Exit code 0 when every promise was kept.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

GUEST = Path(__file__).parent / "guest"
PACKAGES = "systemd,systemd-sysv,dbus,udev,python3,libusb-1.0-0,umockdev,procps"
SUITE = "bookworm"
DROP_IN = """[Service]
Environment=LD_PRELOAD=libumockdev-preload.so.0 UMOCKDEV_DIR=/run/emu/t
ReadWritePaths=-/run/emu
"""
CAMPAIGN = """[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/usr/lib/sonod/bin/python /opt/campaign/campaign.py
StandardOutput=append:/var/log/campaign.txt
StandardError=append:/var/log/campaign.txt
ExecStopPost=/bin/systemctl poweroff --no-block
[Install]
WantedBy=multi-user.target
"""
LONGEST_S = 600


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Try the service under a real systemd.")
    parser.add_argument("package", type=Path)
    parser.add_argument("--base", type=Path, default=Path("/var/tmp/sonod-base"))
    options = parser.parse_args(arguments)
    for program in ("systemd-nspawn", "mmdebstrap"):
        if shutil.which(program) is None:
            sys.exit(f"nspawn: {program} is not here; apt-get install systemd-container mmdebstrap")
    if not options.base.is_dir():
        run("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(options.base))
    tree = options.base.with_name(options.base.name + "-run")
    shutil.rmtree(tree, ignore_errors=True)
    run("cp", "-a", "--reflink=auto", str(options.base), str(tree))
    try:
        return boot(tree, options.package)
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def boot(tree: Path, package: Path) -> int:
    """Install, boot, wait for the end, and show what was written."""
    shutil.copy(package, tree / "opt/sonod.deb")
    run("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "-D", str(tree),
        "dpkg", "--install", "/opt/sonod.deb")  # fmt: skip
    shutil.copytree(GUEST, tree / "opt/campaign")
    units = tree / "etc/systemd/system"
    (units / "sonod.service.d").mkdir()
    (units / "sonod.service.d/emulated.conf").write_text(DROP_IN)
    (units / "campaign.service").write_text(CAMPAIGN)
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants/campaign.service").symlink_to("../campaign.service")
    subprocess.run(
        ["systemd-nspawn", "--quiet", "-D", str(tree), "--boot", "--register=no", "--keep-unit", "--private-network",
         "--console=pipe"],
        stdout=subprocess.DEVNULL, timeout=LONGEST_S, check=False,
    )  # fmt: skip
    report = (tree / "var/log/campaign.txt").read_text()
    sys.stdout.write(report)
    if "everything kept" in report:
        return 0
    journal = ["journalctl", "--directory", str(tree / "var/log/journal"), "-u", "sonod", "--no-pager", "-n", "200"]
    subprocess.run(journal, check=False)
    return 1


def run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

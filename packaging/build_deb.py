"""A Debian package of sonod with everything in it: `make deb`.

    python packaging/build_deb.py OUT_FOLDER [--wheel FILE]

The wheel is made from the sdist, as for a release, and installed with its dependencies into a virtual environment under
/usr/lib/sonod, so that installing the package needs no network. It is for Debian systems with the minor version of
Python that it was built with, on the same architecture.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
HOME = "usr/lib/sonod"
PYTHON = "/usr/bin/python3"
LAUNCHER = f"""#!/{HOME}/bin/python -I
from sonod.daemon.cli import main

main()
"""
POSTINST = """#!/bin/sh
set -e
if [ "$1" = configure ]; then
    systemd-sysusers sonod.conf || true
    systemd-tmpfiles --create sonod.conf || true
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload || true
        udevadm control --reload || true
        udevadm trigger --action=change --subsystem-match=usb || true
        # An upgrade goes on as before; a first installation starts nothing, because starting means firing.
        [ -z "$2" ] || systemctl try-restart sonod.service 'sonod@*.service' || true
    fi
fi
"""
PRERM = """#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now sonod.service || true
    systemctl stop 'sonod@*.service' || true
fi
"""
POSTRM = """#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    udevadm control --reload || true
fi
# Recordings in /var/lib/sonod and the user stay, also when purged.
"""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Build a Debian package of sonod.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--wheel", type=Path, help="use this wheel instead of building one")
    options = parser.parse_args(arguments)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = output(PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    if found != version:
        sys.exit(f"make deb: {PYTHON} is {found}, but this is Python {version}; build with {PYTHON} -m venv")
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sonod-deb-") as folder:
        work = Path(folder)
        wheel = options.wheel or build_wheel(work / "dist")
        tree = work / "tree"
        install_environment(tree, wheel, version)
        install_files(tree, version)
        write_control(tree, wheel.name.split("-")[1], version)
        target = options.out / f"sonod_{wheel.name.split('-')[1]}_{architecture()}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z6", "--build", str(tree), str(target)], check=True
        )
    sys.stdout.write(f"{target}\n")


def build_wheel(out: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "build", "--quiet", "--no-isolation", "--outdir", str(out), str(REPOSITORY)], check=True
    )
    return next(out.glob("*.whl"))


def install_environment(tree: Path, wheel: Path, version: str) -> None:
    """The virtual environment, as it will be at its place: no path of this machine stays in it."""
    home = tree / HOME
    site = home / f"lib/python{version}/site-packages"
    site.mkdir(parents=True)
    (home / "bin").mkdir()
    (home / "bin/python").symlink_to(PYTHON)
    (home / "pyvenv.cfg").write_text(f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {version}\n")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True)
    shutil.rmtree(site / "bin", ignore_errors=True)
    for extra in [*site.glob("*/tests"), *site.glob("*/*/tests"), *site.glob("*.dist-info/direct_url.json")]:
        shutil.rmtree(extra) if extra.is_dir() else extra.unlink()
    launcher = home / "bin/sonod"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    # The service may not write what it compiles.
    subprocess.run(
        [
            PYTHON,
            "-m",
            "compileall",
            "-q",
            "-s",
            str(tree),
            "-p",
            "/",
            "--invalidation-mode",
            "unchecked-hash",
            str(site),
        ],
        check=True,
    )


def install_files(tree: Path, version: str) -> None:
    """Units, rules, user, folders and the first configuration, and the command in the path."""
    program = "import sys; sys.path.insert(0, sys.argv[1])\n" + (
        "from pathlib import Path\n"
        "from sonod.daemon.installation import PACKAGED, service_files, write\n"
        "for line in write(Path(sys.argv[2]), service_files('/usr/bin/sonod', PACKAGED), False): pass\n"
    )
    site = tree / HOME / f"lib/python{version}/site-packages"
    subprocess.run([PYTHON, "-I", "-B", "-c", program, str(site), str(tree)], check=True)
    (tree / "usr/bin").mkdir(parents=True, exist_ok=True)
    (tree / "usr/bin/sonod").symlink_to(f"/{HOME}/bin/sonod")
    documents = tree / "usr/share/doc/sonod"
    documents.mkdir(parents=True)
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "docs/service.md", "docs/wire-protocol.md"):
        shutil.copyfile(REPOSITORY / name, documents / ("copyright" if name == "LICENSE" else Path(name).name))


def write_control(tree: Path, release: str, version: str) -> None:
    major, minor = (int(part) for part in version.split("."))
    size = sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink()) // 1024
    control = tree / "DEBIAN"
    control.mkdir()
    (control / "control").write_text(
        f"Package: sonod\nVersion: {release}\nArchitecture: {architecture()}\n"
        "Maintainer: the sonod authors <sonod@localhost>\n"
        f"Depends: python3 (>= {version}~), python3 (<< {major}.{minor + 1}~), libc6, systemd | systemd-sysv\n"
        "Recommends: udev\n"
        f"Installed-Size: {size}\nSection: science\nPriority: optional\n"
        "Description: daemon between an open-research ultrasound probe and its clients\n"
        " Reads raw echoes over USB, makes images at frame rate, and publishes them over ZeroMQ.\n"
        " Research software: not a medical device, not for diagnosis or treatment decisions.\n"
    )
    (control / "conffiles").write_text("/etc/sonod/sonod.toml\n")
    for name, text in (("postinst", POSTINST), ("prerm", PRERM), ("postrm", POSTRM)):
        (control / name).write_text(text)
        (control / name).chmod(0o755)
    sums = [
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(tree)}"
        for path in sorted(tree.rglob("*"))
        if path.is_file() and not path.is_symlink() and not path.is_relative_to(control)
    ]
    (control / "md5sums").write_text("\n".join(sums) + "\n")


def architecture() -> str:
    return output("dpkg", "--print-architecture")


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main(sys.argv[1:])

"""A virtual machine with a kernel of its own: real usbfs, udev, real-time limits, hotplug, and the loss of power.

    python tests/service/virtual_machine.py sonod_VERSION_ARCH.deb [--accel auto|kvm|tcg] [--power-cuts 5] [--seed 1]

Needs the packages qemu-system-x86, mmdebstrap and e2fsprogs, and a Python with sonod; the base tree is made once (two
minutes, as root or with user namespaces) and put into a fresh image for each run. The probe is an emulated front-end
that speaks the bulk RF protocol, redirected into the guest by redirected_board.py; the guest has no network. KVM is
used where a guest comes up with it, else TCG; with that everything that is a time is scaled: promises, the watchdog,
the board's own clock, and how long an answer is waited for. What came of it is in docs/service-campaign.md. Exit code 0
when every promise was kept. Not for CI.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from redirected_board import RedirectedBoard

from sonod.drivers.emulated import board_class
from sonod.drivers.emulated.clock import ScaledClock
from sonod.drivers.emulated.device import EmulatedDevice

GUEST = Path(__file__).parent / "guest"
PACKAGES = "systemd,systemd-sysv,dbus,udev,python3,libusb-1.0-0,procps,linux-image-amd64,e2fsprogs"
SUITE = "bookworm"
IMAGE_BYTES = 6 << 30
# Debian sleeps for all of `rootdelay`, and then waits another 30 s for the disk.
KERNEL = "root=/dev/vda rw console=ttyS0 earlyprintk=ttyS0 panic=-1 rootdelay=15 no_timer_check systemd.show_status=0"
MEMORY_MIB = 3072
# The daemon ends at a gather of AVX2 under the TCG of qemu 7.2, and on no processor: with TCG the guest has none.
PROCESSOR = {"kvm": "host", "tcg": "max,avx2=off"}
CAMPAIGN = """[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/opt/campaign/machine.sh
StandardOutput=file:/dev/virtio-ports/org.sonod.report
StandardError=file:/dev/virtio-ports/org.sonod.report
ExecStopPost=/bin/systemctl poweroff --no-block
[Install]
WantedBy=multi-user.target
"""
# How fast the board lives beside an emulated processor.
SLOW = 0.2
# A kernel that runs says something by then.
FIRST_WORDS_S = 120.0
LONGEST_S = 1500
# Promised: streaming again, and stopped; an emulated processor on a shared machine is some fifty times slower.
PROMISED_S = {"kvm": 2.0, "tcg": 120.0}
# Between boots of the trial of the power, how long is recorded.
RECORDED_S = (1.5, 6.0)


@dataclass
class Told:
    """What the guest has told of its recordings: frames forced to the disk, and what it found after a loss of power
    (frames, whole ones from the first on, what the repair said)."""

    forced: dict[str, int] = field(default_factory=dict)
    found: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    recording: threading.Event = field(default_factory=threading.Event)


class Outside:
    """Answers the guest on its virtual serial port: plugs the board, and notes what is told."""

    def __init__(self, path: Path, device: EmulatedDevice) -> None:
        self._device = device
        self.told = Told()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            guest, _ = self._listener.accept()
            with guest, guest.makefile("r") as lines, suppress(OSError):
                for line in lines:
                    self._take(line.strip())
                    guest.sendall(f"{self._device.state.name.lower()}\n".encode())  # type: ignore[attr-defined]

    def _take(self, line: str) -> None:
        match line.split(maxsplit=4):
            case ["unplug"]:
                self._device.unplug()
            case ["plug"]:
                self._device.plug()
            case ["forced", path, frames]:
                self.told.forced[path] = int(frames)
                self.told.recording.set()
            case ["found", path, frames, whole, problem]:
                self.told.found[path] = (int(frames), int(whole), problem)


class Machine:
    """One guest, from the image to its end."""

    def __init__(self, folder: Path, base: Path, accel: str, processors: int, phase: str) -> None:
        self.report, self.console = folder / "report.txt", folder / "console.txt"
        self.console.unlink(missing_ok=True)
        kernel = sorted((base / "boot").glob("vmlinuz-*"))[-1]
        command = [
            "qemu-system-x86_64", "-accel", "tcg,thread=multi" if accel == "tcg" else accel, "-M", "q35",
            "-cpu", PROCESSOR[accel], "-smp", str(processors), "-m", str(MEMORY_MIB),
            "-nodefaults", "-display", "none", "-no-reboot", "-nic", "none", "-serial", f"file:{self.console}",
            "-kernel", str(kernel), "-initrd", str(base / "boot" / kernel.name.replace("vmlinuz", "initrd.img")),
            "-append", f"{KERNEL} sonod.phase={phase}",
            "-drive", f"file={folder / 'image'},format=raw,if=virtio",
            "-device", "qemu-xhci,id=usb", "-chardev", f"socket,id=board,path={folder / 'usb'}",
            "-device", "usb-redir,chardev=board,bus=usb.0", "-device", "virtio-serial",
            "-chardev", f"socket,id=port,path={folder / 'port'}",
            "-device", "virtserialport,chardev=port,name=org.sonod.board",
            "-chardev", f"file,id=report,path={self.report}",
            "-device", "virtserialport,chardev=report,name=org.sonod.report",
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def comes_up(self) -> bool:
        """Whether its kernel has said something; else it is ended."""
        deadline = time.monotonic() + FIRST_WORDS_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.console.exists() and self.console.stat().st_size:
                return True
            time.sleep(0.1)
        self.cut()
        return False

    def cut(self) -> None:
        """As if its power went: nothing that only the guest's memory has is on its disk."""
        self.process.kill()
        self.process.wait()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Try the service in a virtual machine.")
    parser.add_argument("package", type=Path)
    parser.add_argument("--base", type=Path, default=Path("/var/tmp/sonod-machine"))
    parser.add_argument("--accel", choices=("auto", "kvm", "tcg"), default="auto")
    parser.add_argument("--processors", type=int, default=2)
    parser.add_argument("--power-cuts", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    for program in ("qemu-system-x86_64", "mmdebstrap", "mke2fs"):
        if shutil.which(program) is None:
            sys.exit(f"virtual_machine: {program} is not here; apt-get install qemu-system-x86 mmdebstrap e2fsprogs")
    if not options.base.is_dir():
        run("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(options.base))
    with tempfile.TemporaryDirectory(prefix="sonod-", dir="/var/tmp") as name:
        folder = Path(name)
        make_image(options.base, options.package, folder)
        device = board_class("bulk")()
        device.unplug()
        sys.setswitchinterval(1e-4)
        with RedirectedBoard(device, folder / "usb"):
            outside = Outside(folder / "port", device)
            accel, kept = campaign(folder, options, device)
            cuts = power_cuts(folder, options, accel, outside)
    return int(not (kept and cuts))


def make_image(base: Path, package: Path, folder: Path) -> None:
    """A file system of the base tree, the package and the campaign."""
    tree = folder / "tree"
    run("cp", "-a", "--reflink=auto", str(base), str(tree))
    shutil.rmtree(tree / "boot")
    shutil.copy(package, tree / "opt/sonod.deb")
    shutil.copytree(GUEST, tree / "opt/campaign")
    units = tree / "etc/systemd/system"
    (units / "campaign.service").write_text(CAMPAIGN)
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants/campaign.service").symlink_to("../campaign.service")
    with (folder / "image").open("wb") as image:
        image.truncate(IMAGE_BYTES)
    run("mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(folder / "image"))
    shutil.rmtree(tree)


def campaign(folder: Path, options: argparse.Namespace, device: EmulatedDevice) -> tuple[str, bool]:
    """The faults: the accelerator with which the guest came up, and whether everything was kept."""
    for one in ("kvm", "tcg") if options.accel == "auto" else (options.accel,):
        if one == "kvm" and not os.access("/dev/kvm", os.W_OK):
            continue
        machine = Machine(folder, options.base, one, options.processors, f"faults,{PROMISED_S[one]:g}")
        if machine.comes_up():
            break
    else:
        sys.exit(f"virtual_machine: no guest came up with {options.accel}")
    if one == "tcg":
        # The board stops when its host is silent for two seconds of its own.
        device.clock = ScaledClock(SLOW)
    sys.stdout.write(f"-- {one}, processors {options.processors}; promised times are {PROMISED_S[one]:.0f} s\n")
    ended = wait(machine)
    report = machine.report.read_text(errors="replace")
    sys.stdout.write(report)
    if not ended:
        sys.stdout.write(f"FAILED  the guest did not end in {LONGEST_S} s\n{machine.console.read_text()[-3000:]}\n")
    sys.stdout.flush()
    return one, "everything kept" in report


def power_cuts(folder: Path, options: argparse.Namespace, accel: str, outside: Outside) -> bool:
    """Record, cut the power at a random moment, boot again and look: was all there that was forced to the disk?"""
    kept, random_ = True, random.Random(options.seed)
    due: dict[str, int] = {}
    for last in [False] * options.power_cuts + [True]:
        outside.told = told = Told()
        phase = f"record,{0 if last else LONGEST_S}"
        machine = Machine(folder, options.base, accel, options.processors, phase)
        if last:
            wait(machine)
        elif recording(machine, told):
            time.sleep(random_.uniform(*RECORDED_S))
        else:
            sys.stdout.write(f"FAILED  the guest recorded nothing\n{machine.console.read_text()[-3000:]}\n")
            kept = False
        machine.cut()
        for path, forced in due.items():
            frames, whole, repaired = told.found.get(path, (0, 0, "nothing was told of it"))
            good = whole >= forced
            kept = kept and good
            sys.stdout.write(
                f"{'ok    ' if good else 'FAILED'}  power cut: {forced} frames were forced to the disk; "
                f"found {frames}, {whole} whole from the first on; {repaired}\n"
            )
            sys.stdout.flush()
        due = dict(told.forced)
    return kept


def recording(machine: Machine, told: Told) -> bool:
    """Until the guest has said that frames are on their way to the disk; False when it does not."""
    deadline = time.monotonic() + LONGEST_S / 3
    while time.monotonic() < deadline and machine.process.poll() is None:
        if told.recording.wait(0.1):
            return True
    return False


def wait(machine: Machine) -> bool:
    """Until the guest powers itself off; False when it took too long, and it is ended."""
    try:
        machine.process.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        machine.cut()
        return False
    return True


def run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

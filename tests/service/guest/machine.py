"""Runs in the virtual machine, as root: the package is installed, the board is plugged in, and everything goes wrong.

    machine.py faults PROMISED_S    the campaign
    machine.py record SECONDS       what is left of the recordings of the boot before; then record until the power goes

The board is plugged in by the machine outside, which listens on a virtual serial port.
"""

from __future__ import annotations

import grp
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import observed
from campaign import GOOD, PROMISED_S, Campaign, conclude
from observed import Unit, next_frame, output, until

from sonod.drivers import open_uri
from sonod.drivers.recording import Recording, RecordingWriter
from sonod.drivers.recording.repair import repair_recording
from sonod.drivers.settings import default_settings

PORT = "/dev/virtio-ports/org.sonod.board"
# What machine.sh has kept of the installation.
INSTALLED = Path("/var/log/dpkg.txt")
UNIT = "sonod@bulk.service"
CONFIGURATION = Path("/etc/sonod/bulk.toml")
FOLDER = Path("/var/lib/sonod/bulk")
IDENTITY = "1209:0001"
READER_PRIORITY, RUNNER_PRIORITY = 50, 40
REAL_TIME = (
    f"[realtime]\nreader_priority = {READER_PRIORITY}\nrunner_priority = {RUNNER_PRIORITY}\nlock_memory = true\n"
)
# The guest is small, and may be slow: few and small pictures, for subscribers only.
LIGHT = (
    "[cine]\nrf_memory_mib = 128\nimage_memory_mib = 64\nimage_s = 0\n"
    '[image]\ncolumns = 64\nrows = 64\nquality = "fast"\n'
)
SETTINGS = "angle_count = 1\nframe_rate_hz = 10.0\n"
# In the trial of the power, forced to the disk after so many.
FORCED_FRAMES = 3
# With an emulated processor on a busy machine: until something comes, and for one answer.
LONG_S = 240.0
LONG_ANSWER_S = 60.0
# There every thread of the daemon may be without a processor for seconds; the watchdog is scaled as the promises are.
LONG_WATCHDOG_S = 60
OPENS = "import os, sys; os.open(sys.argv[1], os.O_RDWR)"


class Outside:
    """The machine outside, on the other end of a virtual serial port."""

    def __init__(self) -> None:
        until(lambda: Path(PORT).exists(), PORT)
        self._port = os.open(PORT, os.O_RDWR)

    def ask(self, line: str) -> str:
        os.write(self._port, f"{line}\n".encode())
        answer = b""
        while not answer.endswith(b"\n"):
            answer += os.read(self._port, 100)
        return answer.decode().strip()


class MachineCampaign(Campaign):
    tables = GOOD + LIGHT
    own_settings = SETTINGS
    kills = 1

    @property
    def steps(self) -> Sequence[Callable[[], None]]:
        return (
            self.installed, self.hotplugged, self.node, self.doctor, self.confined_devices, self.page_and_metrics,
            self.journal_has_fields, self.killed, self.stopped_by_a_signal, self.unplugged,
            self.bad_reload, self.good_reload, self.stops, self.hotplugged_again, self.real_time,
            self.bad_configuration, self.hotplugged_badly, self.confined,
        )  # fmt: skip

    def installed(self) -> None:
        links = sorted(one.name for one in Path("/sys/class/net").iterdir())
        told = INSTALLED.read_text().strip().splitlines()
        kept = told[-1] == "exit code 0" and links == ["lo"]
        self.promise("install", kept, f"dpkg --install: {told[-1]}; network links {links}")
        active = output("systemctl", "list-units", "--all", "--no-legend", "sonod*")
        self.promise("nothing started", active == "", active or "no unit of sonod is loaded")
        said = output("sonod", "install-service", "--realtime", "--device", f"{IDENTITY}:EMULATED1")
        self.promise("install-service", "failed" not in said, f"{len(said.splitlines())} lines, none failed")

    def hotplugged(self) -> None:
        self.configure()
        begun = time.monotonic()
        self.emulator.ask("plug")
        frame = next_frame()
        took_s = time.monotonic() - begun
        active, restarts = self.unit.show("ActiveState"), self.unit.show("NRestarts")
        told = f"plugging in started {self.unit.name}: {active}, restarts {restarts}; first frame after {took_s:.2f} s"
        self.promise("hotplug", (active, restarts) == ("active", "0"), told)
        wanted = output("systemctl", "show", "--property", "WantedBy", "--value", self.unit.name)
        self.promise("wanted by", "device" in wanted, wanted)
        self.promise("probe", frame.header.frame > 0, f"frame {frame.header.frame} of {self.unit.show('StatusText')}")

    def node(self) -> None:
        path = device_node()
        found = path.stat()
        mode, group = stat.S_IMODE(found.st_mode), grp.getgrgid(found.st_gid).gr_name
        self.promise("udev", (mode, group) == (0o660, "sonod"), f"{path}: {stat.filemode(found.st_mode)} root:{group}")
        held = [os.readlink(one) for one in Path(f"/proc/{self.unit.pid}/fd").iterdir()]
        preload = b"LD_PRELOAD" in Path(f"/proc/{self.unit.pid}/environ").read_bytes()
        driver = os.readlink("/sys/bus/usb/devices/usb1/../driver").rsplit("/", 1)[-1]
        kept = str(path) in held and not preload
        told = f"the service holds {path} open, host controller {driver}, kernel {os.uname().release}"
        self.promise("usbfs", kept, told)

    def doctor(self) -> None:
        for user, wanted in (("sonod", "good"), ("nobody", "wrong")):
            command = ["runuser", "-u", user, "--", "sonod", "doctor", "--json", "--config", str(self.configuration)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            rows = {row["check"]: row for row in json.loads(done.stdout)}
            row = rows["permissions"]
            told = f"{row['verdict']}: {row['message']}; {row['remedy']}"
            self.promise(f"doctor as {user}", row["verdict"] == wanted, told)
            if user == "sonod":
                others = [f"{name} {row['verdict']}" for name, row in rows.items() if name != "permissions"]
                self.promise("doctor, the rest", rows["udev"]["verdict"] == "good", ", ".join(others))

    def confined_devices(self) -> None:
        """The same lines of the unit, with the node allowed and without."""
        came = []
        for allowed in (["-p", "DeviceAllow=char-usb_device rw"], []):
            command = ["systemd-run", "--quiet", "--wait", "--pipe", "-p", "DevicePolicy=closed", *allowed]
            done = subprocess.run(
                [*command, "/usr/bin/python3", "-c", OPENS, str(device_node())],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            came.append((done.stderr.strip().splitlines() or ["opens"])[-1])
        kept = came[0] == "opens" and "Operation not permitted" in came[1]
        self.promise("DeviceAllow", kept, f"with it the node {came[0]}, without it even root has {came[1]}")

    def real_time(self) -> None:
        self.configure(REAL_TIME)
        self.unit.do("start")
        next_frame()
        tasks = [int(one.name) for one in Path(f"/proc/{self.unit.pid}/task").iterdir()]
        first = [one for one in tasks if os.sched_getscheduler(one) == os.SCHED_FIFO]
        priorities = sorted(os.sched_getparam(one).sched_priority for one in first)
        kept = {READER_PRIORITY, RUNNER_PRIORITY} <= set(priorities)
        self.promise("SCHED_FIFO", kept, f"{len(first)} of {len(tasks)} threads, priorities {priorities}")
        lines = Path(f"/proc/{self.unit.pid}/status").read_text().splitlines()
        locked = next(line for line in lines if line.startswith("VmLck"))
        self.promise("locked memory", int(locked.split()[1]) > 0, " ".join(locked.split()))
        refusals = ("realtime_refused", "memory_lock_refused")
        refused = [line for line in self.unit.journal("-o", "cat").splitlines() if line.startswith(refusals)]
        self.promise("real time", not refused, f"{len(refused)} refusals in the journal {refused[:1]}")
        self.unit.do("stop")

    def hotplugged_again(self) -> None:
        self.emulator.ask("unplug")
        until(lambda: not has_node(), "the node gone")
        self.configure()
        begun = time.monotonic()
        self.emulator.ask("plug")
        next_frame()
        took_s = time.monotonic() - begun
        self.promise("hotplug after a stop", self.unit.pid > 0, f"started again; first frame after {took_s:.2f} s")
        self.unit.do("stop")

    def hotplugged_badly(self) -> None:
        """Plugged in with a configuration that is wrong: one start, one end, one line."""
        self.unit.do("reset-failed")
        self.emulator.ask("unplug")
        until(lambda: not has_node(), "the node gone")
        self.emulator.ask("plug")
        until(lambda: self.unit.show("ActiveState") == "failed", "a failed unit")
        time.sleep(3)
        found = {name: self.unit.show(name) for name in ("ActiveState", "ExecMainStatus", "NRestarts")}
        kept = found == {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0"}
        self.promise("plugged in with a bad configuration", kept, str(found))


def be_patient() -> None:
    """The processor is an emulated one, some fifty times slower: nobody gives up early."""
    observed.PATIENCE_S, observed.ANSWER_S = LONG_S, LONG_ANSWER_S
    drop_in = Path("/etc/systemd/system/sonod@.service.d/slow.conf")
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text(f"[Service]\nWatchdogSec={LONG_WATCHDOG_S}\nTimeoutStartSec=300\nTimeoutStopSec=60\n")
    subprocess.run(["systemctl", "daemon-reload"], check=True)


def device_node() -> Path:
    """Of the one board."""
    for folder in Path("/sys/bus/usb/devices").glob("*"):
        named = [(folder / name) for name in ("idVendor", "idProduct")]
        if all(one.exists() for one in named) and ":".join(one.read_text().strip() for one in named) == IDENTITY:
            bus, device = (int((folder / name).read_text()) for name in ("busnum", "devnum"))
            return Path(f"/dev/bus/usb/{bus:03}/{device:03}")
    raise FileNotFoundError(f"no device {IDENTITY}")


def has_node() -> bool:
    try:
        return device_node().exists()
    except OSError:
        return False


def record(seconds: float) -> None:
    """Write a recording as the daemon's process does, and tell what is forced to the disk, until the power goes."""
    observed.PATIENCE_S = LONG_S
    outside = Outside()
    look(outside)
    driver = open_uri("sim:")
    driver.open()
    configuration = driver.prepare(default_settings(driver.knobs()))
    driver.close()
    acquisition = configuration.acquisition
    frame = np.random.default_rng(1).integers(-2000, 2000, acquisition.shape, np.int16)
    path = FOLDER / f"power-{time.time_ns()}.h5"
    FOLDER.mkdir(parents=True, exist_ok=True)
    writer = RecordingWriter(path, acquisition)
    deadline = time.monotonic() + seconds
    number = 0
    while time.monotonic() < deadline:
        number += 1
        frame += 1
        writer.append_frame(frame, number=number)
        if number % FORCED_FRAMES == 0:
            writer.flush()
            writer.sync()
            outside.ask(f"forced {path} {writer.flushed_frames}")
    writer.close()


def look(outside: Outside) -> None:
    """Each recording that was cut off: how many of its frames, from the first on, are what their digests say."""
    for path in sorted(FOLDER.glob("power-*.h5")):
        whole, frames, problem = 0, 0, ""
        try:
            with Recording(path) as recording:
                frames = recording.frame_count
                frame = np.empty(recording.acquisition.shape, recording.acquisition.dtype)
                while whole < frames and recording.whole(whole, frame):
                    whole += 1
            repaired = repair_recording(path)
            problem = f"{repaired}"
        except Exception as error:  # noqa: BLE001  told outside, where it is judged
            problem = f"{type(error).__name__}: {error}"
        outside.ask(f"found {path} {frames} {whole} {problem}".replace("\n", " "))
        path.rename(path.with_suffix(".seen"))


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["faults", promised]:
            if float(promised) > PROMISED_S:
                be_patient()
            campaign = MachineCampaign(Outside(), UNIT, CONFIGURATION, str(FOLDER / "campaign.h5"), float(promised))
            campaign.run()
            if campaign.failed:
                sys.stdout.write(Unit(UNIT).journal("-n", "100"))
            return conclude(campaign)
        case ["record", seconds]:
            record(float(seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

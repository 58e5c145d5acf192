"""The computer itself: its processor, its memory, its clock, and what programs may ask of it."""

from __future__ import annotations

from collections.abc import Iterator

from sonod.daemon.config import Config
from sonod.daemon.doctor.finding import Finding, good, warning, wrong
from sonod.daemon.doctor.machine import Machine, read

# Of the memory that there is; the rest is for the daemon, the system and a browser.
LARGEST_RING_SHARE = 0.4
SLOW_GOVERNORS = frozenset({"powersave", "conservative", "userspace"})
# Under these, "powersave" only means that the processor chooses by itself.
CHOOSING_DRIVERS = ("intel_pstate", "amd-pstate-epp")
SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies", "refined-jiffies")
# Each is there while a program keeps the clock in step.
IN_STEP = (
    "run/systemd/timesync/synchronized",
    "run/chrony/chronyd.pid",
    "run/chronyd.pid",
    "run/ntpd.pid",
    "run/ptp4l",
)


def check_governor(machine: Machine, config: Config) -> Iterator[Finding]:
    found = {
        read(path)
        for path in sorted((machine.root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor"))
    }
    slow = found & SLOW_GOVERNORS
    driver = read(machine.root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver")
    if slow and not (slow == {"powersave"} and driver in CHOOSING_DRIVERS):
        yield warning(
            "governor",
            f"processors run under the governor {', '.join(sorted(slow))}: pictures will be late",
            "cpupower frequency-set -g performance (package linux-cpupower)",
        )
    else:
        yield good("governor", f"governor: {', '.join(sorted(found)) or 'not told here'}")


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
        yield wrong(
            "instructions",
            f"core.instruction_set: {wanted!r} is not available here",
            f"one of {', '.join(('auto', *there_are))}",
        )
    elif flags is not None and "avx2" not in flags:
        yield warning(
            "instructions",
            "the processor has no AVX2: the base kernels are used, which are slower",
            "a guest may hide it: give it the host's processor (qemu: -cpu host); else use fewer lines or a lower rate",
        )
    else:
        yield good("instructions", f"instruction sets: {', '.join(there_are)}")


def check_realtime(machine: Machine, config: Config) -> Iterator[Finding]:
    wanted = max(config.realtime.reader_priority, config.realtime.runner_priority)
    limits = machine.limits
    problem = False
    if wanted and machine.user_id != 0 and 0 <= limits.realtime_priority < wanted:
        problem = True
        yield warning(
            "realtime",
            f"priority {wanted} is asked for, {limits.realtime_priority} is allowed: it will be refused",
            "sudo sonod install-service --realtime; without systemd, rtprio in /etc/security/limits.conf",
        )
    if config.realtime.lock_memory and limits.locked_bytes >= 0:
        problem = True
        yield warning(
            "realtime",
            f"realtime.lock_memory is asked for, but the limit is {limits.locked_bytes // 1024} KiB: it is refused",
            "sudo sonod install-service --realtime; without systemd, memlock unlimited in /etc/security/limits.conf",
        )
    if not problem:
        asked = "as asked for" if wanted or config.realtime.lock_memory else "none is asked for"
        yield good("realtime", f"real-time rights: {asked}")


def check_clock(machine: Machine, config: Config) -> Iterator[Finding]:
    source = machine.text("sys/devices/system/clocksource/clocksource0/current_clocksource")
    if source in SLOW_CLOCKS:
        yield warning(
            "clock",
            f"the kernel's clock is {source}: every look at it takes about a microsecond or more",
            "see why tsc was given up: dmesg | grep -i clocksource",
        )
    if not any((machine.root / path).exists() for path in IN_STEP):
        yield warning(
            "clock",
            "no program keeps the clock in step: UTC in the frames is worth what the clock on the board is",
            "apt install chrony (or systemd-timesyncd); for two machines, PTP",
        )
    elif source not in SLOW_CLOCKS:
        yield good("clock", f"clock: {source or 'not told here'}, kept in step")


def check_memory(machine: Machine, config: Config) -> Iterator[Finding]:
    cine = config.cine
    rings_mib = (cine.rf_memory_mib if cine.rf_s else 0) + (cine.image_memory_mib if cine.image_s else 0)
    lines = (machine.text("proc/meminfo") or "").splitlines()
    total_mib = next((int(line.split()[1]) >> 10 for line in lines if line.startswith("MemTotal:")), None)
    if total_mib is not None and rings_mib > total_mib * LARGEST_RING_SHARE:
        yield warning(
            "memory",
            f"the rings for clips may take {rings_mib} MiB of this machine's {total_mib} MiB",
            "make cine.rf_memory_mib and cine.image_memory_mib smaller (fewer seconds), or rf_s and image_s 0 (none)",
        )
    else:
        yield good("memory", f"rings for clips take at most {rings_mib} MiB")

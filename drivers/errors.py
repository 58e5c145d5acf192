"""What can go wrong between a probe and the daemon.

DriverError
├── DeviceNotFound       nothing answers to this URI
├── AccessDenied         it is there, but this user may not open it, or another program has it
├── ProtocolError        it answers, but not in the language it should
├── DriverTimeout        nothing came in time (also a TimeoutError); reading may be tried again
├── Disconnected         it was there and went away
├── EndOfRecording       a recording that plays once has ended; not a fault
├── ProbeFileError       a probe's configuration file is wrong; lists every problem
├── SettingsRefused      a setting is outside what the driver can do; nothing was changed
└── RecordingError       a file is not a usable recording
"""

from __future__ import annotations

from collections.abc import Sequence


class DriverError(Exception):
    """Base of everything a driver raises on purpose; the message names the thing, the value and the remedy."""


class DeviceNotFound(DriverError):
    """Nothing answers to this URI."""


class AccessDenied(DriverError):
    """The device is there, but this user may not open it, or another program holds it."""


class ProtocolError(DriverError):
    """The device answered with bytes that its protocol does not allow."""


class DriverTimeout(DriverError, TimeoutError):
    """No frame came within the time allowed; the device may still be well."""


class Disconnected(DriverError):
    """The device was there and went away."""


class EndOfRecording(DriverError):
    """A recording that plays once has been played; not a fault."""


class RecordingError(DriverError):
    """A file is not a usable recording."""


class ProbeFileError(DriverError):
    """The configuration file of a probe is wrong. `problems` holds one line for each, with its path in the file."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class SettingsRefused(DriverError):
    """One or more settings cannot be used; nothing was changed. `problems` holds one line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)

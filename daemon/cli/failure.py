"""How a command fails: one line on standard error and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sonod.client.errors import AccessRefused, ClientError, NoAnswer, RequestRefused
from sonod.client.keys import KeyFileError
from sonod.client.wire.errors import WireError
from sonod.daemon.errors import ConfigError, DaemonError, EndpointError
from sonod.drivers.errors import AccessDenied, DeviceNotFound, DriverError, RecordingError, SettingsRefused

FAILED, USAGE, UNAVAILABLE = 1, 2, 69
# EX_CONFIG, of a service: systemd must not start it again before somebody has changed the file.
CONFIGURATION = 78
# Refusals that are the user's to correct, as a wrong option is.
USAGE_CODES = frozenset({"invalid", "refused", "malformed", "unknown_command"})


class Failure(Exception):
    """What the user is told, line by line, and the exit code."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__("; ".join(lines))
        self.code = code
        self.lines = lines


@contextmanager
def reported() -> Iterator[None]:
    """Our own errors become failures; anything else is a bug and keeps its traceback."""
    try:
        yield
    except ConfigError as error:
        raise Failure(USAGE, *error.problems) from error
    except EndpointError as error:
        raise Failure(USAGE, str(error)) from error
    except RequestRefused as error:
        code = UNAVAILABLE if error.code == "unavailable" else USAGE if error.code in USAGE_CODES else FAILED
        raise Failure(code, *(error.problems or (str(error),))) from error
    except NoAnswer as error:
        raise Failure(UNAVAILABLE, str(error)) from error
    except AccessRefused as error:
        raise Failure(UNAVAILABLE, str(error)) from error
    except KeyFileError as error:
        raise Failure(USAGE, str(error)) from error
    except SettingsRefused as error:
        raise Failure(USAGE, *error.problems) from error
    except RecordingError as error:
        raise Failure(USAGE, str(error)) from error
    except (DeviceNotFound, AccessDenied) as error:
        raise Failure(UNAVAILABLE, str(error)) from error
    except ClientError as error:
        # A file or a value of the user's that is wrong, such as a calibration; its module is not imported for that.
        raise Failure(USAGE if isinstance(error, ValueError) else FAILED, str(error)) from error
    except (WireError, DriverError, DaemonError) as error:
        raise Failure(FAILED, str(error)) from error


def tell(failure: Failure) -> None:
    """Print the lines of a failure."""
    for line in failure.lines:
        sys.stderr.write(f"sonod: {line}\n")

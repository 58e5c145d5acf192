"""The folder of keys: the daemon's own pair, and the list of those who are admitted.

    server.key     the daemon's pair, secret; whoever has it can pass for the daemon
    allowed.toml   one table for each client: public key, role, when it was made, when it was revoked

`sonod keys` writes both; the daemon reads them and notices changes.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonod.daemon.access import Role
from sonod.daemon.errors import ConfigError

SERVER_FILE, ALLOWED_FILE = "server.key", "allowed.toml"
FOLDER_MODE, FILE_MODE = 0o700, 0o600
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


@dataclass(frozen=True)
class Permit:
    """What one client's key allows; dates are those of the calendar, UTC. `revoked` is '' while it holds."""

    name: str
    public: str
    role: Role
    made: str = ""
    revoked: str = ""


@dataclass(frozen=True)
class ServerKeys:
    """The daemon's own pair."""

    public: str
    secret: str


def read_server_keys(folder: Path) -> ServerKeys:
    """ConfigError when there are none, or others can read them."""
    path = folder / SERVER_FILE
    values = _read(path, "make it with `sonod keys server`", secret=True)
    public, secret = values.get("public"), values.get("secret")
    for name, key in (("public", public), ("secret", secret)):
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise ConfigError(
                [f"{path}: {name}: must be a key of 40 characters; make it anew with `sonod keys server`"]
            )
    return ServerKeys(str(public), str(secret))


def read_permits(folder: Path) -> dict[str, Permit]:
    """Everybody on the list by name, those whose keys are revoked too; none without a list. ConfigError has every
    problem."""
    path = folder / ALLOWED_FILE
    if not path.exists():
        return {}
    problems: list[str] = []
    permits: dict[str, Permit] = {}
    for name, table in _read(path, "`sonod keys list` shows it").items():
        if not _NAME.fullmatch(name) or not isinstance(table, dict):
            problems.append(f"{path}: {name}: must be a table [NAME] of letters, digits, - and _")
            continue
        public, role = table.get("public"), table.get("role")
        if not isinstance(public, str) or not _KEY.fullmatch(public):
            problems.append(f"{path}: {name}.public: must be a key of 40 characters; got {public!r}")
        elif role not in tuple(Role):
            problems.append(f"{path}: {name}.role: must be {', '.join(Role)}; got {role!r}")
        else:
            permits[name] = Permit(name, public, Role(role), str(table.get("made", "")), str(table.get("revoked", "")))
    if problems:
        raise ConfigError(problems)
    return permits


def write_server_keys(folder: Path, keys: ServerKeys) -> None:
    """ConfigError when the folder cannot be written."""
    _write(
        folder / SERVER_FILE,
        "# The daemon's own keys. Whoever has the secret one can pass for the daemon.\n"
        f'public = "{keys.public}"\nsecret = "{keys.secret}"\n',
    )


def write_permits(folder: Path, permits: Mapping[str, Permit]) -> None:
    """ConfigError when the folder cannot be written."""
    lines = ["# Who is admitted; made by `sonod keys`. A running daemon notices changes within a second.", ""]
    for permit in permits.values():
        lines += [
            f"[{permit.name}]",
            f'public = "{permit.public}"',
            f'role = "{permit.role}"',
            f'made = "{permit.made}"',
        ]
        lines += [f'revoked = "{permit.revoked}"'] if permit.revoked else []
        lines.append("")
    _write(folder / ALLOWED_FILE, "\n".join(lines))


def check_name(name: str) -> str:
    """The name itself; ValueError when it cannot be a client's."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"must be 1 to 64 letters, digits, - and _; got {name!r}")
    return name


class Gate:
    """Who is admitted now; any thread may ask, one thread calls `refresh`. ConfigError when the folder is unusable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = read_server_keys(folder)
        # Counts changes, so that others notice them.
        self.version = 0
        self._permits: dict[str, Permit] = {}
        self._state: tuple[int, ...] = ()
        self.problem = ""
        self._load()
        if self.problem:
            raise ConfigError(self.problem.splitlines())

    def permit(self, public: str) -> Permit | None:
        """What the key allows; None when it is unknown or revoked."""
        return self._permits.get(public)

    @property
    def admitted(self) -> int:
        """How many keys are admitted."""
        return len(self._permits)

    def refresh(self) -> bool:
        """Read the list again when its file has changed; whether it has. A list that cannot be read leaves the former
        in force, and says so in `problem`; without a file nobody is admitted."""
        if self._state_now() == self._state:
            return False
        self._load()
        return True

    def _load(self) -> None:
        self._state = self._state_now()
        try:
            permits = read_permits(self.folder)
        except ConfigError as error:
            self.problem = "\n".join(error.problems)
            return
        self.problem = ""
        self._permits = {permit.public: permit for permit in permits.values() if not permit.revoked}
        self.version += 1

    def _state_now(self) -> tuple[int, ...]:
        try:
            found = (self.folder / ALLOWED_FILE).stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_ino, found.st_size


def _read(path: Path, remedy: str, *, secret: bool = False) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if secret and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError([f"{path}: others can read this secret (mode {mode:04o}); run: chmod 600 {path}"])
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror}); {remedy}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from error


def _write(path: Path, text: str) -> None:
    """All of the file or nothing, for its owner alone."""
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            # A daemon that runs as another user owns the folder; the files are to be its, too.
            owner = path.parent.stat()
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            os.fchmod(descriptor, FILE_MODE)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
    except OSError as error:
        raise ConfigError(
            [f"{path}: cannot be written ({error.strerror}); choose another --folder, or be its owner"]
        ) from error

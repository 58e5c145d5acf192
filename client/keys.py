"""The key file of one client: what it needs to be known by a daemon, and to know the daemon.

CURVE keys are 32 bytes, written as 40 characters (Z85, ZeroMQ RFC 32).
"""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from sonod.client.errors import ClientError

KEY_LENGTH = 40
_Z85 = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#")


class KeyFileError(ClientError):
    """A key file cannot be used; one line says why and what to do."""


@dataclass(frozen=True)
class Pair:
    """A public key and the secret one that belongs to it."""

    public: str
    secret: str

    @classmethod
    def make(cls) -> Pair:
        """A new pair."""
        public, secret = zmq.curve_keypair()
        return cls(public.decode(), secret.decode())


@dataclass(frozen=True)
class ClientKeys:
    """A client's own pair, and the public key of the daemon that it talks to; `source` names the file."""

    name: str
    public: str
    secret: str
    server: str
    source: str = "keys"

    @classmethod
    def read(cls, path: str | Path) -> ClientKeys:
        """The keys in a file made by `sonod keys new`; KeyFileError when it is not one, or others can read it."""
        values = read_secret_file(Path(path))
        return cls(
            str(values.get("name", "")),
            key_in(values, "public", path),
            key_in(values, "secret", path),
            key_in(values, "server", path),
            str(path),
        )

    def apply(self, socket: Any) -> None:
        """Have a socket that is not connected yet use them."""
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.secret.encode())
        socket.setsockopt(zmq.CURVE_SERVERKEY, self.server.encode())


# What the clients take: keys, the file that holds them, or none.
Keys = ClientKeys | str | Path | None


def keys_from(keys: Keys) -> ClientKeys | None:
    """The keys themselves; KeyFileError when their file cannot be used."""
    return keys if keys is None or isinstance(keys, ClientKeys) else ClientKeys.read(keys)


def read_secret_file(path: Path) -> dict[str, Any]:
    """The values of a TOML file with a secret in it; KeyFileError when others than its owner can read it."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyFileError(f"{path}: others can read this secret (mode {mode:04o}); run: chmod 600 {path}")
            return tomllib.load(file)
    except OSError as error:
        raise KeyFileError(
            f"{path}: cannot be read ({error.strerror}); `sonod keys new NAME` makes a key file"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KeyFileError(f"{path}: not a key file ({error}); `sonod keys new NAME` makes one") from error


def key_in(values: dict[str, Any], name: str, path: str | Path) -> str:
    """One key of a file; KeyFileError when it is missing or no key."""
    key = values.get(name)
    if not is_key(key):
        found = "missing" if key is None else f"must be a key of {KEY_LENGTH} characters"
        raise KeyFileError(f"{path}: {name}: {found}; `sonod keys new NAME` makes a key file")
    return str(key)


def is_key(text: object) -> bool:
    """Whether the text is a CURVE key in Z85."""
    return isinstance(text, str) and len(text) == KEY_LENGTH and _Z85.issuperset(text)

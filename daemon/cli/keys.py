"""`sonod keys`: who may reach the daemon from other machines."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sonod.client.keys import KEY_LENGTH, Pair, is_key
from sonod.daemon.access import Role
from sonod.daemon.cli.connection import JsonOption
from sonod.daemon.cli.failure import USAGE, Failure
from sonod.daemon.cli.output import put, put_json, put_table
from sonod.daemon.config import load_config, suggestion
from sonod.daemon.environment import Environment
from sonod.daemon.keyring import (
    FILE_MODE,
    SERVER_FILE,
    Permit,
    ServerKeys,
    check_name,
    read_permits,
    read_server_keys,
    write_permits,
    write_server_keys,
)

SYSTEM_FOLDER = Path("/etc/sonod/keys")
OWN_FOLDER = Path("~/.config/sonod/keys")

FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="The daemon's folder of keys; else that of the configuration (access.keys in SONOD_CONFIG), else "
        f"{SYSTEM_FOLDER} for root and {OWN_FOLDER} for others.",
    ),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Whose key, for example tablet.")]

keys = typer.Typer(
    help="Who may reach the daemon from other machines: make, list and revoke keys. Run it on the daemon's machine.",
    no_args_is_help=True,
)


@keys.command()
def new(
    name: NameArgument,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="view, record or control.")] = Role.VIEW,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The client's key file; else NAME.key here.")
    ] = None,
    public: Annotated[
        str | None,
        typer.Option("--public", metavar="KEY", help="Admit this key, which the client has made itself; no file."),
    ] = None,
    folder: FolderOption = None,
) -> None:
    """Make a key for one client and admit it: a file to carry to the client, secretly."""
    place = _folder(folder)
    try:
        check_name(name)
    except ValueError as error:
        raise Failure(USAGE, f"NAME: {error}") from error
    if role not in tuple(Role):
        raise Failure(USAGE, f"--role: must be view, record or control; got {role!r}")
    if public is not None and not is_key(public):
        raise Failure(USAGE, f"--public: must be a key of {KEY_LENGTH} characters; got {public!r}")
    permits = read_permits(place)
    known = permits.get(name)
    if known is not None and not known.revoked:
        raise Failure(USAGE, f"{name}: has a key already; revoke it first: sonod keys revoke {name}{_in(folder)}")
    taken = next((permit.name for permit in permits.values() if permit.public == public), None)
    if taken is not None:
        raise Failure(USAGE, f"--public: is the key of {taken} already")
    server = _server(place)
    file = None
    if public is None:
        pair = Pair.make()
        public, file = pair.public, out or Path(f"{name}.key")
        _write_client_file(file, name, Role(role), pair, server)
    permits[name] = Permit(name, public, Role(role), _today())
    write_permits(place, permits)
    put(f"{name} is admitted to {place} with the role {role}")
    if file is None:
        put(f"the client needs the daemon's public key: {server.public}")
        return
    put(f"its key file is {file}; carry it to the client in a way that nobody else can read, and delete it here")
    put(f"there:  sonod status --control tcp://THIS_MACHINE:5556 --keys {file.name}")


@keys.command("list")
def list_keys(folder: FolderOption = None, as_json: JsonOption = False) -> None:
    """Show who is admitted, and who was."""
    place = _folder(folder)
    permits = read_permits(place)
    if as_json:
        put_json(
            [
                {
                    "name": permit.name,
                    "role": permit.role,
                    "public": permit.public,
                    "made": permit.made,
                    "revoked": permit.revoked or None,
                }
                for permit in permits.values()
            ]
        )
    elif not permits:
        put(f"nobody is admitted to {place}; `sonod keys new NAME --role view{_in(folder)}` makes a key")
    else:
        put_table(
            ("name", "role", "made", "revoked", "public key"),
            [(permit.name, permit.role, permit.made, permit.revoked, permit.public) for permit in permits.values()],
        )


@keys.command()
def revoke(name: NameArgument, folder: FolderOption = None) -> None:
    """Admit a key no longer: a running daemon cuts its connections within two seconds."""
    place = _folder(folder)
    permits = read_permits(place)
    known = permits.get(name)
    if known is None:
        remedy = suggestion(name, permits) if permits else "; nobody is admitted"
        raise Failure(USAGE, f"{name}: has no key in {place}{remedy}")
    if known.revoked:
        put(f"{name} was revoked on {known.revoked} already")
        return
    permits[name] = replace(known, revoked=_today())
    write_permits(place, permits)
    put(f"{name} is admitted no longer; a daemon that uses {place} cuts its connections within two seconds")


@keys.command()
def server(folder: FolderOption = None) -> None:
    """Show the daemon's public key, and make its pair when there is none."""
    place = _folder(folder)
    put(_server(place).public)


def _folder(given: Path | None) -> Path:
    if given is not None:
        return given.expanduser()
    config = Environment.read().config
    configured = load_config(config).access.keys if config is not None else ""
    if configured:
        return Path(configured)
    return SYSTEM_FOLDER if os.geteuid() == 0 else OWN_FOLDER.expanduser()


def _in(given: Path | None) -> str:
    """What a command that is shown needs, to be about the same folder."""
    return "" if given is None else f" --folder {given}"


def _server(folder: Path) -> ServerKeys:
    """The daemon's pair; made when there is none."""
    if (folder / SERVER_FILE).exists():
        return read_server_keys(folder)
    pair = Pair.make()
    made = ServerKeys(pair.public, pair.secret)
    write_server_keys(folder, made)
    return made


def _write_client_file(path: Path, name: str, role: Role, pair: Pair, server: ServerKeys) -> None:
    text = (
        f"# Key of the sonod client {name!r} (role {role}). Whoever has this file can connect as it: keep it secret.\n"
        f'name = "{name}"\nrole = "{role}"\npublic = "{pair.public}"\nsecret = "{pair.secret}"\n'
        f"# The daemon's public key, by which the client knows that it talks to the right one.\n"
        f'server = "{server.public}"\n'
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Failure(USAGE, f"{path}: exists already; choose another --out, or remove it") from None
    except OSError as error:
        raise Failure(USAGE, f"{path}: cannot be written ({error.strerror}); choose another --out") from error


def _today() -> str:
    return datetime.now(UTC).date().isoformat()

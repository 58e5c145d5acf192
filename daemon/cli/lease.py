"""`sonod lease`: who alone may change acoustic output and geometry."""

from __future__ import annotations

import contextlib
import getpass
import socket
from pathlib import Path
from typing import Annotated

import typer

from sonod.client.control import DEFAULT_ENDPOINT
from sonod.client.lease import HeldLease
from sonod.client.replies import Lease
from sonod.daemon.cli.connection import ControlOption, JsonOption, KeysOption, connect_alive, key_file
from sonod.daemon.cli.failure import FAILED, USAGE, Failure
from sonod.daemon.cli.output import put, put_json
from sonod.daemon.environment import Environment
from sonod.daemon.lease import LONGEST_TTL_S, SHORTEST_TTL_S

HolderOption = Annotated[
    str | None, typer.Option("--holder", metavar="NAME", help="Who you are, for people; else user@machine.")
]
TtlOption = Annotated[
    float, typer.Option("--ttl", metavar="S", help="Seconds until it ends unless prolonged.", show_default=True)
]
KeepOption = Annotated[bool, typer.Option("--keep", help="Keep it, prolonging it, until Ctrl+C; then release it.")]
TokenOption = Annotated[
    str | None, typer.Option("--lease", metavar="TOKEN", help="The token, else that in SONOD_LEASE.")
]

lease = typer.Typer(
    help="Who alone may change acoustic output and geometry: acquire, prolong, release, take over, ask.",
    no_args_is_help=True,
)


@lease.command()
def status(endpoint: ControlOption = None, keys: KeysOption = None, as_json: JsonOption = False) -> None:
    """Who holds the lease."""
    with connect_alive(endpoint, keys) as control:
        _put(control.lease(), as_json)


@lease.command()
def acquire(
    holder: HolderOption = None,
    ttl: TtlOption = 60.0,
    keep: KeepOption = False,
    token: TokenOption = None,
    endpoint: ControlOption = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Become the holder, or prolong your lease with its token. Prints the token for `sonod set --lease TOKEN`."""
    _check(ttl)
    name = holder or _myself()
    if keep:
        _keep(name, ttl, endpoint, keys, take_over=False)
        return
    with connect_alive(endpoint, keys) as control:
        _put(control.acquire_lease(name, ttl, token or Environment.read().lease), as_json)


@lease.command()
def takeover(
    holder: HolderOption = None,
    ttl: TtlOption = 60.0,
    keep: KeepOption = False,
    endpoint: ControlOption = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Become the holder, whoever holds it now; the daemon logs it and tells everybody."""
    _check(ttl)
    name = holder or _myself()
    if keep:
        _keep(name, ttl, endpoint, keys, take_over=True)
        return
    with connect_alive(endpoint, keys) as control:
        _put(control.take_over_lease(name, ttl), as_json)


@lease.command()
def release(token: TokenOption = None, endpoint: ControlOption = None, keys: KeysOption = None) -> None:
    """Let everybody change everything again."""
    given = token or Environment.read().lease
    if given is None:
        raise Failure(USAGE, "lease release: needs the token: --lease TOKEN, or SONOD_LEASE in the environment")
    with connect_alive(endpoint, keys) as control:
        control.release_lease(given)
    put("released")


def _keep(holder: str, ttl_s: float, endpoint: str | None, keys: Path | None, take_over: bool) -> None:
    place = endpoint or Environment.read().control or DEFAULT_ENDPOINT
    with HeldLease(holder, place, ttl_s=ttl_s, take_over=take_over, keys=key_file(keys)) as held:
        put(held.token)
        with contextlib.suppress(KeyboardInterrupt):
            held.wait_lost()
        if held.lost:
            raise Failure(FAILED, f"lease: {holder!r} holds it no longer; `sonod lease status` says who does")


def _check(ttl_s: float) -> None:
    if not SHORTEST_TTL_S <= ttl_s <= LONGEST_TTL_S:
        raise Failure(USAGE, f"--ttl: must be in {SHORTEST_TTL_S:g}..{LONGEST_TTL_S:g} s; got {ttl_s:g}")


def _myself() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


def _put(present: Lease, as_json: bool) -> None:
    if as_json:
        facts = {"holder": present.holder, "expires_in_s": present.expires_in_s, "required": present.required}
        put_json(facts | ({"token": present.token} if present.token else {}))
    elif present.token:
        put(present.token)
    elif present.holder is None:
        put("nobody holds the lease" + ("; nothing may transmit without it" if present.required else ""))
    else:
        put(f"held by {present.holder}, for another {present.expires_in_s:.1f} s unless prolonged")

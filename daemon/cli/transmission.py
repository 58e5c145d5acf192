"""`sonod freeze` and `sonod unfreeze`: stop transmitting, and transmit again."""

from __future__ import annotations

from sonod.daemon.cli.connection import ControlOption, KeysOption, connect_alive
from sonod.daemon.cli.output import put
from sonod.daemon.cli.settings import LeaseOption, lease_of


def freeze(endpoint: ControlOption = None, keys: KeysOption = None) -> None:
    """Stop transmitting and keep the last picture."""
    with connect_alive(endpoint, keys) as control:
        put(control.freeze())


def unfreeze(lease: LeaseOption = None, endpoint: ControlOption = None, keys: KeysOption = None) -> None:
    """Transmit again."""
    with connect_alive(endpoint, keys) as control:
        put(control.unfreeze(lease_of(lease)))

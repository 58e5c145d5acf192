"""How the bridge is set up."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from sonod.client.bridges.igtl.messages import NAME_BYTES
from sonod.client.control import DEFAULT_ENDPOINT as DEFAULT_CONTROL
from sonod.client.conventions.openigtlink import COORDINATES, RAS
from sonod.client.subscriber import DEFAULT_ENDPOINT as DEFAULT_FRAMES

DEFAULT_PORT = 18944
LARGEST_PORT = 65535
DEFAULT_DEVICE = "Image_Transducer"


class UsageError(ValueError):
    """An option cannot be used; one line says why."""


@dataclass(frozen=True)
class Options:
    """Where the daemon is, and where OpenIGTLink clients find us. Port 0 takes any free one."""

    frames: str = DEFAULT_FRAMES
    control: str = DEFAULT_CONTROL
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    device: str = DEFAULT_DEVICE
    coordinates: str = RAS
    allow_network: bool = False
    hold_lease: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= LARGEST_PORT:
            raise UsageError(f"--port: must be in 0..{LARGEST_PORT}; got {self.port}")
        if not self.device or len(self.device) > NAME_BYTES or not self.device.isascii():
            raise UsageError(f"--device: must be 1 to {NAME_BYTES} ASCII characters; got {self.device!r}")
        if self.coordinates not in COORDINATES:
            raise UsageError(f"--coordinates: must be {' or '.join(COORDINATES)}; got {self.coordinates!r}")
        try:
            loopback = self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError as error:
            raise UsageError(f"--host: must be an IP address or localhost; got {self.host!r}") from error
        if not loopback and not self.allow_network:
            raise UsageError(
                f"--host {self.host}: OpenIGTLink knows no keys, so everybody in reach could watch; use a tunnel, "
                f"ssh -L {self.port}:127.0.0.1:{self.port} THIS_MACHINE, or add --allow-network (others may then "
                "watch and send transforms, and change nothing)"
            )

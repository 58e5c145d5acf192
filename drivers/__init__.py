"""Probes and how to reach them.

The table maps the name in front of a URI's colon to the driver class, imported on use. A third-party driver is
found through the entry point group `sonod.drivers` under its own name; the table wins.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from sonod.drivers.errors import DeviceNotFound

if TYPE_CHECKING:
    from sonod.drivers.base import Driver

TABLE: dict[str, str] = {
    "sim": "sonod.drivers.simulated.driver:SimulatedDriver",
    "replay": "sonod.drivers.replay.driver:ReplayDriver",
    "pic0rick": "sonod.drivers.pic0rick.driver:Pic0rickDriver",
    "ultr4rick": "sonod.drivers.pic0rick.driver:Ultr4rickDriver",
    "wulpus": "sonod.drivers.wulpus.driver:WulpusDriver",
    "open-echo": "sonod.drivers.open_echo.driver:OpenEchoDriver",
    "interson": "sonod.drivers.interson.driver:IntersonDriver",
    "un0rick": "sonod.drivers.un0rick.driver:Un0rickDriver",
    "bulk": "sonod.drivers.bulk.driver:BulkDriver",
}
ENTRY_POINT_GROUP = "sonod.drivers"


def driver_names() -> tuple[str, ...]:
    """Names of all drivers, ours first, then those of other packages."""
    foreign = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)} - set(TABLE)
    return (*TABLE, *sorted(foreign))


def driver_class(name: str) -> type[Driver]:
    """The class behind a name; DeviceNotFound when there is none or it cannot be imported."""
    if name in TABLE:
        module, _, attribute = TABLE[name].partition(":")
        loaded: type[Driver] = getattr(import_module(module), attribute)
        return loaded
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            try:
                foreign: type[Driver] = point.load()
            except (ImportError, AttributeError) as error:
                raise DeviceNotFound(f"driver {name!r} from {point.value!r} cannot be loaded: {error}") from error
            return foreign
    raise DeviceNotFound(f"driver {name!r}: not known; there are {', '.join(driver_names())}")


def open_uri(text: str) -> Driver:
    """A closed driver for the URI; DeviceNotFound when no driver takes it."""
    from sonod.drivers.base import Uri

    uri = Uri.parse(text)
    return driver_class(uri.name)(uri)

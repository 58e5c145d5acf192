"""`sonod drivers`: every driver, how to name it, what it needs."""

from __future__ import annotations

from sonod.daemon.cli.connection import JsonOption
from sonod.daemon.cli.output import put_json, put_table
from sonod.drivers import driver_class, driver_names
from sonod.drivers.errors import DriverError


def drivers(as_json: JsonOption = False) -> None:
    """List every driver, its URI form and what it needs."""
    rows = []
    for name in driver_names():
        try:
            driver = driver_class(name)
            rows.append({"name": name, "uri": driver.uri_form, "summary": driver.summary, "needs": driver.needs})
        except (DriverError, ImportError) as error:
            rows.append({"name": name, "uri": f"{name}:", "summary": f"cannot be loaded: {error}", "needs": ""})
    if as_json:
        put_json(rows)
    else:
        put_table(("URI", "what it is", "needs"), [(row["uri"], row["summary"], row["needs"]) for row in rows])

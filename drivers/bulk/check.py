"""Open the front-end of a URI and check it against the protocol's page."""

from __future__ import annotations

from collections.abc import Iterator

from sonod.drivers.bulk.conformance import BulkConformance, Finding
from sonod.drivers.bulk.driver import BulkDriver
from sonod.drivers.errors import ProtocolError


def check_front_end(uri: str) -> Iterator[Finding]:
    """One finding for each rule; DriverError when there is no such front-end."""
    driver = BulkDriver(uri)
    try:
        driver.open()
    except ProtocolError as error:
        yield Finding("capabilities and status can be read (sections 2, 3)", str(error))
        return
    try:
        yield from BulkConformance(driver.front_end, driver.clock).run()
    finally:
        driver.close()

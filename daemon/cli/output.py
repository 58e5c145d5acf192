"""What commands print: results to standard output, progress to a terminal only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonod.client.wire.header import Value


def put(line: str = "") -> None:
    """One line of the result."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def put_json(values: Mapping[str, Any] | Sequence[Any]) -> None:
    """The result for programs."""
    put(json.dumps(values, indent=2))


def put_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """The result as a table, as wide as it needs to be in a pipe."""
    # Imported here: most commands print no table.
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(file=sys.stdout) if sys.stdout.isatty() else Console(file=sys.stdout, width=200)
    console.print(table)


def shown(value: Value) -> str:
    """A value as `sonod set` takes it."""
    if isinstance(value, tuple | list):
        return ",".join(f"{point:g}" for point in value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.2f}"

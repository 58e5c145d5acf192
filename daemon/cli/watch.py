"""`sonod watch`: what happens, as it happens."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated, Any

import typer

from sonod.client.frame import Frame, Message
from sonod.client.subscriber import DEFAULT_ENDPOINT, Subscriber
from sonod.client.wire.fields import compact
from sonod.client.wire.notices import EVENT, SETTINGS, STATE, EventNotice, SettingsNotice, StateNotice
from sonod.daemon.cli.connection import JsonOption, KeysOption, key_file
from sonod.daemon.cli.failure import USAGE, Failure
from sonod.daemon.cli.output import put, shown
from sonod.daemon.environment import Environment
from sonod.daemon.subscriptions import PRODUCTS

# The daemon repeats its state every second.
SILENCE_S = 5.0


def watch(
    product: Annotated[
        str | None, typer.Option("--frames", metavar="PRODUCT", help="Also a line for every frame of this product.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, help="End after so many lines; without it, never.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--from", metavar="ENDPOINT", help="Where the daemon publishes.", show_default=False)
    ] = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print changes of state and settings, and events, as they happen. Ctrl+C ends it."""
    if product is not None and product not in PRODUCTS:
        raise Failure(USAGE, f"--frames: must be one of {', '.join(PRODUCTS)}; got {product!r}")
    products = [STATE, SETTINGS, EVENT] if product is None else [STATE, SETTINGS, EVENT, product]
    live = sys.stdout.isatty() and not as_json and product is None
    before: dict[type, object] = {}
    printed = 0
    with (
        contextlib.suppress(KeyboardInterrupt),
        Subscriber(endpoint or Environment.read().frames or DEFAULT_ENDPOINT, keys=key_file(keys)) as subscriber,
    ):
        for message in subscriber.messages(*products, timeout_s=SILENCE_S):
            if live and isinstance(message, StateNotice):
                sys.stdout.write(f"\r\x1b[K{_rate(message)}")
                sys.stdout.flush()
            facts = _facts(message)
            if not isinstance(message, Frame) and before.get(type(message)) == facts:
                continue
            before[type(message)] = facts
            if live:
                sys.stdout.write("\r\x1b[K")
            put(compact(facts) if as_json else _line(facts))
            printed += 1
            if printed == count:
                return


def _facts(message: Message) -> dict[str, Any]:
    """What a line says, and what must change before a notice is printed again."""
    if isinstance(message, Frame):
        header, times = message.header, message.header.times
        return {
            "frame": header.frame,
            "product": header.product,
            "revision": header.revision,
            "shape": list(header.shape),
            "daemon_ms": round((times.published_ns - times.last_byte_ns) / 1e6, 2),
            "missed": message.missed,
        }
    if isinstance(message, StateNotice):
        return {"state": message.state, "reason": message.reason, "recording": message.recording}
    if isinstance(message, SettingsNotice):
        return {"revision": message.revision, "first_frame": message.first_frame, "settings": dict(message.settings)}
    assert isinstance(message, EventNotice)
    return {"event": message.event, "level": message.level, "message": message.message, "facts": dict(message.facts)}


def _line(facts: dict[str, Any]) -> str:
    """For people: names and values on one line, settings as `sonod set` takes them."""
    parts: list[str] = []
    for name, value in facts.items():
        if name == "settings":
            parts.extend(f"{key}={shown(setting)}" for key, setting in value.items())
        elif value not in (None, "", {}) and name != "facts":
            parts.append(f"{name} {'x'.join(map(str, value)) if name == 'shape' else value}")
    return "  ".join(parts)


def _rate(state: StateNotice) -> str:
    losses = state.losses
    return (
        f"{state.state}  frame {state.frame}  {state.frame_rate_hz:.1f} a second  "
        f"lost {losses.device} in the device, {losses.ring} in the ring, {losses.processing} in processing"
    )

"""Clips that the daemon has saved, sent to the browser that asks for one."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

from sonod.client.viewer.bundle import Bundle, NoBundle, bundle_of
from sonod.client.viewer.relay import Relay

# The page follows its ticket at once.
TICKET_S = 60.0
TICKET_LIMIT = 16
# Two browsers may take a clip at a time: a disk and a loopback do not get faster with more.
DOWNLOAD_LIMIT = 2

_log = logging.getLogger(__name__)


class Downloads:
    """Promises a page the clip that the daemon has saved last, and sends it. `here`: the daemon is on this machine."""

    def __init__(self, relay: Relay, here: bool) -> None:
        self._relay = relay
        self._here = here
        self._tickets = Tickets()

    async def promise(self, path: str) -> dict[str, str | int]:
        """Where the clip can be had, once and within a minute, and how large it is; NoBundle when it cannot. Only the
        clip that this daemon has saved last can: the daemon is asked, so that no page chooses a place on the disk."""
        reply = await self._relay.ask("status", {})
        if reply.error is not None:
            raise NoBundle(reply.error.message)
        clip = reply.result.get("clip")
        last = clip.get("last") if isinstance(clip, dict) else None
        if not isinstance(last, dict) or last.get("failed") or last.get("path") != path:
            raise NoBundle(f"{path[:200]}: is not the clip that this daemon has saved last")
        if not self._here:
            raise NoBundle(f"the daemon is on another machine; the clip is there, in {path}")
        bundle = bundle_of(Path(path))
        ticket = self._tickets.issue(bundle)
        return {"url": f"/download/{ticket}/{bundle.name}", "name": bundle.name, "bytes": bundle.size_bytes}

    async def send(self, request: web.Request) -> web.StreamResponse:
        """The clip as a tar file, for whoever has the ticket."""
        bundle = self._tickets.take(request.match_info["ticket"])
        if bundle is None:
            raise web.HTTPNotFound(text="viewer: no such download; ask for it on the page\n")
        with self._tickets.running() as room:
            if not room:
                raise web.HTTPServiceUnavailable(text=f"viewer: {DOWNLOAD_LIMIT} downloads run already; wait for one\n")
            response = web.StreamResponse(headers={"Content-Disposition": f'attachment; filename="{bundle.name}"'})
            response.content_type = "application/x-tar"
            response.content_length = bundle.size_bytes
            await response.prepare(request)
            try:
                async for piece in bundle.chunks():
                    await response.write(piece)
            except NoBundle as error:
                # What was sent cannot be taken back: the browser sees that bytes are missing.
                _log.warning("download of %s broken off: %s", bundle.name, error)
                if request.transport is not None:
                    request.transport.abort()
            return response


class Tickets:
    """Which downloads a page was promised: each once, and soon. A ticket cannot be guessed, so that no other page can
    start one."""

    def __init__(self) -> None:
        self._promised: dict[str, tuple[Bundle, float]] = {}
        self._running = 0

    def issue(self, bundle: Bundle) -> str:
        now_s = time.monotonic()
        self._promised = {key: one for key, one in self._promised.items() if one[1] > now_s}
        while len(self._promised) >= TICKET_LIMIT:
            del self._promised[next(iter(self._promised))]
        ticket = secrets.token_urlsafe(24)
        self._promised[ticket] = bundle, now_s + TICKET_S
        return ticket

    def take(self, ticket: str) -> Bundle | None:
        bundle, until_s = self._promised.pop(ticket, (None, 0.0))
        return bundle if time.monotonic() < until_s else None

    @contextmanager
    def running(self) -> Iterator[bool]:
        """Whether there is room for one more download, which lasts as long as the context."""
        self._running += 1
        try:
            yield self._running <= DOWNLOAD_LIMIT
        finally:
            self._running -= 1

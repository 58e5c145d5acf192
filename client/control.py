"""Asking the daemon, and telling it what to do."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import zmq
import zmq.asyncio

from sonod.client.address import connect
from sonod.client.errors import AccessRefused, NoAnswer, RequestRefused
from sonod.client.handshake import Handshake
from sonod.client.keys import Keys, keys_from
from sonod.client.replies import (
    AppliedSettings,
    ClipStarted,
    CurrentSettings,
    Description,
    Lease,
    Marked,
    RecordingOutcome,
    Status,
)
from sonod.client.wire.control import Reply, Request, decode_reply, encode_request
from sonod.client.wire.errors import WireError
from sonod.client.wire.fields import Fields

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5556"
# Longer than a change of settings takes at the slowest frame rates in use.
DEFAULT_TIMEOUT_S = 10.0


class Control:
    """Requests to a daemon, from one thread; a daemon that was away is found again by the next request.

    Every method raises RequestRefused when the daemon says no, AccessRefused when it wants another key (`keys` is a
    file made by `sonod keys new`), and NoAnswer when it says nothing in time; after NoAnswer it is not known whether
    the request was carried out.
    """

    def __init__(
        self, endpoint: str = DEFAULT_ENDPOINT, timeout_s: float = DEFAULT_TIMEOUT_S, *, keys: Keys = None
    ) -> None:
        self.endpoint = endpoint
        self.timeout_s = timeout_s
        self._keys = keys_from(keys)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._handshake: Handshake | None = None
        self._ids = itertools.count(1)

    def request(self, command: str, arguments: Mapping[str, Any] | None = None) -> Fields:
        """Any command by name, and its reply as it came; the methods below are this with types."""
        identity = next(self._ids)
        if self._socket is None or self._handshake is None:
            socket = self._context.socket(zmq.DEALER)
            socket.setsockopt(zmq.LINGER, 0)
            handshake = Handshake(socket, self.endpoint, self._keys)
            connect(socket, self.endpoint)
            self._socket, self._handshake = socket, handshake
        data = encode_request(Request(identity, command, arguments or {}))
        deadline = time.monotonic() + self.timeout_s
        try:
            # A connection that was refused takes nothing any more.
            if self._handshake.poll(round(self.timeout_s * 1000), zmq.POLLOUT):
                self._socket.send(data)
            while (left_s := deadline - time.monotonic()) > 0 and self._handshake.poll(round(left_s * 1000)):
                reply = decode_reply(self._socket.recv())
                if is_answer(reply, identity):
                    return result_of(reply, command)
        except AccessRefused:
            self._drop()
            raise
        self._drop()
        raise no_answer(self.endpoint, self.timeout_s)

    def describe(self) -> Description:
        """What the daemon is, its knobs, products and presets."""
        return Description.read(self.request("describe"))

    def get(self, keys: Sequence[str] | None = None) -> CurrentSettings:
        """The settings in force, all or those named."""
        return CurrentSettings.read(self.request("get", {} if keys is None else {"keys": list(keys)}))

    def set(
        self, changes: Mapping[str, Any], *, expected_revision: int | None = None, lease: str | None = None
    ) -> AppliedSettings:
        """Change all the knobs or none; with `expected_revision` only when nobody else has changed any since."""
        arguments = _given(changes=dict(changes), expected_revision=expected_revision, lease=lease)
        return AppliedSettings.read(self.request("set", arguments))

    def preset(self, name: str, *, expected_revision: int | None = None, lease: str | None = None) -> AppliedSettings:
        """Change to a named set of settings."""
        arguments = _given(name=name, expected_revision=expected_revision, lease=lease)
        return AppliedSettings.read(self.request("preset", arguments))

    def save(self) -> str:
        """The settings in force as the text of a file, for `load`, as a preset or as a configuration."""
        return self.request("save").text("file")

    def load(self, file: str, *, expected_revision: int | None = None, lease: str | None = None) -> AppliedSettings:
        """Change to the settings in the text of a saved file, all of them or none."""
        arguments = _given(file=file, expected_revision=expected_revision, lease=lease)
        return AppliedSettings.read(self.request("load", arguments))

    def freeze(self) -> str:
        """Stop transmitting and keep the device; the state that came of it."""
        return self.request("freeze").text("state")

    def unfreeze(self, lease: str | None = None) -> str:
        """Transmit again; the state that came of it."""
        return self.request("unfreeze", _given(lease=lease)).text("state")

    def start(self, lease: str | None = None) -> str:
        """Open the device again after `stop`, or play an ended recording again; the state that came of it."""
        return self.request("start", _given(lease=lease)).text("state")

    def stop(self) -> str:
        """Stop transmitting and release the device; the state that came of it."""
        return self.request("stop").text("state")

    def status(self) -> Status:
        """What the daemon is doing."""
        return Status.read(self.request("status"))

    def start_recording(self, path: str, seconds: float | None = None) -> str:
        """Record raw frames into a new file at an absolute path on the daemon's machine; the path."""
        return self.request("record", _given(action="start", path=path, seconds=seconds)).text("path")

    def stop_recording(self) -> RecordingOutcome:
        """End the recording; also tells of the last one when it has ended by itself."""
        return RecordingOutcome.read(self.request("record", {"action": "stop"}))

    def clip(self, before_s: float = 10.0, after_s: float = 2.0, path: str | None = None) -> ClipStarted:
        """Save the last seconds and the next few as a new folder at an absolute path on the daemon's machine, or in its
        folder for clips (`status().clip.folder`). Returns when saving has begun; the event `clip_ended` or
        `clip_failed`, and `status().clip`, tell what came of it."""
        return ClipStarted.read(self.request("clip", _given(before_s=before_s, after_s=after_s, path=path)))

    def mark(self, phase: str, *, site: str = "", side: str = "", text: str = "") -> Marked:
        """Mark this moment for the clips that show it: `phase` is pre, guidance or post, `side` left, right, both or
        midline. `text` goes into their manifests and nowhere else; names of patients belong in none of these."""
        return Marked.read(self.request("mark", {"phase": phase, "site": site, "side": side, "text": text}))

    def acquire_lease(
        self, holder: str, ttl_s: float = 10.0, token: str | None = None, *, connection: bool = False
    ) -> Lease:
        """Become the only one who may change acoustic output and geometry, or prolong that; without renewal the lease
        ends and the probe freezes. With `connection` it also ends when this client goes away, however it goes."""
        arguments = _given(action="acquire", holder=holder, ttl_s=ttl_s, token=token, connection=connection or None)
        return Lease.read(self.request("lease", arguments))

    def take_over_lease(self, holder: str, ttl_s: float = 10.0, *, connection: bool = False) -> Lease:
        """Become the holder, whoever holds the lease now; everybody is told."""
        arguments = _given(action="takeover", holder=holder, ttl_s=ttl_s, connection=connection or None)
        return Lease.read(self.request("lease", arguments))

    def release_lease(self, token: str) -> None:
        """Let everybody change everything again."""
        self.request("lease", {"action": "release", "token": token})

    def lease(self) -> Lease:
        """Who holds the lease."""
        return Lease.read(self.request("lease", {"action": "status"}))

    def close(self) -> None:
        """Let go of the socket."""
        self._context.destroy(linger=0)

    def _drop(self) -> None:
        """A new socket next time: what may still come on this one belongs to a request that was given up."""
        if self._handshake is not None:
            self._handshake.close()
        self._socket = self._handshake = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncControl:
    """Requests to a daemon for asyncio; any number may be under way at once. Errors as with Control."""

    def __init__(
        self, endpoint: str = DEFAULT_ENDPOINT, timeout_s: float = DEFAULT_TIMEOUT_S, *, keys: Keys = None
    ) -> None:
        self.endpoint = endpoint
        self.timeout_s = timeout_s
        self._keys = keys_from(keys)
        self._context = zmq.asyncio.Context()
        self._socket: zmq.asyncio.Socket | None = None
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._receiver: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._refused: AccessRefused | None = None

    async def request(self, command: str, arguments: Mapping[str, Any] | None = None) -> Fields:
        """Any command by name, and its reply as it came."""
        identity = next(self._ids)
        if self._socket is None:
            socket = self._context.socket(zmq.DEALER)
            socket.setsockopt(zmq.LINGER, 0)
            # Nothing waits for a daemon that comes back later: a request that was given up must not be carried out.
            socket.setsockopt(zmq.IMMEDIATE, 1)
            handshake = Handshake(socket, self.endpoint, self._keys)
            connect(socket, self.endpoint)
            self._socket = socket
            self._receiver = asyncio.create_task(self._receive(self._socket))
            self._watcher = asyncio.create_task(self._watch(handshake))
        if self._refused is not None:
            raise self._refused
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[identity] = answer
        data = encode_request(Request(identity, command, arguments or {}))
        try:
            async with asyncio.timeout(self.timeout_s):
                # With nobody there it is never sent, and the answer is the refusal.
                waiting: set[asyncio.Future[Any]] = {asyncio.ensure_future(self._socket.send(data)), answer}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                reply = await answer
        except TimeoutError as error:
            raise no_answer(self.endpoint, self.timeout_s) from error
        finally:
            del self._waiting[identity]
        return result_of(reply, command)

    async def describe(self) -> Description:
        """As `Control.describe`."""
        return Description.read(await self.request("describe"))

    async def get(self, keys: Sequence[str] | None = None) -> CurrentSettings:
        """As `Control.get`."""
        return CurrentSettings.read(await self.request("get", {} if keys is None else {"keys": list(keys)}))

    async def set(
        self, changes: Mapping[str, Any], *, expected_revision: int | None = None, lease: str | None = None
    ) -> AppliedSettings:
        """As `Control.set`."""
        arguments = _given(changes=dict(changes), expected_revision=expected_revision, lease=lease)
        return AppliedSettings.read(await self.request("set", arguments))

    async def preset(
        self, name: str, *, expected_revision: int | None = None, lease: str | None = None
    ) -> AppliedSettings:
        """As `Control.preset`."""
        arguments = _given(name=name, expected_revision=expected_revision, lease=lease)
        return AppliedSettings.read(await self.request("preset", arguments))

    async def save(self) -> str:
        """As `Control.save`."""
        return (await self.request("save")).text("file")

    async def load(
        self, file: str, *, expected_revision: int | None = None, lease: str | None = None
    ) -> AppliedSettings:
        """As `Control.load`."""
        arguments = _given(file=file, expected_revision=expected_revision, lease=lease)
        return AppliedSettings.read(await self.request("load", arguments))

    async def freeze(self) -> str:
        """As `Control.freeze`."""
        return (await self.request("freeze")).text("state")

    async def unfreeze(self, lease: str | None = None) -> str:
        """As `Control.unfreeze`."""
        return (await self.request("unfreeze", _given(lease=lease))).text("state")

    async def start(self, lease: str | None = None) -> str:
        """As `Control.start`."""
        return (await self.request("start", _given(lease=lease))).text("state")

    async def stop(self) -> str:
        """As `Control.stop`."""
        return (await self.request("stop")).text("state")

    async def status(self) -> Status:
        """As `Control.status`."""
        return Status.read(await self.request("status"))

    async def start_recording(self, path: str, seconds: float | None = None) -> str:
        """As `Control.start_recording`."""
        return (await self.request("record", _given(action="start", path=path, seconds=seconds))).text("path")

    async def stop_recording(self) -> RecordingOutcome:
        """As `Control.stop_recording`."""
        return RecordingOutcome.read(await self.request("record", {"action": "stop"}))

    async def clip(self, before_s: float = 10.0, after_s: float = 2.0, path: str | None = None) -> ClipStarted:
        """As `Control.clip`."""
        return ClipStarted.read(await self.request("clip", _given(before_s=before_s, after_s=after_s, path=path)))

    async def mark(self, phase: str, *, site: str = "", side: str = "", text: str = "") -> Marked:
        """As `Control.mark`."""
        return Marked.read(await self.request("mark", {"phase": phase, "site": site, "side": side, "text": text}))

    async def acquire_lease(
        self, holder: str, ttl_s: float = 10.0, token: str | None = None, *, connection: bool = False
    ) -> Lease:
        """As `Control.acquire_lease`."""
        arguments = _given(action="acquire", holder=holder, ttl_s=ttl_s, token=token, connection=connection or None)
        return Lease.read(await self.request("lease", arguments))

    async def take_over_lease(self, holder: str, ttl_s: float = 10.0, *, connection: bool = False) -> Lease:
        """As `Control.take_over_lease`."""
        arguments = _given(action="takeover", holder=holder, ttl_s=ttl_s, connection=connection or None)
        return Lease.read(await self.request("lease", arguments))

    async def release_lease(self, token: str) -> None:
        """As `Control.release_lease`."""
        await self.request("lease", {"action": "release", "token": token})

    async def lease(self) -> Lease:
        """As `Control.lease`."""
        return Lease.read(await self.request("lease", {"action": "status"}))

    async def close(self) -> None:
        """Let go of the socket; requests under way get NoAnswer in their time."""
        tasks = [task for task in (self._receiver, self._watcher) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._context.destroy(linger=0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _watch(self, handshake: Handshake) -> None:
        """A refusal ends every request; libzmq has given the connection up by itself."""
        self._refused = await handshake.refusal_async()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(self._refused)

    async def _receive(self, socket: zmq.asyncio.Socket) -> None:
        while True:
            try:
                reply = decode_reply(await socket.recv())
            except WireError:
                # Nobody can be told; whoever asked gets NoAnswer.
                continue
            answer = self._waiting.get(reply.id) if isinstance(reply.id, int) else None
            if answer is not None and not answer.done():
                answer.set_result(reply)


def is_answer(reply: Reply, identity: int) -> bool:
    """Whether the reply belongs to the request; one without an id answers a request that could not be read."""
    return reply.id == identity or (reply.id is None and not reply.ok)


def result_of(reply: Reply, command: str) -> Fields:
    """The fields of a good reply; RequestRefused with the error of a bad one."""
    if reply.error is not None:
        raise RequestRefused(reply.error)
    return Fields(reply.result, f"reply to {command}")


def no_answer(endpoint: str, timeout_s: float) -> NoAnswer:
    """The error for a daemon that says nothing."""
    return NoAnswer(f"{endpoint}: no answer within {timeout_s:g} s; is the daemon running? Start it with `sonod run`")


def _given(**arguments: Any) -> dict[str, Any]:
    """The arguments that are not None."""
    return {name: value for name, value in arguments.items() if value is not None}

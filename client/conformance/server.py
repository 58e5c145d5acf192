"""Asks a running server whether it keeps to the protocol; changes nothing unless allowed to."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import zmq

from sonod.client.address import connect
from sonod.client.conformance.finding import Finding
from sonod.client.control import Control
from sonod.client.errors import ClientError, RequestRefused
from sonod.client.frame import Frame, Message
from sonod.client.replies import CurrentSettings, Description, KnobDescription
from sonod.client.subscriber import Subscriber
from sonod.client.wire.errors import WireError
from sonod.client.wire.geometry import ImageGeometry
from sonod.client.wire.notices import SettingsNotice, StateNotice

# The protocol repeats settings and state every second.
REPEAT_S = 5.0
FRAMES = 20


class Broken(Exception):
    """A rule is not kept; one line says how."""


def check_server(frames: str, control: str, change: bool, timeout_s: float) -> Iterator[Finding]:
    """A finding for each rule. With `change` a knob that affects neither output nor geometry is tried and set back."""
    server = _Server(frames, control, timeout_s)
    try:
        rules: list[tuple[str, Callable[[], None]]] = [
            ("describe is answered, with every key", server.describes),
            ("the id comes back as it was sent, text or number", server.returns_ids),
            ("a REQ socket is answered", server.answers_req),
            ("what is not JSON is refused as malformed", server.refuses_garbage),
            ("an unknown command is refused", server.refuses_unknown_commands),
            ("a misspelt argument is refused", server.refuses_unknown_arguments),
            ("get agrees with describe", server.gets),
            ("a refused set changes nothing and says which knob", server.refuses_unknown_knobs),
            ("a stale expected_revision is a conflict", server.conflicts),
            ("settings and state come soon after subscribing", server.welcomes),
            (f"{FRAMES} frames can be read, and count up", server.frames_are_read),
            ("fingerprints are those of the geometry", server.fingerprints),
            ("image_to_transducer and the origin say what the other keys say", server.matrices),
            ("times do not go back, and UTC is near ours", server.times),
        ]
        if change:
            rules.append(("a set is made as a whole, from the frame on that its reply names", server.sets))
        for rule, check in rules:
            yield _finding(rule, check)
    finally:
        server.close()


def _finding(rule: str, check: Callable[[], None]) -> Finding:
    try:
        check()
    except (Broken, ClientError, WireError) as error:
        return Finding(rule, str(error))
    return Finding(rule)


class _Server:
    def __init__(self, frames: str, control: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._endpoint = control
        self._control = Control(control, timeout_s)
        self._subscriber = Subscriber(frames)
        self._seen: list[Frame] = []

    def close(self) -> None:
        self._control.close()
        self._subscriber.close()

    # -- control ---------------------------------------------------------------------------------------------------

    def describes(self) -> None:
        fields = self._control.request("describe")
        description = Description.read(fields)
        for knob in description.knobs.values():
            if knob.kind not in ("float", "int", "choice", "curve"):
                raise Broken(f"knob {knob.name}: kind {knob.kind!r} is not one")
        missing = {"describe", "get", "set", "status"} - set(description.commands)
        if missing:
            raise Broken(f"commands: {', '.join(sorted(missing))} missing")

    def returns_ids(self) -> None:
        for identity in ("seven", 7):
            answer = self._raw(json.dumps({"id": identity, "command": "status"}).encode())
            if answer.get("id") != identity or answer.get("ok") is not True:
                raise Broken(f"id {identity!r} came back as {answer.get('id')!r}, ok {answer.get('ok')!r}")

    def answers_req(self) -> None:
        self._raw(b'{"id": 1, "command": "status"}', zmq.REQ)

    def refuses_garbage(self) -> None:
        answer = self._raw(b"\xff not JSON")
        self._must_refuse(answer, "malformed")
        if answer.get("id") is not None:
            raise Broken(f"id must be null; got {answer.get('id')!r}")

    def refuses_unknown_commands(self) -> None:
        self._must_refuse(self._raw(b'{"id": 1, "command": "fly_to_the_moon"}'), "unknown_command")

    def refuses_unknown_arguments(self) -> None:
        self._must_refuse(self._raw(b'{"id": 1, "command": "get", "kyes": []}'), "invalid")

    def gets(self) -> None:
        description, current = self._both()
        if current.revision == description.revision:
            for name, value in current.settings.items():
                if description.knobs[name].value != value:
                    raise Broken(f"{name}: {description.knobs[name].value!r} in describe, {value!r} in get")

    def refuses_unknown_knobs(self) -> None:
        before = CurrentSettings.read(self._control.request("get"))
        try:
            self._control.set({"no_such_knob": 1})
        except RequestRefused as error:
            if "no_such_knob" not in str(error):
                raise Broken(f"the message does not name the knob: {error}") from error
        else:
            raise Broken("a knob that is not there was set")
        if CurrentSettings.read(self._control.request("get")).revision != before.revision:
            raise Broken("the revision changed (or somebody else changed a setting meanwhile)")

    def conflicts(self) -> None:
        description, current = self._both()
        name, value = next(iter(current.settings.items()))
        changes = {"changes": {name: list(value) if isinstance(value, tuple) else value}}
        request = {"id": 1, "command": "set", **changes, "expected_revision": (description.revision or 0) + 1000}
        self._must_refuse(self._raw(json.dumps(request).encode()), "conflict", "lease_held", "forbidden")

    # -- frames ----------------------------------------------------------------------------------------------------

    def welcomes(self) -> None:
        missing: set[type[Message]] = {SettingsNotice, StateNotice}
        deadline = time.monotonic() + REPEAT_S
        for message in self._subscriber.messages("settings", "state", timeout_s=REPEAT_S):
            missing.discard(type(message))
            if not missing:
                return
            if time.monotonic() > deadline:
                raise Broken(f"no {' and no '.join(sorted(kind.__name__ for kind in missing))} within {REPEAT_S:g} s")

    def frames_are_read(self) -> None:
        for frame in self._subscriber.frames("bmode", timeout_s=self._timeout_s):
            self._seen.append(frame)
            if len(self._seen) >= 2:
                before, header = self._seen[-2].header, frame.header
                if header.session != before.session:
                    raise Broken("the session changed; the server was started anew meanwhile")
                if header.frame <= before.frame:
                    raise Broken(f"frame {header.frame} after {before.frame}")
                if header.losses.total < before.losses.total:
                    raise Broken(f"losses go back: {header.losses.total} after {before.losses.total}")
            if frame.header.geometry.shape != frame.data.shape[: len(frame.header.geometry.shape)]:
                raise Broken(f"geometry of {frame.header.geometry.shape}, payload of {frame.data.shape}")
            if len(self._seen) == FRAMES:
                return

    def fingerprints(self) -> None:
        for frame in self._frames():
            geometry = frame.header.geometry
            if geometry.fingerprint != geometry.computed_fingerprint:
                raise Broken(
                    f"frame {frame.header.frame}: says {geometry.fingerprint}, its keys give "
                    f"{geometry.computed_fingerprint}"
                )

    def matrices(self) -> None:
        parts = self._parts()
        block = json.loads(parts[1])["geometry"]
        geometry = self._frames()[-1].header.geometry
        if not isinstance(geometry, ImageGeometry):
            raise Broken(f"B-mode has geometry {geometry.kind}; must be image")
        own: dict[str, Any] = {
            "image_to_transducer": geometry.image_to_transducer,
            "transducer_origin_pixel": geometry.transducer_origin_pixel,
        }
        if block["fingerprint"] != geometry.fingerprint:
            # The settings changed in between; the next run will tell.
            return
        for key, value in own.items():
            said = np.array(block.get(key, math.nan), dtype=float)
            if said.shape != np.shape(value) or not np.allclose(said, value, rtol=1e-9, atol=1e-12):
                raise Broken(f"{key}: must be {json.dumps(value)}; got {json.dumps(block.get(key))[:200]}")

    def times(self) -> None:
        for frame in self._frames():
            times = frame.header.times
            steps = [times.first_byte_ns, times.last_byte_ns, times.dequeued_ns, times.processed_ns, times.published_ns]
            if times.transmit_ns is not None:
                steps.insert(0, times.transmit_ns)
            if steps != sorted(steps):
                raise Broken(f"frame {frame.header.frame}: {steps}")
        off_s = (times.utc.utc_of(times.published_ns) - time.time_ns()) / 1e9
        if abs(off_s) > 60:
            raise Broken(f"UTC of the last frame is {off_s:+.1f} s from this machine's clock")

    def sets(self) -> None:
        description, _ = self._both()
        knob = next(filter(_harmless, description.knobs.values()), None)
        if knob is None:
            raise Broken("no knob affects neither output nor geometry, so none was tried")
        assert isinstance(knob.value, float)
        step = knob.step or (knob.maximum or 1.0) / 100
        wanted = knob.value - step if knob.value + step > (knob.maximum or math.inf) else knob.value + step
        messages = self._subscriber.frames("bmode", timeout_s=self._timeout_s)
        next(messages)
        applied = self._control.set({knob.name: wanted})
        try:
            first = applied.first_frame
            if first is None:
                raise Broken(f"set {knob.name}: no first_frame although frames come")
            for frame in messages:
                header = frame.header
                if (header.frame < first) != (header.revision < applied.revision):
                    raise Broken(
                        f"frame {header.frame} has revision {header.revision}; {first} begins {applied.revision}"
                    )
                if header.frame >= first:
                    got = header.settings.get(knob.name)
                    if got != applied.applied[knob.name]:
                        raise Broken(f"{knob.name}: {applied.applied[knob.name]!r} applied, {got!r} in the frame")
                    return
        finally:
            self._control.set({knob.name: knob.value})

    # -- help ------------------------------------------------------------------------------------------------------

    def _both(self) -> tuple[Description, CurrentSettings]:
        return self._control.describe(), CurrentSettings.read(self._control.request("get"))

    def _frames(self) -> list[Frame]:
        if not self._seen:
            raise Broken("no frame could be read")
        return self._seen

    def _parts(self) -> list[bytes]:
        """One B-mode message as it came."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            socket = context.socket(zmq.SUB)
            socket.subscribe(b"sonod.1.bmode.")
            socket.connect(self._subscriber.endpoint)
            if not socket.poll(round(self._timeout_s * 1000)):
                raise Broken("no frame could be read")
            return socket.recv_multipart()
        finally:
            context.destroy(linger=0)

    def _raw(self, request: bytes, kind: int = zmq.DEALER) -> dict[str, Any]:
        """The reply to bytes, over a connection of their own."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            socket = context.socket(kind)
            connect(socket, self._endpoint)
            socket.send(request)
            if not socket.poll(round(self._timeout_s * 1000)):
                raise Broken(f"no answer within {self._timeout_s:g} s to {request[:60]!r}")
            parts = socket.recv_multipart()
        finally:
            context.destroy(linger=0)
        try:
            answer = json.loads(parts[0]) if len(parts) == 1 else None
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise Broken(f"the answer to {request[:60]!r} is not one part with a JSON object")
        return answer

    def _must_refuse(self, answer: dict[str, Any], *codes: str) -> None:
        error = answer.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        if answer.get("ok") is not False or code not in codes:
            raise Broken(f"must be refused with {codes[0]}; got {json.dumps(answer)[:120]}")
        if not isinstance(error, dict) or not isinstance(error.get("message"), str) or "\n" in error["message"]:
            raise Broken("error.message must be one line")


def _harmless(knob: KnobDescription) -> bool:
    return (
        knob.kind == "float"
        and knob.applied_by == "processing"
        and not knob.acoustic_output
        and not getattr(knob, "geometry", False)
        and knob.name not in ("depth_m", "sound_speed_m_s")
        and isinstance(knob.value, float)
    )

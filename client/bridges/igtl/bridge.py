"""From the daemon's frames to OpenIGTLink clients, and from their commands to the daemon."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

from sonod.client.address import AddressError
from sonod.client.bridges.igtl.content import (
    CAPABILITY,
    COMMAND,
    GET_CAPABILITY,
    GET_IMAGE,
    GET_STATUS,
    IMAGE,
    RTS_COMMAND,
    STATUS,
    STATUS_NOT_READY,
    STATUS_OK,
    STRING,
    TRANSFORM,
    CommandContent,
    capability_content,
    image_content,
    status_content,
    string_content,
    string_text,
    transform_matrix,
)
from sonod.client.bridges.igtl.messages import VERSION_2, Message, MessageError
from sonod.client.bridges.igtl.options import Options
from sonod.client.bridges.igtl.plus import LEGACY_PREFIX, LEGACY_REPLY, PlusCommands
from sonod.client.bridges.igtl.server import Client, Server
from sonod.client.calibration import Calibration, CalibrationState, Judgement
from sonod.client.control import AsyncControl
from sonod.client.conventions.openigtlink import placement
from sonod.client.errors import NoAnswer
from sonod.client.frame import Frame
from sonod.client.subscriber import AsyncSubscriber
from sonod.client.wire.errors import WireError
from sonod.client.wire.geometry import ImageGeometry
from sonod.client.wire.header import FrameHeader
from sonod.client.wire.notices import SettingsNotice, StateNotice

# The daemon repeats its state every second.
SILENCE_S = 5.0
SETTINGS_DEVICE = "SonodSettings"
CAPABILITIES = (
    IMAGE,
    STATUS,
    STRING,
    TRANSFORM,
    CAPABILITY,
    COMMAND,
    RTS_COMMAND,
    GET_IMAGE,
    GET_STATUS,
    GET_CAPABILITY,
)

log = logging.getLogger(__name__)


class Bridge:
    """One daemon, many OpenIGTLink clients. With a calibration, pictures are placed in its target's frame, and none is
    sent for which it is void."""

    def __init__(
        self,
        options: Options,
        version: str,
        calibration: Calibration | None,
        token: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._options = options
        self._calibration = calibration
        self._judged: Judgement | None = None
        self._control = AsyncControl(options.control)
        self._subscriber = AsyncSubscriber(options.frames)
        self._commands = PlusCommands(self._control, version, options.device, token)
        self._server = Server(self._receive, self._welcome)
        self._status = Message(STATUS, options.device, status_content(STATUS_NOT_READY, "starting", "no daemon yet"))
        self._settings: Message | None = None
        self._image: Message | None = None
        self._last: dict[str, Any] = {}
        self._feeder: asyncio.Task[None] | None = None

    async def start(self) -> tuple[str, int]:
        """Begin; the address that is listened on."""
        address = await self._server.start(self._options.host, self._options.port)
        self._feeder = asyncio.create_task(self._feed())
        return address

    async def stop(self) -> None:
        """End, and let go of every socket."""
        if self._feeder is not None:
            self._feeder.cancel()
            await asyncio.gather(self._feeder, return_exceptions=True)
        await self._server.stop()
        await self._control.close()
        self._subscriber.close()

    async def finished(self) -> None:
        """Wait for what should never happen: that the feeding ends by a fault of ours."""
        if self._feeder is not None:
            await self._feeder

    # -- from the daemon -------------------------------------------------------------------------------------------

    async def _feed(self) -> None:
        while True:
            try:
                messages = self._subscriber.messages("bmode", "state", "settings", latest=True, timeout_s=SILENCE_S)
                async for message in messages:
                    if isinstance(message, Frame):
                        self._picture(message)
                    elif isinstance(message, StateNotice):
                        self._state(message)
                    elif isinstance(message, SettingsNotice):
                        self._set(message)
            except NoAnswer:
                self._tell(STATUS_NOT_READY, "no daemon", f"nothing comes from {self._options.frames}")
            except AddressError:
                raise
            except (WireError, ValueError) as error:
                log.warning("a message of the daemon cannot be passed on: %s", error)

    def _picture(self, frame: Frame) -> None:
        header, geometry = frame.header, frame.header.geometry
        if not isinstance(geometry, ImageGeometry) or frame.data.ndim != 2:
            return
        judged = None if self._calibration is None else self._calibration.judge(header)
        if judged is not None and (self._judged is None or judged.reason != self._judged.reason):
            log.info("calibration: %s from frame %d on: %s", judged.state, header.frame, judged.reason)
            if judged.state is CalibrationState.VOID:
                self._tell(STATUS_NOT_READY, "calibration void", f"pictures are held back: {judged.reason}")
        self._judged = judged
        if judged is not None and judged.state is CalibrationState.VOID:
            self._image = None
            return
        placed = placement(geometry, None if judged is None else judged.image_to_target, self._options.coordinates)
        self._image = Message(
            IMAGE,
            self._options.device,
            image_content(frame.data, placed),
            acquired_utc_ns(header),
            metadata=_metadata(frame, judged),
            number=header.frame,
        )
        self._server.publish(IMAGE, self._image)

    def _state(self, notice: StateNotice) -> None:
        if self._judged is not None and self._judged.state is CalibrationState.VOID:
            return
        running = notice.state == "running"
        self._tell(STATUS_OK if running else STATUS_NOT_READY, notice.state, notice.reason or notice.state)

    def _tell(self, code: int, name: str, message: str) -> None:
        content = status_content(code, name, message)
        if content != self._status.content:
            log.info("status: %s", name if message == name else f"{name}: {message}")
            self._status = Message(STATUS, self._options.device, content)
            self._server.publish(STATUS, self._status)

    def _set(self, notice: SettingsNotice) -> None:
        facts = {"revision": notice.revision, "settings": dict(notice.settings)}
        if facts != self._last:
            self._last = facts
            self._settings = Message(STRING, SETTINGS_DEVICE, string_content(json.dumps(facts, separators=(",", ":"))))
            self._server.publish(STRING, self._settings)

    # -- from the clients ------------------------------------------------------------------------------------------

    def _welcome(self, client: Client) -> None:
        """What a newcomer must know at once."""
        client.answer(self._status)
        if self._settings is not None:
            client.answer(self._settings)

    async def _receive(self, client: Client, message: Message) -> None:
        handlers: dict[str, Callable[[], Message | None]] = {
            GET_STATUS: lambda: self._status,
            GET_IMAGE: lambda: self._image,
            GET_CAPABILITY: lambda: Message(CAPABILITY, self._options.device, capability_content(CAPABILITIES)),
        }
        answer: Message | None = None
        if message.type == TRANSFORM:
            self._pass_on(client, message)
        elif message.type == COMMAND:
            answer = await self._command(client, message)
        elif message.type == STRING and message.device.upper().startswith(LEGACY_PREFIX):
            answer = await self._legacy(client, message)
        elif message.type in handlers:
            answer = handlers[message.type]()
        else:
            log.debug("%s: %s from %s is not for us", client.name, message.type, message.device)
        if answer is not None and not client.answer(answer):
            raise MessageError("asks and does not read the answers")

    def _pass_on(self, client: Client, message: Message) -> None:
        """A tracker's pose goes to everybody else, the newest of each device name."""
        transform_matrix(message.content)
        if message.device not in client.transforms and len(client.transforms) < 64:
            client.transforms.add(message.device)
            log.info("%s: sends the transform %s, which is passed on to the others", client.name, message.device)
        self._server.publish(f"{TRANSFORM} {message.device}", message, besides=client)

    async def _command(self, client: Client, message: Message) -> Message:
        asked = CommandContent.decode(message.content)
        name, answer = await self._commands.execute(asked.text, self._writable(client))
        content = CommandContent(asked.id, name or asked.name, answer.reply_xml(name or asked.name))
        # Only header version 2 has commands and metadata; who sends one reads the other.
        client.version = VERSION_2
        return Message(RTS_COMMAND, message.device, content.encode(), metadata=answer.metadata())

    async def _legacy(self, client: Client, message: Message) -> Message:
        _, answer = await self._commands.execute(string_text(message.content), self._writable(client))
        device = LEGACY_REPLY + message.device[len(LEGACY_PREFIX) :]
        return Message(STRING, device, string_content(answer.legacy_xml()))

    def _writable(self, client: Client) -> bool:
        return client.local


def acquired_utc_ns(header: FrameHeader) -> int:
    """When the frame's sound was transmitted, or else its first byte came, in nanoseconds since 1970."""
    times = header.times
    moment = times.first_byte_ns if times.transmit_ns is None else times.transmit_ns
    return times.utc.utc_of(moment)


def _metadata(frame: Frame, judged: Judgement | None) -> dict[str, str]:
    """What IMAGE says beside the pixels to those who speak header version 2."""
    header = frame.header
    geometry = header.geometry
    assert isinstance(geometry, ImageGeometry)
    uncertainty = header.times.transmit_uncertainty_ns
    facts = {
        "Frame": str(header.frame),
        "Session": header.session,
        "Revision": str(header.revision),
        "Probe": header.probe,
        "UsImageOrientation": geometry.orientation_letters,
        "GeometryFingerprint": geometry.fingerprint,
        "AcquisitionTimeUtcNs": str(acquired_utc_ns(header)),
        "AcquisitionTimeIs": "first byte" if header.times.transmit_ns is None else "transmit",
        "AcquisitionTimeUncertaintyNs": "unknown" if uncertainty is None else str(uncertainty),
        "FramesMissed": str(frame.missed),
    }
    if judged is not None:
        facts["Calibration"] = judged.state
    return facts

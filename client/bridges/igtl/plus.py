"""The commands of a PLUS server, so that its remote controls work on sonod.

A command is XML, `<Command Name="SetUsParameter" ...><Parameter Name="DepthMm" Value="30"/></Command>`, in a COMMAND
message, or in a STRING message whose device name is `CMD_<id>`. The answer goes back the same way: RTS_COMMAND with the
results in metadata too, which is what 3D Slicer reads, or a STRING from `ACK_<id>`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

from sonod.client.bridges.igtl.parameters import ParameterError, knob_change, read_parameter
from sonod.client.control import AsyncControl
from sonod.client.errors import ClientError

# The longest true command is a few hundred bytes.
LARGEST_COMMAND_BYTES = 16 * 1024
LEGACY_PREFIX, LEGACY_REPLY = "CMD", "ACK"
PROTOCOL_VERSION, HEADER_VERSION = "3", "2"


@dataclass(frozen=True)
class Answer:
    """What came of a command: a line for people, results by name, and the XML that PLUS would answer."""

    ok: bool
    message: str
    results: Mapping[str, str] = field(default_factory=dict)
    xml: str | None = None

    def metadata(self) -> dict[str, str]:
        """As RTS_COMMAND carries it."""
        status = {"Status": "SUCCESS" if self.ok else "FAIL", "Message" if self.ok else "Error": self.message}
        return {**self.results, **status}

    def reply_xml(self, name: str) -> str:
        """The text of an RTS_COMMAND."""
        if self.xml is not None:
            return self.xml
        status = "SUCCESS" if self.ok else "FAIL"
        return f"<CommandReply Name={quoteattr(name)} Status={quoteattr(status)} Message={quoteattr(self.message)} />"

    def legacy_xml(self) -> str:
        """The text of a STRING answer: the results are in its message, and what is wrong with them beside it."""
        message = self.message if self.xml is None else self.xml
        error = "" if self.ok else f" Error={quoteattr(self.message)}"
        return f'<CommandReply Status="{"SUCCESS" if self.ok else "FAIL"}" Message={quoteattr(message)}{error} />'


class PlusCommands:
    """Executes commands on the daemon, with the `token` of the lease that we hold. `writable` False refuses those
    that change anything."""

    def __init__(
        self, control: AsyncControl, version: str, device: str, token: Callable[[], str | None] = lambda: None
    ) -> None:
        self._control = control
        self._version = version
        self._device = device
        self._token = token

    async def execute(self, text: str, writable: bool) -> tuple[str, Answer]:
        """(the command's name, its answer); a command that cannot be read or done has an answer that says so."""
        try:
            command = _parsed(text)
        except ParameterError as error:
            return "", Answer(False, str(error))
        name = command.get("Name", "")
        known: Mapping[str, Callable[[ElementTree.Element], Awaitable[Answer]]] = {
            "setusparameter": self._set,
            "getusparameter": self._get,
            "requestdeviceids": self._ids,
            "requestchannelids": self._ids,
            "version": self._tell_version,
        }
        handler = known.get(name.lower())
        if handler is None:
            return name, Answer(False, f"command {name[:60]!r}: not known")
        if handler == self._set and not writable:
            return name, Answer(False, "SetUsParameter: only programs on this machine may change settings")
        try:
            return name, await handler(command)
        except (ClientError, ParameterError) as error:
            return name, Answer(False, str(error))

    async def _get(self, command: ElementTree.Element) -> Answer:
        description = await self._control.describe()
        values = {name: knob.value for name, knob in description.knobs.items()}
        results: dict[str, str] = {}
        problems, parts = [], []
        for parameter in command.iter("Parameter"):
            name = parameter.get("Name", "")
            try:
                results[name] = read_parameter(name, description.knobs, values)
                parts.append(f'<Parameter Name={quoteattr(name)} Success="true" Value={quoteattr(results[name])}/>')
            except ParameterError as error:
                problems.append(str(error))
                parts.append(f'<Parameter Name={quoteattr(name)} Success="false"/>')
        return Answer(not problems, "; ".join(problems), results, f"<CommandReply>{''.join(parts)}</CommandReply>")

    async def _set(self, command: ElementTree.Element) -> Answer:
        """All of them or none, as everything that changes settings in sonod."""
        description = await self._control.describe()
        # A percentage of the depth is of the depth that the same command sets.
        values = {name: knob.value for name, knob in description.knobs.items()}
        wanted = [(item.get("Name", ""), item.get("Value", "")) for item in command.iter("Parameter")]
        problem, changes = "", {}
        if not wanted:
            problem = "SetUsParameter: has no Parameter"
        try:
            for name, text in sorted(wanted, key=lambda pair: pair[0] != "DepthMm"):
                knob, value = knob_change(name, text, description.knobs, values)
                changes[knob] = values[knob] = value
            if changes:
                await self._control.set(changes, expected_revision=description.revision, lease=self._token())
        except (ClientError, ParameterError) as error:
            problem = str(error)
        done = "false" if problem else "true"
        parts = "".join(f'<Parameter Name={quoteattr(name)} Success="{done}"/>' for name, _ in wanted)
        results = {name: "FAIL" if problem else "SUCCESS" for name, _ in wanted}
        return Answer(not problem, problem, results, f"<CommandReply>{parts}</CommandReply>")

    async def _ids(self, command: ElementTree.Element) -> Answer:
        return Answer(True, self._device, {self._device: self._device})

    async def _tell_version(self, command: ElementTree.Element) -> Answer:
        return Answer(
            True,
            f"sonod {self._version}",
            {
                "PlusVersion": f"sonod {self._version}",
                "IGTLProtocolVersion": PROTOCOL_VERSION,
                "IGTLHeaderVersion": HEADER_VERSION,
            },
        )


def _parsed(text: str) -> ElementTree.Element:
    """The Command element; ParameterError when the text is none. A document type is refused, since entities can grow
    without bound."""
    if len(text) > LARGEST_COMMAND_BYTES or "<!" in text:
        raise ParameterError("command: too long, or has a document type")
    try:
        command = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ParameterError(f"command: not XML ({error})") from error
    if command.tag != "Command" or not command.get("Name"):
        raise ParameterError("command: must be a Command element with a Name")
    return command

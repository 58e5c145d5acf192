"""The commands and parameters of PLUS in our terms."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from typing import Any

import pytest
from fake_daemon import knob, linear_knobs

from sonod.client.bridges.igtl.parameters import PARAMETERS, ParameterError, knob_change, read_parameter
from sonod.client.bridges.igtl.plus import Answer, PlusCommands
from sonod.client.errors import RequestRefused
from sonod.client.replies import AppliedSettings, Description
from sonod.client.wire.control import Problem
from sonod.client.wire.fields import Fields
from sonod.client.wire.header import Value

KNOBS = [
    *linear_knobs(),
    knob("output_level", "float", "", 0.5, 0, 1, 0.05, acoustic_output=True),
    knob("focus_depth_m", "float", "m", 0.02, 0.005, 0.08, 0.001),
]


def description() -> Description:
    facts = {"version": "1", "session": "s", "driver": "fake:", "state": "running", "revision": 4, "knobs": KNOBS}
    return Description.read(Fields(facts, "describe"))


class Daemon:
    """What PlusCommands needs of a control client."""

    def __init__(self) -> None:
        self.changes: list[Mapping[str, Any]] = []

    async def describe(self) -> Description:
        return description()

    async def set(
        self, changes: Mapping[str, Any], *, expected_revision: int | None = None, lease: str | None = None
    ) -> AppliedSettings:
        assert lease == "token"
        if changes.get("depth_m", 0) > 0.08:
            raise RequestRefused(Problem("refused", "depth_m: must be in 0.01..0.08 m; got 9"))
        assert expected_revision == 4
        self.changes.append(changes)
        return AppliedSettings(5, 1, changes)


def ask(text: str, writable: bool = True) -> tuple[Daemon, str, Answer]:
    daemon = Daemon()
    commands = PlusCommands(daemon, "0.1", "Image_Transducer", lambda: "token")  # type: ignore[arg-type]
    return daemon, *asyncio.run(commands.execute(text, writable))


def values() -> dict[str, Value]:
    return {name: described.value for name, described in description().knobs.items()}


@pytest.mark.parametrize(
    ("name", "text", "change"),
    [
        ("DepthMm", "40", ("depth_m", 0.04)),
        ("GainPercent", "50", ("gain_db", 0.0)),
        ("FrequencyMhz", "9", ("transmit_frequency_hz", 9e6)),
        ("DynRangeDb", "60", ("dynamic_range_db", 60.0)),
        ("PowerDb", "-6.020599913", ("output_level", 0.5)),
        ("FocusDepthPercent", "50", ("focus_depth_m", 0.02)),
        ("TimeGainCompensation", "0 0 0", ("tgc_db", (0.0,) * 8)),
        ("SoundVelocity", "1540", ("sound_speed_m_s", 1540.0)),
    ],
)
def test_parameter_reads_and_writes_its_knob(name: str, text: str, change: tuple[str, Value]) -> None:
    """The text is what the fake's present settings read as."""
    knobs = description().knobs
    assert read_parameter(name, knobs, values()) == text
    key, value = knob_change(name, text, knobs, values())
    assert key == change[0]
    assert value == pytest.approx(change[1])


def test_every_parameter_of_the_issue_is_there() -> None:
    wanted = {
        "DepthMm",
        "GainPercent",
        "FrequencyMhz",
        "DynRangeDb",
        "PowerDb",
        "FocusDepthPercent",
        "TimeGainCompensation",
    }
    assert wanted <= set(PARAMETERS)


def test_time_gain_is_linear_between_three_numbers() -> None:
    _, curve = knob_change("TimeGainCompensation", "0 7 14", description().knobs, values())
    assert curve == pytest.approx((0, 2, 4, 6, 8, 10, 12, 14))


def test_silence_is_the_faintest_power() -> None:
    assert knob_change("PowerDb", "-60", description().knobs, values()) == ("output_level", 0.0)
    assert read_parameter("PowerDb", description().knobs, values() | {"output_level": 0.0}) == "-60"


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("DepthMm", "deep", "DepthMm: must be a number; got 'deep'"),
        ("DepthMm", "nan", "DepthMm: must be a number"),
        ("TimeGainCompensation", "1 2", "TimeGainCompensation: must be 3 numbers; got '1 2'"),
        ("Colour", "1", "Colour: not known; there are DepthMm"),
    ],
)
def test_wrong_parameter_is_one_line(name: str, text: str, line: str) -> None:
    with pytest.raises(ParameterError) as caught:
        knob_change(name, text, description().knobs, values())
    assert line in str(caught.value)


def test_parameter_without_a_knob_is_refused() -> None:
    knobs = {name: known for name, known in description().knobs.items() if name != "output_level"}
    with pytest.raises(ParameterError, match="PowerDb: this probe has no output_level"):
        read_parameter("PowerDb", knobs, values())


def test_set_is_one_transaction_and_a_focus_follows_the_new_depth() -> None:
    daemon, name, answer = ask(
        '<Command Name="SetUsParameter" UsDeviceId="X"><Parameter Name="FocusDepthPercent" Value="25"/>'
        '<Parameter Name="DepthMm" Value="60"/></Command>'
    )
    assert (name, answer.ok) == ("SetUsParameter", True)
    assert daemon.changes == [{"depth_m": 0.06, "focus_depth_m": 0.015}]
    assert answer.metadata() == {
        "FocusDepthPercent": "SUCCESS",
        "DepthMm": "SUCCESS",
        "Status": "SUCCESS",
        "Message": "",
    }


@pytest.mark.parametrize("value", ["9000", "x"])
def test_refused_set_changes_nothing_and_says_why(value: str) -> None:
    daemon, _, answer = ask(
        '<Command Name="SetUsParameter"><Parameter Name="GainPercent" Value="60"/>'
        f'<Parameter Name="DepthMm" Value="{value}"/></Command>'
    )
    assert (daemon.changes, answer.ok) == ([], False)
    assert answer.metadata()["Status"] == "FAIL"
    assert "epth" in answer.metadata()["Error"]
    assert answer.reply_xml("SetUsParameter").count('Success="false"') == 2


def test_get_tells_what_it_can() -> None:
    _, _, answer = ask(
        '<Command Name="GetUsParameter"><Parameter Name="DepthMm"/><Parameter Name="ZoomFactor"/></Command>'
    )
    assert not answer.ok
    assert answer.metadata()["DepthMm"] == "40"
    assert '<Parameter Name="DepthMm" Success="true" Value="40"/>' in (answer.xml or "")


def test_ids_and_version() -> None:
    assert ask('<Command Name="RequestDeviceIds"/>')[2].message == "Image_Transducer"
    version = ask('<command Name="Version"/>'.replace("command", "Command"))[2]
    assert version.metadata()["IGTLHeaderVersion"] == "2"
    assert 'Message="sonod 0.1"' in version.reply_xml("Version")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("not xml", "command: not XML"),
        ("<Other/>", "command: must be a Command element"),
        ('<!DOCTYPE x [<!ENTITY a "aaa">]><Command Name="&a;"/>', "has a document type"),
        ('<Command Name="Explode"/>', "command 'Explode': not known"),
        ('<Command Name="SetUsParameter"/>', "SetUsParameter: has no Parameter"),
    ],
)
def test_wrong_command_is_answered(text: str, line: str) -> None:
    answer = ask(text)[2]
    assert not answer.ok
    assert line in answer.message
    assert 'Status="FAIL"' in answer.legacy_xml()


def test_string_answer_says_what_is_wrong() -> None:
    answer = ask('<Command Name="SetUsParameter"><Parameter Name="DepthMm" Value="deep"/></Command>')[2]
    read = ElementTree.fromstring(answer.legacy_xml())
    assert read.get("Status") == "FAIL"
    assert read.get("Error") == answer.message != ""
    assert 'Success="false"' in read.get("Message", "")


def test_who_may_only_watch_changes_nothing() -> None:
    daemon, _, answer = ask(
        '<Command Name="SetUsParameter"><Parameter Name="DepthMm" Value="30"/></Command>', writable=False
    )
    assert (daemon.changes, answer.ok) == ([], False)
    assert ask('<Command Name="GetUsParameter"><Parameter Name="DepthMm"/></Command>', writable=False)[2].ok

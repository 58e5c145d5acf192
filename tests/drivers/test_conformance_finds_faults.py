"""The conformance suite has teeth: drivers broken in one way each fail the tests that are meant for it."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sonod.drivers.conformance import DriverConformance

FOLDER = Path(__file__).parent / "example_driver"


def keeps_a_copy(good: Any) -> Any:
    class Hoarder(good):
        def _read_into(self, slot: Any, timeout_s: float) -> None:
            super()._read_into(slot, timeout_s)
            self.kept = [*getattr(self, "kept", []), slot.data.copy()]

    return Hoarder


def leaves_a_gap(good: Any) -> Any:
    class Gap(good):
        def _read_into(self, slot: Any, timeout_s: float) -> None:
            before = slot.data[0, 0, :4].copy()
            super()._read_into(slot, timeout_s)
            slot.data[0, 0, :4] = before

    return Gap


def lets_foreign_errors_out(good: Any) -> Any:
    class Leaky(good):
        def _receive(self, memory: memoryview, timeout_s: float) -> None:
            self._connected.read_into(memory, timeout_s)

    return Leaky


def ignores_settings_while_running(good: Any) -> Any:
    class Deaf(good):
        def _apply(self, configuration: Any) -> None:
            if self.state == "open":
                super()._apply(configuration)

    return Deaf


def applies_what_was_only_prepared(good: Any) -> Any:
    class Hasty(good):
        def _prepare(self, settings: Any) -> Any:
            self._configuration = super()._prepare(settings)
            return self._configuration

    return Hasty


def goes_away_after_a_frame(good: Any) -> Any:
    class Patient(good):
        def _receive(self, memory: memoryview, timeout_s: float) -> None:
            super()._receive(memory, timeout_s)
            self._link._board.unplugged = True

    return Patient


def failures(driver: Any, emulator: Any) -> set[str]:
    class Suite(DriverConformance):
        def make_driver(self) -> Any:
            emulator.BOARDS["1"] = emulator.Board()
            return driver("example-board:1")

        def unplug(self, driver: Any) -> bool:
            emulator.BOARDS["1"].unplugged = True
            return True

        def silence(self, driver: Any) -> bool:
            emulator.BOARDS["1"].silent = True
            return True

    failed = set()
    for name in sorted(dir(Suite)):
        if name.startswith("test_"):
            try:
                getattr(Suite(), name)()
            except unittest.SkipTest:
                pass
            except Exception:  # noqa: BLE001 - a broken driver may raise anything
                failed.add(name)
    return failed


@pytest.mark.parametrize(
    ("spoil", "found_by"),
    [
        (lambda good: good, None),
        (keeps_a_copy, "test_streaming_allocates_nothing_to_speak_of"),
        (leaves_a_gap, "test_frames_fill_the_slot_they_are_read_into"),
        (lets_foreign_errors_out, "test_an_unplugged_device_is_disconnected_until_close"),
        (ignores_settings_while_running, "test_a_configuration_applied_while_running_is_that_of_the_next_frame"),
        (applies_what_was_only_prepared, "test_defaults_can_be_prepared_and_say_what_a_frame_is"),
        (goes_away_after_a_frame, "test_frames_are_numbered_timed_and_counted"),
    ],
)
def test_a_fault_is_found(spoil: Callable[[Any], Any], found_by: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    from example_board import driver, emulator

    monkeypatch.setattr(emulator, "BOARDS", {})
    failed = failures(spoil(driver.ExampleBoard), emulator)
    assert failed == set() if found_by is None else found_by in failed

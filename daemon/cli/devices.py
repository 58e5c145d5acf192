"""`sonod devices`: what is attached or emulated, which driver takes it, and what permission is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sonod.daemon.cli.connection import JsonOption
from sonod.daemon.cli.output import put, put_json, put_table
from sonod.drivers.attached import NO_MEMORY, Board, emulated_boards, recognise
from sonod.drivers.transports.usb import usbfs_budget
from sonod.drivers.transports.usb_bus import UsbDevice, attached_devices

RULES_FILE = "/etc/udev/rules.d/70-sonod.rules"


def devices(as_json: JsonOption = False) -> None:
    """List the USB devices that are attached and the emulated boards: driver, serial, firmware, state, and the
    permission that is missing. Nothing fires."""
    found = attached_devices()
    boards = [recognise(device) for device in found]
    emulated = emulated_boards()
    if as_json:
        rows = [
            {**asdict(device), **asdict(board), "cure": cure(device, board)}
            for device, board in zip(found, boards, strict=True)
        ]
        put_json(rows + [{**asdict(board), "cure": ""} for board in emulated])
        return
    if found:
        _put_attached(found, boards)
    else:
        put("No USB device is attached.")
    put("\nEmulated boards, always there (sonod run --driver URI):")
    put_table(
        ("URI", "what it is", "serial", "firmware", "state"),
        [(board.uri, board.product, board.serial, board.firmware or "-", board.state) for board in emulated],
    )


def cure(device: UsbDevice, board: Board) -> str:
    """What to do so that the device can be used; '' when nothing is known or nothing is missing."""
    if device.permission and device.drivers:
        return f"put into {RULES_FILE}, then plug in again: {device.permission}"
    return usbfs_budget() if board.state == NO_MEMORY else ""


def _put_attached(found: Sequence[UsbDevice], boards: Sequence[Board]) -> None:
    put_table(
        ("USB id", "bus", "device", "serial", "driver", "firmware", "state"),
        [
            (
                board.usb_id,
                board.place,
                board.product,
                board.serial,
                board.driver or "none",
                board.firmware or "-",
                board.state,
            )
            for board in boards
        ],
    )
    rules = {device.permission for device in found if device.permission and device.drivers}
    if rules:
        put(f"\nFor the missing permission, put into {RULES_FILE}, then plug in again:")
        for rule in sorted(rules):
            put(f"    {rule}")
    if any(board.state == NO_MEMORY for board in boards):
        put(f"\nFor the missing memory: {usbfs_budget()}")

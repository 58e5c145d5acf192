"""`sonod devices`: what is attached, which driver would take it, what permission is missing."""

from __future__ import annotations

from dataclasses import asdict

from sonod.daemon.cli.connection import JsonOption
from sonod.daemon.cli.output import put, put_json, put_table
from sonod.drivers.transports.usb_bus import UsbDevice, attached_devices

RULES_FILE = "/etc/udev/rules.d/70-sonod.rules"


def devices(as_json: JsonOption = False) -> None:
    """List the USB devices that are attached, the driver for each, and the permission that is missing."""
    found = attached_devices()
    if as_json:
        put_json([{"usb_id": device.usb_id, **asdict(device)} for device in found])
        return
    if not found:
        put("No USB device is attached. `sonod drivers` lists the drivers that need none.")
        return
    put_table(
        ("USB id", "bus", "device", "serial", "driver", "access"),
        [
            (
                device.usb_id,
                f"{device.bus}:{device.address}",
                f"{device.manufacturer} {device.product}".strip(),
                device.serial,
                ", ".join(device.drivers) or "none",
                _access(device),
            )
            for device in found
        ],
    )
    rules = {device.permission for device in found if device.permission and device.drivers}
    if rules:
        put(f"\nFor the missing permission, put into {RULES_FILE}, then plug in again:")
        for rule in sorted(rules):
            put(f"    {rule}")


def _access(device: UsbDevice) -> str:
    if device.permission:
        return "permission missing"
    return "in use by another program" if device.busy else "good"

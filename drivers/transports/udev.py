"""The line that gives a user permission to open a device."""

from __future__ import annotations


def udev_rule(vendor_id: int, product_id: int) -> str:
    """The line for /etc/udev/rules.d/ that lets the user at the seat and the group `sonod` open such a device."""
    return (
        f'SUBSYSTEM=="usb", ATTR{{idVendor}}=="{vendor_id:04x}", ATTR{{idProduct}}=="{product_id:04x}", '
        'MODE="0660", GROUP="sonod", TAG+="uaccess"'
    )

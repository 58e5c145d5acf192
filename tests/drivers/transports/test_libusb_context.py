"""libusb's context outlives everything that came of it.

What pyusb lets go of too late is looked for in memory that is somebody else's by then, which has ended a daemon whose
probe was unplugged.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from typing import Any

import pytest
import usb.backend.libusb1

from sonod.drivers.transports.usb import Selector, attached, default_backend, open_device

CONTEXT, DEVICE, PARENT = 0x1000, 0x2000, 0x3000
VENDOR, PRODUCT = 0x1209, 0x0001


class Library:
    """libusb with one device, as far as pyusb's opening and closing goes; it notes what is used after its context."""

    def __init__(self) -> None:
        self.open = False
        self.references = {DEVICE: 1, PARENT: 1}
        self.misused: list[str] = []

    def __getattr__(self, name: str) -> Any:
        """Everything else succeeds, with 0."""

        def call(*arguments: Any) -> int:
            self._use(name)
            return 0

        return call

    def libusb_init(self, context: Any) -> int:
        context._obj.value = CONTEXT
        self.open = True
        return 0

    def libusb_exit(self, context: Any) -> None:
        self._use("libusb_exit")
        self.open = False

    def libusb_get_device_list(self, context: Any, found: Any) -> int:
        self._devices = (ctypes.c_void_p * 2)(DEVICE, None)
        found._obj.contents = self._devices
        return 1

    def libusb_free_device_list(self, devices: Any, unreference: int) -> None:
        self._use("libusb_free_device_list")

    def libusb_ref_device(self, device: int) -> int:
        self._use("libusb_ref_device")
        self.references[device] += 1
        return device

    def libusb_unref_device(self, device: int) -> None:
        self._use("libusb_unref_device")
        self.references[device] -= 1

    def libusb_get_parent(self, device: int) -> int:
        return PARENT

    def libusb_get_device_descriptor(self, device: int, descriptor: Any) -> int:
        descriptor._obj.idVendor, descriptor._obj.idProduct = VENDOR, PRODUCT
        return 0

    def _use(self, name: str) -> None:
        if not self.open:
            self.misused.append(name)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    assert default_backend() is not None
    made = Library()
    monkeypatch.setattr(usb.backend.libusb1, "_lib", made)
    # Reference counts alone, as in a daemon between two runs of the garbage collector.
    gc.disable()
    yield made
    gc.enable()


def judge(library: Library) -> None:
    assert library.misused == []
    assert not library.open, "the context stays open"
    assert library.references[DEVICE] == library.references[PARENT] == 1


def test_opened_and_closed_again(library: Library) -> None:
    device = open_device(Selector(VENDOR, PRODUCT))
    assert library.open
    device.close()
    del device
    judge(library)


def test_let_go_without_being_closed(library: Library) -> None:
    device = open_device(Selector(VENDOR, PRODUCT))
    del device
    judge(library)


def test_looked_at(library: Library) -> None:
    assert [one.ids for one in attached()] == [(VENDOR, PRODUCT)]
    judge(library)


def test_looked_at_no_further_than_the_first(library: Library) -> None:
    found = attached()
    assert next(found).ids == (VENDOR, PRODUCT)
    del found
    judge(library)


def test_parent_of_a_device(library: Library) -> None:
    device = open_device(Selector(VENDOR, PRODUCT))
    parent = device.handle.parent
    del device
    assert parent is not None
    assert library.open
    del parent
    judge(library)

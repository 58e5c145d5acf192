"""Open a USB device through pyusb, and its errors in our words.

    device = open_device(Selector(0x1209, 0x0001), backend=None)
    device.claim(0)
    device.read_into(0x81, buffer, timeout_s)

Everything that goes wrong leaves as a DriverError that says what to do about it; `usb.core.USBError` stops here.
"""

from __future__ import annotations

import errno
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import libusb_package
import usb.backend.libusb1
import usb.core
import usb.util

from sonod.drivers.errors import AccessDenied, DeviceNotFound, Disconnected, DriverError, DriverTimeout
from sonod.drivers.transports.udev import udev_rule

# libusb's error numbers.
IO, ACCESS, NO_DEVICE, BUSY, TIMEOUT, OVERFLOW, PIPE, NO_MEMORY = -1, -3, -4, -6, -7, -8, -9, -11
# Where Linux keeps its limit for the buffers of all USB transfers together.
USBFS_LIMIT = "/sys/module/usbcore/parameters/usbfs_memory_mb"
# The rules of USB allow a device 5 s; a board that needs longer than this hangs.
CONTROL_TIMEOUT_S = 2.0


class Stalled(DriverError):
    """The device refused a request, or an endpoint is halted until `clear_halt`."""


class OutOfMemory(DriverError):
    """The system's memory for USB transfers is used up."""


class TransferFailed(DriverError):
    """One transfer failed on the wire or brought more than was asked; the next may be well."""


@dataclass(frozen=True)
class Selector:
    """Which device is meant. `serial` '' = any; `product` and `manufacturer`, where given, must be contained in the
    device's strings, since many devices share an identity."""

    vendor_id: int
    product_id: int
    serial: str = ""
    manufacturer: str = ""
    product: str = ""

    def __str__(self) -> str:
        return f"{self.vendor_id:04x}:{self.product_id:04x}" + (f":{self.serial}" if self.serial else "")


@dataclass(frozen=True)
class Identity:
    """What an attached device says about itself; strings are '' when it has none or they cannot be read."""

    vendor_id: int
    product_id: int
    bus: int
    address: int
    manufacturer: str = ""
    product: str = ""
    serial: str = ""
    # Why it cannot be opened, with the remedy; '' when it can.
    refusal: str = ""

    @property
    def ids(self) -> tuple[int, int]:
        return self.vendor_id, self.product_id


def default_backend() -> Any:
    """pyusb over the libusb of `libusb-package`, with a context of its own; DriverError when it cannot be loaded.

    libusb's list of devices changes only through messages that not every container lets through, and pyusb keeps one
    context for ever. A new context looks at what is there now.
    """
    if libusb_package.get_libusb1_backend() is None:
        raise DriverError("libusb: could not be loaded; install the package libusb-package again")
    return _Context(usb.backend.libusb1._lib)


class _Context(usb.backend.libusb1._LibUSB):  # type: ignore[misc]
    """pyusb's libusb, its context open until everything that came of it has been let go.

    By itself pyusb closes the context first and lets go of the device afterwards, for which libusb looks into the
    context: memory that is somebody else's by then.
    """

    def enumerate_devices(self) -> Iterator[Any]:
        # At once: libusb's own list goes with the iterator, before the context can.
        devices = list(super().enumerate_devices())
        for device in devices:
            device.context = self
        return iter(devices)

    def get_parent(self, device: Any) -> Any:
        parent = super().get_parent(device)
        if parent is not None:
            parent.context = self
        return parent


def attached(backend: Any = None, accept: Callable[[int, int], bool] | None = None) -> Iterator[Identity]:
    """Every device on the bus (that `accept(vendor, product)`s), with its strings where they may be read."""
    for found in _found(backend, accept):
        try:
            yield _identify(found)
        finally:
            usb.util.dispose_resources(found)


def open_device(selector: Selector, backend: Any = None) -> UsbDevice:
    """The one device that is meant. DeviceNotFound when there is none, or several and no serial says which;
    AccessDenied when it may not be opened."""
    candidates = _found(backend, lambda vendor, product: (vendor, product) == (selector.vendor_id, selector.product_id))
    identified = [(found, _identify(found)) for found in candidates]
    if not identified:
        raise DeviceNotFound(f"USB device {selector}: none is attached; `sonod devices` lists what is")
    refused = [identity.refusal for _, identity in identified if identity.refusal]
    matching = [(found, identity) for found, identity in identified if _matches(selector, identity)]
    for found, identity in identified:
        if (found, identity) not in matching:
            usb.util.dispose_resources(found)
    if not matching:
        if refused:
            raise AccessDenied(refused[0])
        seen = "; ".join(
            f"{one.manufacturer} {one.product} {one.serial}".strip() or "no strings" for _, one in identified
        )
        raise DeviceNotFound(f"USB device {selector}: attached is {seen}, which is not the one asked for")
    if len(matching) > 1:
        for found, _ in matching:
            usb.util.dispose_resources(found)
        serials = ", ".join(sorted(identity.serial for _, identity in matching))
        raise DeviceNotFound(f"USB device {selector}: {len(matching)} are attached; say which by serial: {serials}")
    found, identity = matching[0]
    return UsbDevice(found, identity)


class UsbDevice:
    """One open device. All calls from one thread, but `control`, which may run beside a read."""

    def __init__(self, device: Any, identity: Identity) -> None:
        self._device = device
        self.identity = identity
        self._claimed: list[int] = []
        self._detached: list[int] = []
        self.lost = False

    @property
    def name(self) -> str:
        """For messages."""
        one = self.identity
        return f"USB device {one.vendor_id:04x}:{one.product_id:04x}" + (f" {one.serial}" if one.serial else "")

    @property
    def handle(self) -> Any:
        """pyusb's device, for the asynchronous ring."""
        return self._device

    def claim(self, *interfaces: int) -> None:
        """Take interfaces, from a kernel driver if one has them (it gets them back on close)."""
        for number in interfaces:
            with self._errors("claim"):
                if self._kernel_has(number):
                    self._device.detach_kernel_driver(number)
                    self._detached.append(number)
                usb.util.claim_interface(self._device, number)
                self._claimed.append(number)

    def packet_bytes(self, endpoint: int) -> int:
        """The endpoint's packet size; DriverError when the device has no such endpoint."""
        with self._errors("descriptors"):
            for interface in self._device.get_active_configuration():
                for one in interface:
                    if one.bEndpointAddress == endpoint:
                        return int(one.wMaxPacketSize) & 0x7FF
        raise DriverError(f"{self.name}: has no endpoint {endpoint:#04x}")

    def interface_class(self, number: int) -> tuple[int, int, int]:
        """Class, subclass and protocol of an interface."""
        with self._errors("descriptors"):
            face = self._device.get_active_configuration()[(number, 0)]
            return int(face.bInterfaceClass), int(face.bInterfaceSubClass), int(face.bInterfaceProtocol)

    # -- transfers ---------------------------------------------------------------------------------------------------

    def control_in(
        self, request_type: int, request: int, value: int, index: int, length: int, timeout_s: float = CONTROL_TIMEOUT_S
    ) -> bytes:
        """One control transfer from the device; may be shorter than `length`. Stalled when it refuses."""
        with self._errors(f"control request {request:#04x}"):
            data = self._device.ctrl_transfer(request_type, request, value, index, length, _ms(timeout_s))
            return bytes(data)

    def control_out(
        self,
        request_type: int,
        request: int,
        value: int,
        index: int,
        data: bytes = b"",
        timeout_s: float = CONTROL_TIMEOUT_S,
    ) -> None:
        """One control transfer to the device; Stalled when it refuses."""
        with self._errors(f"control request {request:#04x}"):
            self._device.ctrl_transfer(request_type, request, value, index, array("B", data), _ms(timeout_s))

    def write(self, endpoint: int, data: bytes, timeout_s: float = CONTROL_TIMEOUT_S) -> None:
        """All of `data` to a bulk OUT endpoint."""
        view = memoryview(data)
        while len(view):
            with self._errors(f"bulk OUT {endpoint:#04x}"):
                sent = self._device.write(endpoint, array("B", view), _ms(timeout_s))
            view = view[sent:]

    def read_into(self, endpoint: int, buffer: array[int], timeout_s: float) -> int:
        """One bulk or interrupt IN transfer; how many bytes came. `buffer` must hold whole packets. 0 bytes are an
        empty packet; DriverTimeout when nothing came at all."""
        with self._errors(f"bulk IN {endpoint:#04x}"):
            return int(self._device.read(endpoint, buffer, _ms(timeout_s)))

    def clear_halt(self, endpoint: int) -> None:
        """Let a halted endpoint go on."""
        with self._errors(f"clear halt {endpoint:#04x}"):
            self._device.clear_halt(endpoint)

    def drain(self, endpoint: int, timeout_s: float = 0.05, most_bytes: int = 1 << 24) -> int:
        """Read and throw away until nothing more comes; how many bytes that were."""
        buffer, thrown = array("B", bytes(64 * self.packet_bytes(endpoint))), 0
        while thrown < most_bytes:
            try:
                count = self.read_into(endpoint, buffer, timeout_s)
            except DriverTimeout:
                break
            thrown += count
        return thrown

    # -- end ---------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give everything back; never raises, twice is allowed."""
        for number in reversed(self._claimed):
            with _whatever_happens():
                usb.util.release_interface(self._device, number)
        for number in reversed(self._detached):
            with _whatever_happens():
                self._device.attach_kernel_driver(number)
        self._claimed.clear()
        self._detached.clear()
        with _whatever_happens():
            usb.util.dispose_resources(self._device)

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _kernel_has(self, number: int) -> bool:
        try:
            return bool(self._device.is_kernel_driver_active(number))
        except (NotImplementedError, usb.core.USBError) as error:
            if getattr(error, "backend_error_code", None) in (NO_DEVICE, ACCESS):
                raise
            return False

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        if self.lost:
            raise Disconnected(f"{self.name}: has been unplugged")
        try:
            yield
        except usb.core.USBError as error:
            own = translate(error, self.name, doing, self.identity)
            self.lost = isinstance(own, Disconnected)
            try:
                raise own from error
            finally:
                # Its traceback holds this frame; the other way round, too, libusb's context would stay open until the
                # garbage collector runs.
                del own
        except NotImplementedError as error:
            raise DriverError(f"{self.name}: {doing} is not possible on this system") from error


def translate(error: usb.core.USBError, name: str, doing: str, identity: Identity) -> DriverError:
    """A USB error as ours, with its remedy."""
    code, number = error.backend_error_code, error.errno
    if isinstance(error, usb.core.USBTimeoutError) or code == TIMEOUT:
        return DriverTimeout(f"{name}: {doing}: nothing came in time")
    if code == NO_DEVICE or number == errno.ENODEV:
        return Disconnected(f"{name}: has been unplugged")
    if code == ACCESS or number == errno.EACCES:
        return AccessDenied(
            f"{name}: permission denied; put this line into /etc/udev/rules.d/70-sonod.rules and plug it in again: "
            + udev_rule(identity.vendor_id, identity.product_id)
        )
    if code == BUSY or number == errno.EBUSY:
        return AccessDenied(f"{name}: another program or a kernel driver is using it; end that one first")
    if code == NO_MEMORY or number == errno.ENOMEM:
        return OutOfMemory(f"{name}: {doing}: the system's memory for USB transfers is used up; {usbfs_budget()}")
    if code == PIPE or number == errno.EPIPE:
        return Stalled(f"{name}: {doing}: the device refused it (stall)")
    if code == OVERFLOW or number == errno.EOVERFLOW:
        return TransferFailed(f"{name}: {doing}: more came than was asked for (overflow)")
    return TransferFailed(f"{name}: {doing}: {error}")


def usbfs_budget() -> str:
    """Linux's limit in words, with the way to raise it."""
    try:
        with open(USBFS_LIMIT) as file:
            limit = f"the limit is {int(file.read())} MiB (0 = none)"
    except (OSError, ValueError):
        limit = "the usual limit is 16 MiB"
    return (
        f"{limit}; end another program that streams over USB, use fewer or smaller transfers, or raise it: "
        f"echo 64 | sudo tee {USBFS_LIMIT} (for good: kernel option usbcore.usbfs_memory_mb=64)"
    )


def _found(backend: Any, accept: Callable[[int, int], bool] | None) -> list[Any]:
    own = default_backend() if backend is None else backend
    try:
        return list(
            usb.core.find(
                find_all=True,
                backend=own,
                custom_match=lambda one: accept is None or accept(one.idVendor, one.idProduct),
            )
        )
    except usb.core.USBError as error:
        raise DriverError(f"USB: the devices cannot be listed: {error}") from error


def _identify(found: Any) -> Identity:
    identity = Identity(found.idVendor, found.idProduct, found.bus or 0, found.address or 0)
    strings = {}
    refusal = ""
    try:
        # pyusb hides why the languages cannot be read; asking first shows it.
        usb.util.get_langids(found)
        for name, index in (
            ("manufacturer", found.iManufacturer),
            ("product", found.iProduct),
            ("serial", found.iSerialNumber),
        ):
            strings[name] = (usb.util.get_string(found, index) or "") if index else ""
    except usb.core.USBError as error:
        name = f"USB device {found.idVendor:04x}:{found.idProduct:04x}"
        own = translate(error, name, "strings", identity)
        # A stall means that the device has no strings, which is allowed.
        refusal = "" if isinstance(own, Stalled) else str(own)
    except (ValueError, NotImplementedError):
        # pyusb: a device without a list of languages, which the rules allow when it has no strings.
        refusal = ""
    return Identity(identity.vendor_id, identity.product_id, identity.bus, identity.address, **strings, refusal=refusal)


def _matches(selector: Selector, identity: Identity) -> bool:
    return (
        (not selector.serial or identity.serial == selector.serial)
        and selector.manufacturer in identity.manufacturer
        and selector.product in identity.product
    )


def _ms(timeout_s: float) -> int:
    # 0 would be for ever.
    return max(1, round(timeout_s * 1000))


def _whatever_happens() -> suppress:
    return suppress(usb.core.USBError, NotImplementedError)

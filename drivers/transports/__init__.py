"""How bytes get from a device to a driver. `usb` is imported in this room and by the emulated boards only."""

"""How bytes reach a device. `usb` is imported in this room and by the emulated boards only."""

"""How bytes reach a device. Nothing outside this folder imports a USB library."""

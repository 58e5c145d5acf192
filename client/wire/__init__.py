"""The wire format: pure functions between Python values and the bytes of a message. See docs/wire-protocol.md."""

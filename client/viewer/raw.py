"""One trace of a raw frame: what a page looks at, out of what may be megabytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from sonod.client.wire.errors import WireError
from sonod.client.wire.fields import Fields, compact
from sonod.client.wire.geometry import ChannelGeometry
from sonod.client.wire.header import LITTLE, FrameHeader, decode_header
from sonod.client.wire.payload import payload_array

RAW = "rf"
# So many raw frames a second are enough to look at; each one may be as large as twenty pictures.
RATE_HZ = 5
# The channel in the middle, as a page asks for it before it knows how many there are.
MIDDLE = -1
# (transmission, channel), from 0 on.
Trace = tuple[int, int]


class RawFrame:
    """A raw frame of the daemon, from which traces are cut; WireError when it is none."""

    def __init__(self, header: bytes, payload: bytes) -> None:
        self._values = Fields.parse(header, "frame header").values
        self._header: FrameHeader = decode_header(header)
        geometry = self._header.geometry
        if not isinstance(geometry, ChannelGeometry):
            raise WireError(f"raw frame: geometry.kind: must be channel; got {geometry.kind!r}")
        self._geometry = geometry
        self._samples = payload_array(self._header, payload)

    def cut(self, trace: Trace) -> tuple[bytes, bytes]:
        """Header and payload of one trace, (samples,) or (samples, 2) for IQ, as a frame of product `rf` whose geometry
        is of kind `trace`; a transmission or channel that is not there becomes the nearest that is."""
        transmits, channels = self._samples.shape[:2]
        transmit = min(max(0, trace[0]), transmits - 1)
        channel = channels // 2 if trace[1] == MIDDLE else min(max(0, trace[1]), channels - 1)
        samples = self._samples[transmit, channel]
        payload = np.ascontiguousarray(samples, samples.dtype.newbyteorder("<")).tobytes()
        values: dict[str, Any] = {
            **self._values,
            "shape": list(samples.shape),
            "byte_order": LITTLE,
            "encoding": "raw",
            "geometry": self._block(transmit, channel, transmits, channels, len(samples)),
        }
        return compact(values).encode(), payload

    def _block(self, transmit: int, channel: int, transmits: int, channels: int, count: int) -> dict[str, Any]:
        """What the page needs to put scales beside the trace."""
        whole = self._geometry

        def at(values: tuple[Any, ...]) -> Any:
            return values[transmit] if transmit < len(values) else None

        receiving = at(whole.receive_elements)
        return {
            "kind": "trace",
            "shape": [count],
            "fingerprint": self._values["geometry"].get("fingerprint"),
            "transmit": transmit,
            "transmits": transmits,
            "channel": channel,
            "channels": channels,
            "element": receiving[channel] if receiving is not None and channel < len(receiving) else None,
            "transmit_kind": whole.transmit_kind,
            "angle_rad": at(whole.angles_rad),
            "t0_s": at(whole.t0_s) or 0.0,
            "sampling_hz": whole.sampling_hz,
            "demodulation_hz": whole.demodulation_hz,
            "sound_speed_m_s": whole.sound_speed_m_s,
            "spacing_m": whole.sound_speed_m_s / 2 / whole.sampling_hz,
            "pulse_delay_s": whole.pulse_delay_s,
            "sample_scale": whole.sample_scale,
            "sample_unit": whole.sample_unit,
        }

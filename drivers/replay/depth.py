"""How deep a recording reaches."""

from __future__ import annotations

from sonod.drivers.frame import Acquisition, DataKind, SampleFormat


def depth_m(acquisition: Acquisition) -> float:
    """Depth of the last sample at the stated speed of sound: half the way of the echo, or the end of the lines."""
    if acquisition.lines is not None:
        lines = acquisition.lines
        ends = lines.origins_m + lines.directions * (lines.first_m + (lines.count - 1) * lines.spacing_m)
        return float(ends[:, 2].max())
    if acquisition.image is not None:
        return float(acquisition.image.z_m[-1])
    return _last_echo_s(acquisition) * acquisition.sound_speed_m_s / 2


def deepest_m(acquisition: Acquisition) -> float:
    """The same through the layers of a layered object, where that is deeper."""
    plain = depth_m(acquisition)
    if acquisition.kind is not DataKind.CHANNEL:
        return plain
    return max(plain, acquisition.depth_at_m(_last_echo_s(acquisition), acquisition.sound_speed_m_s))


def _last_echo_s(acquisition: Acquisition) -> float:
    samples = acquisition.shape[-1 - (acquisition.sample_format is SampleFormat.IQ)]
    last = float(acquisition.sequence.t0_s.max()) + samples / acquisition.sampling_hz - acquisition.pulse_delay_s
    return max(last, 1 / acquisition.sampling_hz)

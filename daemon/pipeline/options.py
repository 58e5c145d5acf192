"""How pictures are to be made, beside the knobs: chosen once in the configuration."""

from __future__ import annotations

from dataclasses import dataclass

QUALITIES = ("exact", "default", "fast")
FOCUSED = ("lines", "synthetic")


@dataclass(frozen=True)
class ImageOptions:
    """How large the picture is. 0 = chosen from the probe, the depth and the wavelength.

    `usual_rows` is about how many rows are chosen, and `finest_row_wavelengths` the least height of one.
    `quality` is that of the beamforming kernel: exact, default or fast. `focused` says what focused transmissions
    become: `lines`, one beam line each, or `synthetic`, every line from all the transmissions that reach it.
    The last three are for the adaptive beamformers: spatial frequencies to each side that the generalised coherence
    factor takes as the signal, and for the short-lag coherence how far apart elements are compared at most and over how
    many wavelengths of depth.
    """

    columns: int = 0
    rows: int = 0
    pixel_m: float = 0.0
    quality: str = "default"
    focused: str = "lines"
    usual_rows: int = 512
    finest_row_wavelengths: float = 0.25
    coherence_bins: int = 1
    coherence_lags: int = 8
    coherence_wavelengths: float = 1.0

    def __post_init__(self) -> None:
        for name, allowed in (("quality", QUALITIES), ("focused", FOCUSED)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"image.{name}: must be one of {', '.join(allowed)}; got {getattr(self, name)!r}")
        if self.usual_rows < 1 or not self.finest_row_wavelengths > 0:
            raise ValueError("image: usual_rows and finest_row_wavelengths must be > 0")
        if not 0 <= self.coherence_bins <= 4 or self.coherence_lags < 1 or not self.coherence_wavelengths >= 0:
            raise ValueError("image: coherence_bins must be in 0..4, coherence_lags >= 1, coherence_wavelengths >= 0")
        if self.columns < 0 or self.rows < 0 or not self.pixel_m >= 0:
            raise ValueError("image: columns, rows and pixel_m must be >= 0")

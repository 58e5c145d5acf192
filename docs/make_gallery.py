"""Makes docs/gallery.md and its pictures from the measured recordings: `python docs/make_gallery.py FOLDER`.

Each recording goes through `sonod process` with the command that the page shows; one picture is kept, reduced to a
size for reading.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import h5py
from PIL import Image

HERE = Path(__file__).resolve().parent
PICTURES = HERE / "gallery"
# Pictures on the page are no larger than this.
LARGEST = 560


@dataclass(frozen=True)
class Entry:
    """One recording: the options of its command, which picture is kept, and what a correct one shows."""

    name: str
    shows: str
    options: str = ""
    picture: str = "frame_0000.png"


ENTRIES = (
    Entry(
        "disk_pw_linear128_doppler",
        "A rotating disk of 20 mm, 21 dB brighter than its surroundings; band-pass sampled below Nyquist, so "
        "demodulated before interpolation.",
    ),
    Entry(
        "copper_fmc_linear32_water",
        "Full matrix capture: the straight surface of a copper block at 23.6 mm. The two side-drilled holes below it "
        "are displaced and smeared, because one speed of sound does not hold for both media.",
    ),
    Entry(
        "notch_hmc_linear64_aluminium",
        "Half matrix capture, completed by reciprocity: a machined notch at (6.7, 19.6) mm and the back wall of a "
        "40 mm block, with its repetitions.",
        "--set depth_m=0.055",
    ),
    Entry("notch_pw11_derived", "The same block by eleven plane waves.", "--set depth_m=0.055"),
    Entry("notch_dw7_derived", "The same block by seven diverging waves.", "--set depth_m=0.055"),
    Entry("notch_focused31_derived", "The same block by 31 focused beams, one line each.", "--set depth_m=0.055"),
    Entry(
        "notch_focused31_derived",
        "The same 31 beams with synthetic focus: every line from all the transmissions that reach it.",
        "--set depth_m=0.055 --focused synthetic",
    ),
    Entry(
        "concrete_pairs_array12",
        "Twelve shear-wave points on concrete, 66 pitch-catch pairs, 50 kHz: two bars near 115 mm, the back wall at "
        "523 mm.",
        "--set depth_m=0.7 --set dynamic_range_db=40",
    ),
    Entry(
        "sim_pw3_linear192",
        "Simulated by Field II, not measured: isolated points on the axis and rows of points, three plane waves.",
        "--set depth_m=0.055",
    ),
    Entry(
        "interson_curvilinear_rf",
        "RF lines of a convex probe: beef, with the bright bottom reflector at 91 mm.",
    ),
    Entry("bpc_curvilinear_lines8bit_ref", "8-bit lines of a micro-convex probe: plates in a tank."),
    Entry(
        "carotid_doppler_linear_iq",
        "Steered IQ lines of a carotid artery, first of twelve Doppler pulses: the dark vessel falls to the right.",
    ),
    Entry("mouse_liver_linear_rf", "RF lines at 12.6 MHz: speckle of a mouse liver."),
    Entry(
        "linescan_pins_plexi_aluminium",
        "One element moved over four pins, acrylic and aluminium, focused synthetically through three layers: the pins "
        "are 3 mm wide instead of 16, and the holes below the surface come to focus too.",
    ),
    Entry(
        "raster3d_plexi_aluminium",
        "One element moved over a plane, a picture for each y: here y = 11 mm, with the ends of the holes in acrylic.",
        picture="frame_0011.png",
    ),
    Entry("pic0rick_steel_steps", "A-scan of a steel step (frame 24, 15 mm): level upwards, depth to the right.",
          picture="frame_0024.png"),
    Entry("wulpus_mmode", "M-mode of a moving reflector near 29 mm: depth downwards, time to the right.",
          picture="mmode.png"),
)  # fmt: skip

INTRODUCTION = """# Gallery

Pictures that `sonod process` makes from public recordings, each with its command, run in the folder of the recordings.
Level is in dB below the brightest 0.1 %, 60 dB from white to black unless the command says otherwise; rows go down in
depth, columns from the marked side. The tests check what a correct picture must show (`tests/data/`).

This page is made by `docs/make_gallery.py`. The pictures keep the licence of their data.
"""


def make(folder: Path) -> str:
    """The page; pictures are written beside it."""
    PICTURES.mkdir(exist_ok=True)
    parts = [INTRODUCTION]
    for number, entry in enumerate(ENTRIES):
        source = folder / f"{entry.name}.h5"
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "out.h5"
            arguments = [str(source), "--out", str(out), "--png", scratch, *entry.options.split()]
            subprocess.run([sys.executable, "-m", "sonod", "process", *arguments], check=True, capture_output=True)
            picture = Image.open(Path(scratch) / entry.picture)
            with h5py.File(out) as file:
                x, z = file["bmode/x_m"][()], file["bmode/z_m"][()]
            kept = PICTURES / f"{number:02d}_{entry.name}.png"
            scale = LARGEST / max(picture.size)
            picture = picture.resize(
                tuple(max(1, round(side * scale)) for side in picture.size), Image.Resampling.BICUBIC
            )
            picture.save(kept, optimize=True)
        with h5py.File(source) as file:
            title, licence, origin = (file.attrs[key] for key in ("title", "license", "source_repository"))
        extent = f"z {z[0] * 1e3:.1f} to {z[-1] * 1e3:.1f} mm"
        if len(x) > 1:
            extent = f"x {x[0] * 1e3:.1f} to {x[-1] * 1e3:.1f} mm, " + extent
        command = " ".join(f"sonod process {entry.name}.h5 --out out.h5 --png out/ {entry.options}".split())
        parts.append(
            f"## {title}\n\n![{entry.name}](gallery/{kept.name})\n\n{entry.shows} Picture: {extent}.\n\n"
            f"    {command}\n\nData: {origin}, {licence}.\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python docs/make_gallery.py FOLDER, the folder of the measured recordings")
    (HERE / "gallery.md").write_text(make(Path(sys.argv[1])))

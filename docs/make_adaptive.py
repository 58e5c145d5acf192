"""Makes the pictures of docs/adaptive.md from measured recordings: `python docs/make_adaptive.py FOLDER`.

One sheet for each recording: plain delay and sum first, then each product of `sonod process --set beamformer=...`, and
incoherent compounding.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

from sonod.drivers.settings import KNOBS

PICTURES = Path(__file__).resolve().parent / "adaptive"
RECORDINGS = {
    "disk_pw_linear128_doppler": (),
    "notch_pw11_derived": ("depth_m=0.045",),
    "sim_pw3_linear192": (),
    "copper_fmc_linear32_water": (),
}
SIZES = ("--columns", "256", "--rows", "384")
TILE, LABEL, COLUMNS = (300, 330), 16, 4


def main(folder: Path) -> None:
    PICTURES.mkdir(exist_ok=True)
    variants = [f"beamformer={name}" for name in KNOBS["beamformer"].choices] + ["compounding=incoherent"]
    for name, settings in RECORDINGS.items():
        rows = -(-len(variants) // COLUMNS)
        sheet = Image.new("L", (COLUMNS * TILE[0], rows * (TILE[1] + LABEL)), 32)
        draw = ImageDraw.Draw(sheet)
        for place, variant in enumerate(variants):
            with tempfile.TemporaryDirectory() as work:
                options = [part for setting in (*settings, variant) for part in ("--set", setting)]
                command = [
                    sys.executable,
                    "-m",
                    "sonod",
                    "process",
                    str(folder / f"{name}.h5"),
                    "--out",
                    f"{work}/o.h5",
                ]
                subprocess.run([*command, "--png", work, *options, *SIZES], check=True, stdout=subprocess.DEVNULL)
                picture = Image.open(Path(work) / "frame_0000.png")
                picture.thumbnail((TILE[0] - 4, TILE[1] - 4))
                x, y = place % COLUMNS * TILE[0], place // COLUMNS * (TILE[1] + LABEL)
                draw.text((x + 4, y + 2), variant.partition("=")[2], fill=255)
                sheet.paste(picture, (x + 2, y + LABEL))
        sheet.save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

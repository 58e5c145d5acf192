"""The tests in tests/libusb_tier, with the real libusb: they need umockdev's preload library from the first moment of
the process, so they run in one of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sonod.drivers.emulated.usbfs import preload_library, sleep_exactly

TIER = Path(__file__).resolve().parents[1] / "libusb_tier"


@pytest.mark.umockdev
@pytest.mark.parametrize("file", sorted(TIER.glob("tier_*.py")), ids=lambda path: path.stem)
def test_libusb_tier(file: Path, tmp_path: Path) -> None:
    library = preload_library()
    if library is None:
        pytest.skip("umockdev is not installed: apt-get install umockdev")
    environment = {**os.environ, "LD_PRELOAD": str(library), "UMOCKDEV_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
        env=environment,
        cwd=TIER.parents[1],
        capture_output=True,
        text=True,
        preexec_fn=sleep_exactly,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]

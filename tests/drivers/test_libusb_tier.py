"""The tests in tests/libusb_tier, with the real libusb: they need umockdev's preload library from the first moment of
the process, so they run in processes of their own. Emulated boards keep their own pace and mostly wait, so that several
run at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from sonod.drivers.emulated.usbfs import preload_library, sleep_exactly

TIER = Path(__file__).resolve().parents[1] / "libusb_tier"
FILES = sorted(TIER.glob("tier_*.py"))
AT_ONCE = 3
TIMEOUT_S = 600
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, Future[Done]]]:
    """Those of the files that were asked for, begun all together."""
    if preload_library() is None:
        pytest.skip("umockdev is not installed: apt-get install umockdev")
    wanted = [item.callspec.params["file"] for item in request.session.items if item.fspath == request.path]
    folder = tmp_path_factory.mktemp("tier")
    with ThreadPoolExecutor(AT_ONCE) as workers:
        yield {file: workers.submit(run, file, folder) for file in wanted}


def run(file: Path, folder: Path) -> Done:
    environment = {**os.environ, "LD_PRELOAD": str(preload_library()), "UMOCKDEV_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
        env=environment,
        cwd=TIER.parents[1],
        capture_output=True,
        text=True,
        preexec_fn=sleep_exactly,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.mark.umockdev
@pytest.mark.timeout(TIMEOUT_S + 60)
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_libusb_tier(file: Path, runs: dict[Path, Future[Done]]) -> None:
    done = runs[file].result()
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]

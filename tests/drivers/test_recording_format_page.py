"""The documented smallest recording is one, and the documented names are those that are written."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from recordings import write_recording

from sonod.drivers.recording import Recording

PAGE = Path(__file__).parents[2] / "docs" / "recording-format.md"


def test_the_smallest_file_of_the_page_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(PAGE), "exec"), {})
    with Recording(tmp_path / "smallest.h5") as recording:
        assert recording.frame_count == 5
        assert recording.acquisition.shape == (1, 64, 2048)
        assert np.ptp(recording.acquisition.sequence.delays_s) == 0


def test_everything_that_is_written_is_documented(tmp_path: Path) -> None:
    text = PAGE.read_text()
    written: set[str] = set()
    with h5py.File(write_recording(tmp_path / "a.h5")) as file:
        written |= set(file.attrs) | {name.split("/")[-1] for name in file}
        file.visit(lambda name: written.add(name.split("/")[-1]))
    missing = sorted(name for name in written if f"`{name}`" not in text and f"/{name}`" not in text)
    assert not missing

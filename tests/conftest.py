"""What all tests share: where the measured recordings are, and which tiers must not be skipped."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine has no times: an example may take as long as it likes, within the time limit of its test.
settings.register_profile("sonod", deadline=None)
settings.load_profile("sonod")

REPOSITORY = Path(__file__).resolve().parents[1]
# Tiers, by marker, whose tests fail instead of being skipped: a comma list, set by CI.
REQUIRED_TIERS = frozenset(filter(None, os.environ.get("SONOD_REQUIRE", "").split(",")))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of measured recordings; the test is skipped, saying so, when it is not there."""
    folder = Path(os.environ.get("SONOD_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"measured recordings not found in {folder}; set SONOD_DATA")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that take minutes begin first, so that nobody waits for them alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("minutes") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skipped test of a required tier is a failure: CI must not be green because a tool was missing."""
    report = yield
    required = REQUIRED_TIERS & {marker.name for marker in item.iter_markers()}
    if report.skipped and required and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"required tier {', '.join(sorted(required))} did not run: {reason}"
    return report

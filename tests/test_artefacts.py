"""The sdist and the wheel: both build, install in an empty environment, and pass the tests there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY

# What packaging can break: compiled modules, package data, entry points, the rooms' imports, programs of their own.
TESTS_OF_THE_WHEEL = (
    "cext/test_native.py",
    "cext/test_scanconvert.py",
    "client",
    "daemon/test_command_line.py",
    "daemon/test_config.py",
    "daemon/test_daemon.py",
    "drivers/test_attached.py",
    "drivers/test_conformance.py",
    "drivers/test_example_driver.py",
    "drivers/test_recording.py",
)
pytestmark = [pytest.mark.artefact, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(sdist, wheel), the wheel built from the sdist as a release is."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("the sdist is made from a git checkout")
    out = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--quiet", "--no-isolation", "--outdir", str(out), str(REPOSITORY))
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


def test_sdist_carries_what_the_build_needs_and_nothing_stray(artefacts: tuple[Path, Path]) -> None:
    with tarfile.open(artefacts[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "meson.build", "LICENSE", "README.md", "cext/_native.pyx", "config/sonod.toml"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", "build/"))]


def test_wheel_carries_all_rooms(artefacts: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(artefacts[1]) as archive:
        names = archive.namelist()
    for wanted in (
        "sonod/py.typed",
        "sonod/cext/_native.pyi",
        "sonod/daemon/app.py",
        "sonod/drivers/base.py",
        "sonod/client/wire/header.py",
        "sonod/client/wire/schemas/frame_header.json",
        "sonod/client/viewer/page/index.html",
        "sonod/config/sonod.toml",
        "sonod/config/probes/linear.toml",
    ):
        assert wanted in names
    assert any(name.startswith("sonod/cext/_native.") and name.endswith(".so") for name in names)


def test_wheel_passes_the_tests_in_an_empty_environment(artefacts: tuple[Path, Path], tmp_path: Path) -> None:
    """Against the installed package, from a folder without the sources: all that packaging can break."""
    python = tmp_path / "venv" / "bin" / "python"
    venv.create(tmp_path / "venv", with_pip=True)
    _run(str(python), "-m", "pip", "install", "--quiet", str(artefacts[1]))
    _run(
        str(python), "-m", "pip", "install", "--quiet", "pytest", "pytest-timeout", "hypothesis", "scipy", "jsonschema"
    )
    shutil.copytree(REPOSITORY / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs")
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    environment = {name: value for name, value in os.environ.items() if name not in ("SONOD_REQUIRE", "PYTHONPATH")}
    environment["PATH"] = f"{python.parent}{os.pathsep}{environment['PATH']}"
    environment.setdefault("SONOD_DATA", str(REPOSITORY.parent / "shared" / "data"))
    _run(
        str(python), "-m", "pytest", "-q",
        "-m", "not artefact and not browser and not tree and not data and not umockdev and not igtl and not zmq_c",
        *(f"tests/{name}" for name in TESTS_OF_THE_WHEEL),
        cwd=tmp_path, environment=environment,
    )  # fmt: skip
    _run(
        str(python), "-c", "import sonod, pathlib; assert 'site-packages' in str(pathlib.Path(sonod.__file__))",
        cwd=tmp_path, environment=environment,
    )  # fmt: skip


def _run(*command: str, cwd: Path = REPOSITORY, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"

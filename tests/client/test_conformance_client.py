"""`sonod conformance client` passes the example clients and finds what is wrong with others."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sonod.client.conformance.client import CannotRun, check_client

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
START_S, REPORT_S = 60.0, 30.0


def problems(*command: str, report_s: float = REPORT_S) -> dict[str, str]:
    """Rule -> what is wrong, of the rules that are not kept."""
    findings = list(check_client([*command, "{frames}", "{control}"], START_S, report_s))
    assert findings
    return {finding.check: finding.problem for finding in findings if finding.problem}


@pytest.mark.node
def test_javascript_example_keeps_all_rules() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed; the JavaScript example did not run")
    assert problems(node, str(EXAMPLES / "client.mjs")) == {}


@pytest.fixture(scope="session")
def c_client(tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler = shutil.which("cc")
    if compiler is None or not Path("/usr/include/zmq.h").exists():
        pytest.skip("a C compiler or libzmq3-dev is not installed; the C example did not run")
    program = tmp_path_factory.mktemp("c") / "client"
    command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(EXAMPLES / "client.c")]
    done = subprocess.run([*command, "-lzmq", "-lm"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return str(program)


@pytest.mark.zmq_c
def test_c_example_keeps_all_rules(c_client: str) -> None:
    assert problems(c_client) == {}


def test_python_example_keeps_all_rules() -> None:
    assert problems(sys.executable, str(EXAMPLES / "client.py")) == {}


# What is changed in the Python example, and the rules that find it.
FAULTS = {
    "byte order ignored": (
        'order = ">" if optional(header, "byte_order", "little") == "big" else "<"',
        'order = "<"',
        ["big-endian samples are read"],
    ),
    "every gap is its own": (
        "return sum(value for value in",
        "return 0 * sum(value for value in",
        ["a gap that the losses explain is not the client's own"],
    ),
    "optional keys demanded": (
        'optional(header, "encoding", "raw") != "raw"',
        'header["encoding"] != "raw"',
        ["optional keys may be missing"],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faulty_client_is_found_out(name: str, tmp_path: Path) -> None:
    right, wrong, rules = FAULTS[name]
    source = (EXAMPLES / "client.py").read_text()
    assert right in source
    program = tmp_path / "client.py"
    program.write_text(source.replace(right, wrong))
    found = problems(sys.executable, str(program), report_s=5.0)
    assert set(rules) <= set(found), found


def test_client_that_ends_at_once_is_told_with_its_last_words() -> None:
    found = problems(sys.executable, "-c", "import sys; sys.exit('no display')")
    assert found["the client subscribes to B-mode and envelope of any probe"] == (
        "the client ended with exit code 1: no display"
    )


def test_command_that_cannot_be_run_is_one_line() -> None:
    with pytest.raises(CannotRun, match=r"no-such-program .*: No such file or directory"):
        list(check_client(["no-such-program", "{frames}"]))
    with pytest.raises(CannotRun, match=r"must have \{frames\}"):
        list(check_client(["true"]))

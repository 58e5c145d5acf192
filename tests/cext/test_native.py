"""The compiled module: its types, its choice of instruction sets, its threads."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from sonod.cext import _native, instruction, threads
from sonod.cext.detect import Envelope

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.tree
def test_stub_agrees_with_the_binary(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    # Cython adds these to every module.
    allowed.write_text("sonod.cext._native.__test__\nsonod.cext._native.__reduce_cython__\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy.stubtest",
            "sonod.cext._native",
            "--allowlist",
            str(allowed),
            "--ignore-unused-allowlist",
        ],
        cwd=ROOT / "src",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_instruction_set_can_be_selected_and_unknown_ones_are_refused() -> None:
    for name in instruction.instruction_sets():
        instruction.select_instruction_set(name)
        assert instruction.instruction_set() == name
    with pytest.raises(ValueError, match="sse9"):
        instruction.select_instruction_set("sse9")


@pytest.mark.processor
@pytest.mark.parametrize(
    ("model", "sets"), [("Nehalem", ("base",)), ("SandyBridge", ("base",)), ("Haswell", ("base", "avx2"))]
)
def test_the_module_loads_on_processors_that_lack_wider_sets(model: str, sets: tuple[str, ...]) -> None:
    # Code of a wider set must not run before it is known to be there: not when the library is loaded, either.
    emulator = shutil.which("qemu-x86_64")
    if emulator is None or platform.machine() != "x86_64":
        pytest.skip("qemu-x86_64 not found (package qemu-user), or not an x86-64 machine")
    folders = [entry for entry in sys.path if entry.endswith("site-packages")]
    program = (
        f"import sys; sys.path += {folders!r}\n"
        "from importlib.util import module_from_spec, spec_from_file_location\n"
        f"spec = spec_from_file_location('sonod.cext._native', {_native.__file__!r})\n"
        "module = module_from_spec(spec); spec.loader.exec_module(module)\n"
        "print(module.instruction_sets(), hex(module.crc32c(b'123456789', 0)))"
    )
    done = subprocess.run(
        [emulator, "-cpu", model, os.path.realpath(sys.executable), "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{model}: {done.returncode} {done.stderr[-500:]}"
    assert done.stdout.strip() == f"{sets} 0xe3069283"


def test_thread_count_is_kept_and_bounded() -> None:
    for count in (1, 3, 2):
        threads.set_thread_count(count)
        assert threads.thread_count() == count
    for count in (0, -1, 257):
        with pytest.raises(ValueError, match="thread count"):
            threads.set_thread_count(count)


def test_several_callers_at_once_get_their_own_results() -> None:
    threads.set_thread_count(3)
    failures = []

    def work(seed: int) -> None:
        iq = np.random.default_rng(seed).normal(size=(50_000, 2)).astype(np.float32)
        operator = Envelope()
        expected = operator.run(iq).copy()
        for _ in range(20):
            if not np.array_equal(operator.run(iq), expected):
                failures.append(seed)

    callers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_interpreter_ends_with_workers_and_after_a_fork() -> None:
    script = (
        "import os, sys, numpy as np\n"
        "from sonod.cext.threads import set_thread_count\n"
        "from sonod.cext.detect import Envelope\n"
        "set_thread_count(3)\n"
        "iq = np.ones((100000, 2), np.float32)\n"
        "Envelope().run(iq)\n"
        "child = os.fork()\n"
        "Envelope().run(iq)\n"
        "if not child: os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60)

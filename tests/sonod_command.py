"""The `sonod` command in this process: starting Python anew takes a second each."""

from __future__ import annotations

import io
import os
import subprocess
from contextlib import redirect_stderr, redirect_stdout

import pytest

from sonod.daemon.cli import main


def sonod(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What the command printed and how it ended, with only these variables of ours in its environment."""
    output, errors = io.StringIO(), io.StringIO()
    changed = {name: None for name in os.environ if name.startswith("SONOD_")} | variables
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        for name, value in changed.items():
            patch.delenv(name) if value is None else patch.setenv(name, value)
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
    return subprocess.CompletedProcess(arguments, int(left.value.code or 0), output.getvalue(), errors.getvalue())

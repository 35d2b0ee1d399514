"""`evenbench load` that is ended by a signal loses nothing, measures nothing twice, and says how to
go on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

CELLS = 6
COMMAND = [
    sys.executable,
    "-m",
    "evenbench.harness.cli",
    "load",
    "tests/fault_injection/six_cells.py",
    "--scenario",
    "single-stream",
    "--seconds",
    "0.05",
]


def start(results: Path) -> subprocess.Popen[str]:
    """The command line as a user starts it, in a process that can be ended."""
    variables = {**os.environ, "EVENBENCH_BACKENDS": "fine=tests.fault_injection.broken:Fine"}
    command = [*COMMAND, "--plan", "quick", "--results", str(results)]
    return subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def measured(tmp_path: Path) -> int:
    """How many processes have loaded a cell so far."""
    notes = tmp_path / "notes"
    return len(notes.read_text().split()) if notes.exists() else 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_was_known_when_a_signal_came_is_not_measured_again(
    how: signal.Signals, tmp_path: Path
) -> None:
    process, until = start(tmp_path / "results"), time.monotonic() + 30
    while measured(tmp_path) < 3 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(how)
    _, told = process.communicate(timeout=20)
    (file,) = (tmp_path / "results" / "load").glob("*.jsonl")
    before = file.read_bytes()
    known = before.count(b"\n")
    assert 2 <= known < CELLS, told
    if how != signal.SIGKILL:
        assert process.returncode == 130
        assert (
            f"interrupted: {known} of {CELLS} outcomes known, all kept; "
            "the same command resumes the run"
        ) in told
        assert "Traceback" not in told
    again = start(tmp_path / "results")
    _, told = again.communicate(timeout=60)
    assert again.returncode == 0, told
    assert f": {known} of {CELLS} outcomes known" in told
    assert file.read_bytes().startswith(before), (
        "an outcome that was on the disk has changed or gone"
    )
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert Counter(line["outcome"] for line in lines) == {"ok": CELLS}
    assert len({line["cell"]["key"] for line in lines}) == CELLS
    assert measured(tmp_path) <= CELLS + 1, "more was repeated than what ran when the signal came"

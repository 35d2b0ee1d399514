"""The guard ends the process groups of a killed process, and leaves those that were removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from evenbench.harness.core.paths import PROJECT

GUARDED = """
import subprocess, time
from harness.environment import process_guard
groups = [subprocess.Popen(["sleep", "600"], start_new_session=True).pid for _ in range(3)]
for group in groups:
    process_guard.add(group)
process_guard.remove(groups[1])
print(*groups, flush=True)
time.sleep(600)
"""


def test_a_kill_ends_what_is_guarded_and_nothing_else() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", GUARDED],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    ) as process:
        assert process.stdout is not None
        first, removed, last = map(int, process.stdout.readline().split())
        try:
            process.send_signal(signal.SIGKILL)
            process.wait()
            deadline = time.monotonic() + 20
            while _is_alive(first) or _is_alive(last):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert _is_alive(removed)
        finally:
            os.kill(removed, signal.SIGKILL)


def _is_alive(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"

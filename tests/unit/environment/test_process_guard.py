"""The guard ends the families of a killed process, and leaves those that were removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from evenbench.harness.core.paths import PROJECT
from evenbench.harness.environment import process_family

GUARDED = """
import os, subprocess, sys, time
from harness.environment import process_family, process_guard
inner = "import subprocess, time; print(subprocess.Popen(['sleep', '600'], HOW).pid, flush=True)"
numbers = []
for mark, how in enumerate(("process_group=0", "start_new_session=True", "process_group=0")):
    worker = subprocess.Popen(
        [sys.executable, "-c", inner.replace("HOW", how) + "; time.sleep(600)"],
        start_new_session=True,
        stdout=subprocess.PIPE,
        env={**os.environ, process_family.MARK: str(mark)},
    )
    process_guard.add(worker.pid, str(mark))
    numbers += [worker.pid, int(worker.stdout.readline())]
process_guard.remove(worker.pid, "2")
print(*numbers, flush=True)
time.sleep(600)
"""
"""Workers whose children have a group, a session, and again a group of their own."""


def test_a_kill_ends_what_is_guarded_and_nothing_else() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", GUARDED],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    ) as process:
        assert process.stdout is not None
        *guarded, removed, child = map(int, process.stdout.readline().split())
        assert len(guarded) == 4
        try:
            process.send_signal(signal.SIGKILL)
            process.wait()
            deadline = time.monotonic() + 20
            while any(map(_is_alive, guarded)):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert _is_alive(removed)
            assert _is_alive(child)
        finally:
            process_family.end(removed, "2")
    assert not _is_alive(child)


def _is_alive(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"

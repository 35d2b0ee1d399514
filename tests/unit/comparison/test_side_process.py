"""A side's process: pinned to the cores of the pair, and separated from user code."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from evenbench.harness.comparison.side_process import Side, SideProcess
from evenbench.harness.environment import cpu
from tests.unit.builders import plan, register

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system does not keep processes to cores"
)

PROGRAM = """
import subprocess, sys, threading, time
threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
print(child.pid, flush=True)
time.sleep(30)
"""


@needs_affinity
@pytest.mark.alone
def test_all_threads_and_children_are_kept_to_the_cores() -> None:
    core = max(os.sched_getaffinity(0))
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        child = int(started.stdout.readline())
        process: Any = SimpleNamespace(_process=started)
        SideProcess.keep_to(process, [])
        assert os.sched_getaffinity(started.pid) == os.sched_getaffinity(0), "no cores, no change"
        SideProcess.keep_to(process, [core])
        threads = [
            thread.id for pid in (started.pid, child) for thread in psutil.Process(pid).threads()
        ]
        assert len(threads) >= 3
        assert {frozenset(os.sched_getaffinity(thread)) for thread in threads} == {
            frozenset({core})
        }
        os.kill(child, 9)
        started.kill()
        started.wait()
        SideProcess.keep_to(process, [core])  # a dead process is no error


@needs_affinity
def test_cores_are_drawn_for_cells_that_leave_some_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 5, 7})
    lot = random.Random(0)
    assert cpu.random_cores(3, lot) == []
    assert cpu.random_cores(8, lot) == []
    drawn = {tuple(cpu.random_cores(1, lot)) for _ in range(50)}
    assert drawn == {(2,), (5,), (7,)}
    assert {tuple(cpu.random_cores(2, lot)) for _ in range(50)} == {(2, 5), (2, 7), (5, 7)}


DECLARATIONS = """
import sys
from harness import Case
from tests.unit.builders import PRODUCT
assert sys.stdin.read() == ""
matrix = Case((PRODUCT,), ("product", "twin"))
"""


def test_declarations_find_an_empty_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands of the parent come by standard input; user code that reads would take a command."""
    register(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench_it.py").write_text(DECLARATIONS)
    spec = replace(Side("base").spec(["bench_it.py"], "", plan()), task="cells")
    with SideProcess(Side("base"), spec) as process:
        cells = process.ask()["value"]
    assert list(cells) == ["product-product-fp32-cpu-b1", "product-twin-fp32-cpu-b1"]

"""A run that is killed, interrupted or cut off loses nothing and measures nothing twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from evenbench.harness.core.plans import PLANS
from evenbench.harness.runner.schedule import Event, Run
from tests.fault_injection.conftest import QUICK, Register, cells, pids

COMMAND = [
    sys.executable,
    "-m",
    "evenbench.harness.cli",
    "run",
    "tests/fault_injection/six_cells.py",
    "--plan",
    "default",
    "--results",
]
PROCESSES, CELLS = PLANS["default"].processes, 6
TWICE = replace(QUICK, processes=2)


def start(results: Path, **more: str) -> subprocess.Popen[str]:
    """The command line as a user starts it, in a process that can be killed."""
    variables = {
        **os.environ,
        "EVENBENCH_BACKENDS": (
            "fine=tests.fault_injection.broken:Fine,hang=tests.fault_injection.broken:Hang"
        ),
        **more,
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*COMMAND, str(results)], env=variables, **pipes)  # type: ignore[call-overload]


def measured(tmp_path: Path) -> Counter[str]:
    """In how many processes each cell was measured, over all runs."""
    notes = tmp_path / "notes"
    return Counter(notes.read_text().split()) if notes.exists() else Counter()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_runs_killed_at_random_points_lose_nothing_and_measure_nothing_twice(
    seed: int, tmp_path: Path
) -> None:
    chance, kills, before = random.Random(seed), 0, b""
    for _ in range(4):
        process, until = start(tmp_path / "results"), time.monotonic() + 60
        while (
            not list((tmp_path / "results" / ".unfinished").glob("*"))
            and process.poll() is None
            and time.monotonic() < until
        ):
            time.sleep(0.05)  # before that, there is nothing to lose
        time.sleep(chance.uniform(0.3, 2.5))
        if process.poll() is None:
            kills += 1
        process.kill()
        process.communicate()
        now = b"".join(file.read_bytes() for file in (tmp_path / "results").glob("*.jsonl"))
        assert now.startswith(before), "an outcome that was on the disk has changed or gone"
        before = now
        if not list((tmp_path / "results" / ".unfinished").glob("*")):
            break
    else:
        last = start(tmp_path / "results")
        _, told = last.communicate(timeout=120)
        assert last.returncode == 0, told
        assert "resuming run" in told
    (file,) = (tmp_path / "results").glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert Counter(line["outcome"] for line in lines) == {"ok": CELLS}
    assert len({line["cell"]["key"] for line in lines}) == CELLS
    assert all(len(line["process_seconds"]) == PROCESSES for line in lines)
    assert sum(measured(tmp_path).values()) <= CELLS * PROCESSES + kills, (
        "more was repeated than what ran when it was killed"
    )


def test_a_killed_run_leaves_no_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = tmp_path / "bench_hang.py"
    text = Path("tests/fault_injection/six_cells.py").read_text()
    bench.write_text(
        text.replace('backends=("fine",), batch=(1, 2, 3, 4, 5, 6)', 'backends=("hang",)')
    )
    monkeypatch.setitem(globals(), "COMMAND", [*COMMAND[:4], str(bench), *COMMAND[5:]])
    process = start(tmp_path / "results")
    until = time.monotonic() + 20
    while not measured(tmp_path)["pid"] and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    (child,) = pids(tmp_path)
    time.sleep(0.5)
    stat = Path(f"/proc/{child}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


KILLED_WHILE_PREPARING = """
from harness import BATCH, Case, Model, TensorSpec
from tests.fault_injection.six_cells import TINY

compiled = Case(models=(TINY,), backends=("compiles",))
"""


@pytest.mark.parametrize(
    "tries", [1, pytest.param(200, marks=[pytest.mark.nightly, pytest.mark.alone])]
)
def test_a_command_killed_while_a_worker_starts_or_compiles_leaves_nothing_running(
    tries: int, tmp_path: Path
) -> None:
    (tmp_path / "bench_compiles.py").write_text(KILLED_WHILE_PREPARING)
    chance = random.Random(0)
    for number in range(tries):
        tag = f"EVENBENCH_TEST_TAG={tmp_path.name}-{number}"
        name, _, value = tag.partition("=")
        (tmp_path / "notes").unlink(missing_ok=True)
        process = subprocess.Popen(
            [*COMMAND[:4], str(tmp_path / "bench_compiles.py"), "--results", str(tmp_path / "r")],
            env={
                **os.environ,
                name: value,
                "TMPDIR": str(tmp_path),
                "EVENBENCH_BACKENDS": "compiles=tests.fault_injection.broken:Compiles",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _wait_until(lambda tag=tag: len(_tagged(tag)) > 1)
        if number % 2:  # as the worker starts
            time.sleep(chance.uniform(0.0, 0.5))
        else:
            _wait_until(lambda: (tmp_path / "notes").exists() and len(pids(tmp_path)) == 2)
        process.kill()
        process.wait()
        _wait_until(lambda tag=tag: not _tagged(tag))


def _wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 100
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _tagged(tag: str) -> list[int]:
    """The living processes with a variable of the environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            variables = (folder / "environ").read_bytes().split(b"\0")
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            if tag.encode() in variables and state != "Z":
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on_and_does(how: signal.Signals, tmp_path: Path) -> None:
    process = start(tmp_path / "results")
    until = time.monotonic() + 30
    while sum(measured(tmp_path).values()) < 4 and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(how)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "the same command resumes the run" in told
    assert "Traceback" not in told
    again = start(tmp_path / "results")
    _, told = again.communicate(timeout=60)
    assert again.returncode == 0
    assert f"of {CELLS} outcomes known" in told
    assert sum(measured(tmp_path).values()) <= CELLS * PROCESSES + 1


class Stopped(Exception):
    """What these tests stop a run with."""


def stop_after(outcomes: int):
    """A listener that ends the run once so many outcomes are known."""
    seen = []

    def listen(event: Event) -> None:
        if event.kind == "outcome":
            seen.append(event)
            if len(seen) == outcomes:
                raise Stopped

    return listen


def test_a_torn_last_line_costs_no_other_line_and_no_measurement(
    tmp_path: Path, register: Register
) -> None:
    register("Fine")
    entries = cells("fine", "fine", "fine", "fine")
    first = Run(entries, TWICE, tmp_path / "results", listen=stop_after(2))
    with pytest.raises(Stopped):
        first.measure(entries)
    whole = first.file.file.read_bytes()
    first.file.file.write_bytes(whole[:-40])
    before = measured(tmp_path)
    again = Run(entries, TWICE, tmp_path / "results")
    assert again.resumed
    assert len(again.done) == 1
    lines = again.measure(entries)
    again.finish()
    assert [line["outcome"] for line in lines] == ["ok"] * 4
    kept = whole.splitlines()[0]
    assert again.file.file.read_bytes().startswith(kept + b"\n")
    assert len(again.file.outcomes()) == 4
    assert sum(measured(tmp_path).values()) == 4 * 2
    assert all(
        measured(tmp_path)[name] == count or before[name] < 2 for name, count in before.items()
    )


def test_an_unfinished_run_is_left_alone_by_another_command(
    tmp_path: Path, register: Register
) -> None:
    register("Fine")
    entries = cells("fine", "fine", "fine")
    first = Run(entries, QUICK, tmp_path / "results", listen=stop_after(1))
    with pytest.raises(Stopped):
        first.measure(entries)
    assert not Run(entries[:2], QUICK, tmp_path / "results").resumed
    assert not Run(entries, TWICE, tmp_path / "results").resumed
    assert not Run(entries, QUICK, tmp_path / "results", fresh=True).resumed


def test_a_finished_run_is_not_resumed(tmp_path: Path, register: Register) -> None:
    register("Fine")
    entries = cells("fine")
    first = Run(entries, QUICK, tmp_path / "results")
    first.measure(entries)
    first.finish()
    assert not Run(entries, QUICK, tmp_path / "results").resumed

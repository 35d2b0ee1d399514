"""Kills of a run's process at random moments, and the processes that survive it.

`python -m tests.fault_injection.kills 200` prints a line for each try.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

TRIAL = "EVENBENCH_TEST_TRIAL"
"""The variable by which the processes of a try are known; children inherit it."""

BENCH = """
from harness import Case
from tests.fault_injection.six_cells import TINY

tried = Case(models=(TINY,), backends={backends!r})
"""

START_SECONDS, END_SECONDS = 120.0, 10.0
"""How long a scene may take to begin, and the processes to end."""

Processes = Mapping[int, str]
"""Command lines by process number."""


@dataclass(frozen=True)
class Scene:
    """What a run is doing when it is killed: `begun` says when, and the kill comes up to `most`
    seconds later.
    """

    backends: tuple[str, ...]
    begun: Callable[[Processes], bool]
    most: float
    command: tuple[str, ...] = ("run", "--plan", "thorough", "--results", "results")
    module: str = "tests.fault_injection.slow_builders"


def _workers(processes: Processes) -> list[str]:
    return [line for line in processes.values() if "harness.worker" in line]


def _compilers(processes: Processes) -> list[str]:
    return [line for line in processes.values() if "cc1plus" in line or "cmake" in line]


def _sleepers(number: int) -> Callable[[Processes], bool]:
    return lambda found: sum("time.sleep(600)" in line for line in found.values()) >= number


SCENES: Mapping[str, Scene] = {
    "start": Scene(("prepareslong",), lambda found: bool(_workers(found)), 0.5),
    "prepare": Scene(("prepareslong",), _sleepers(2), 1.0),
    "build": Scene(("buildsprogram",), lambda found: bool(_compilers(found)), 3.0),
    "compile": Scene(("compilespool",), lambda found: bool(_compilers(found)), 2.0),
    "tune": Scene(
        ("hangs",),
        _sleepers(1),
        0.5,
        ("tune", "--trials", "2"),
        "tests.fault_injection.tuners",
    ),
    "measure": Scene(
        ("measureslong", "measureslonger"), lambda found: len(_workers(found)) > 1, 2.0
    ),
}
NAMES = {name.lower(): name for name in ("PreparesLong", "BuildsProgram", "CompilesPool", "Hangs")}
NAMES |= {"measureslong": "MeasuresLong", "measureslonger": "MeasuresLonger"}


def carrying(trial: str) -> dict[int, str]:
    """The command lines of living processes with the variable of a try, by process number."""
    mark = f"{TRIAL}={trial}".encode()
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark not in (place / "environ").read_bytes().split(b"\0"):
                continue
            if (place / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                continue
            line = (place / "cmdline").read_bytes().replace(b"\0", b" ")
            found[int(place.name)] = line.decode(errors="replace").strip()
        except OSError:
            continue
    return found


def guards(parent: int) -> list[int]:
    """The shells that guard a parent's workers: direct children without the variable of a try."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    try:
        numbers = [int(number) for number in children.read_text().split()]
        return [number for number in numbers if Path(f"/proc/{number}/environ").read_bytes() == b""]
    except OSError:
        return []


def survivors(scene: Scene, delay: float, folder: Path) -> tuple[int, dict[int, str]]:
    """Kill a run `delay` seconds after the scene began; the number of its processes at the kill,
    and those that live `END_SECONDS` later.
    """
    bench = folder / "bench_killed.py"
    bench.write_text(BENCH.format(backends=scene.backends))
    trial = uuid.uuid4().hex
    rows = ",".join(f"{name}={scene.module}:{NAMES[name]}" for name in scene.backends)
    (folder / "temporary").mkdir()
    variables = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),  # for `tests`
        "EVENBENCH_CACHE": str(folder / "cache"),
        "EVENBENCH_TEST_NOTES": str(folder / "notes"),
        "EVENBENCH_BACKENDS": rows,
        "TMPDIR": str(folder / "temporary"),  # with the lock for measuring
        TRIAL: trial,
    }
    name, *options = scene.command
    command = [sys.executable, "-m", "evenbench", name, str(bench), *options]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=variables, cwd=folder, stdout=log, stderr=log)
        until = time.monotonic() + START_SECONDS
        while not scene.begun(carrying(trial)):
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                raise AssertionError(f"never began: {(folder / 'log').read_text()[-500:]}")
            time.sleep(0.002)
        time.sleep(delay)
        present, guarding = carrying(trial), guards(process.pid)
        process.kill()
        process.wait()
    until = time.monotonic() + END_SECONDS
    while (left := carrying(trial) | _alive(guarding)) and time.monotonic() < until:
        time.sleep(0.05)
    for number in left:
        os.kill(number, 9)
    return len(present), left


def _alive(numbers: list[int]) -> dict[int, str]:
    found = {}
    for number in numbers:
        try:
            if Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found[number] = "guard"
        except OSError:
            continue
    return found


def main(tries: int, names: list[str]) -> int:
    """Try so often, scene by scene in turn; returns the number of tries with a survivor."""
    chance, bad, done = random.Random(1), 0, Counter[str]()
    for number in range(tries):
        name = names[number % len(names)]
        delay = chance.uniform(0, SCENES[name].most)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            present, left = survivors(SCENES[name], delay, Path(folder))
        bad += bool(left)
        done[name] += 1
        print(f"{number + 1} {name} {delay:.2f} s, {present} processes, left {left}", flush=True)
    print(f"{bad} of {tries} left a process: {dict(done)}")
    return bad


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]), sys.argv[2:] or list(SCENES))))

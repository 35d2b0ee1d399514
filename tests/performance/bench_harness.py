"""What the harness itself costs, measured side by side in one run; `make bench-harness` prints it
for docs/results/harness-cost.md.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.models import DIGITS_CNN, RESNET18
from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.types import COMPUTE, Cell
from evenbench.harness.environment import cpu, system_info
from evenbench.harness.inputs import batches as inputs
from evenbench.harness.measurement import timing
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.schedule import Run
from tests.performance import yardstick

ROUNDS = 40
"""Of alternation between the hand-written loop and the harness's; each takes one lap per input."""


@dataclass(frozen=True)
class Figure:
    """One measured figure with its goal, both as text."""

    what: str
    found: str
    goal: str
    met: bool | None = None


def clock_floor() -> float:
    """The median of two readings of the clock with nothing between, in ns."""
    now = time.perf_counter_ns
    gaps = []
    for _ in range(100_000):
        begin = now()
        end = now()
        gaps.append(end - begin)
    return median(gaps)


def null_floor() -> Iterator[Figure]:
    """The null cell's compute lap against two bare readings of the clock."""
    from evenbench.backends.controls.null import NullSession

    session = NullSession(Cell(DIGITS_CNN, "null", threads=cpu.cores()))
    laps = median(
        timing.run_laps(session, [{}], 0, 100_000, COMPUTE, set(), time.perf_counter_ns).laps_ns
    )
    floor = clock_floor()
    yield Figure("two bare readings of the clock", f"{floor:.0f} ns", "")
    what = "compute lap of the null backend (two readings, step, sync)"
    yield Figure(what, f"{laps:.0f} ns", "100 ns above the clock or less", laps <= floor + 100)


def session_of_resnet() -> tuple[Any, list[dict[str, Any]]]:
    """ResNet-18 on ONNX Runtime, loaded in this process as a worker loads it, and its input
    batches.
    """
    cell = Cell(RESNET18, "ort", threads=cpu.cores())
    prepared = Preparer(600).prepare(cell)
    session = registry.find("ort").load(Path(prepared.artifact.path), cell)
    return session, inputs.load(Path(prepared.inputs.path), RESNET18)


def hand_written(session: Any, batches: list[dict[str, Any]]) -> list[int]:
    """What one writes oneself: `run` of the bare InferenceSession between two readings of the
    clock.
    """
    bare, names = session.session, session.outputs
    laps = []
    for batch in batches:
        begin = time.perf_counter_ns()
        bare.run(names, batch)
        laps.append(time.perf_counter_ns() - begin)
    return laps


def against_hand_written(session: Any, batches: list[dict[str, Any]]) -> Iterator[Figure]:
    """Alternated, so that both meet the same machine: the median over rounds of the ratio of median
    laps.
    """
    ratios, levels = [], []
    for index in range(ROUNDS):
        arms: list[Callable[[], list[int]]] = [
            lambda: hand_written(session, batches),
            lambda: (
                timing.run_laps(
                    session, batches, 0, len(batches), COMPUTE, set(), time.perf_counter_ns
                ).laps_ns
            ),
        ]
        order = [0, 1] if index % 2 else [1, 0]
        found = {arm: median(arms[arm]()) for arm in order}
        ratios.append(found[1] / found[0])
        levels.append(found[0])
    ratio = median(ratios)
    yield Figure("hand-written loop, ONNX Runtime ResNet-18", f"{median(levels) / 1e6:.2f} ms", "")
    yield Figure(
        "harness `compute` / hand-written", f"{ratio:.4f}", "1.00 ± 0.01", abs(ratio - 1) <= 0.01
    )


def against_other_tools(session: Any, batches: list[dict[str, Any]]) -> Iterator[Figure]:
    """torch's Timer, pytest-benchmark's fixture and timeit on the same callable, as ratios to the
    harness, in one run.
    """
    batch = batches[0]
    session.bind(batch)
    ours = (
        median(
            timing.run_laps(session, [batch], 0, 200, COMPUTE, set(), time.perf_counter_ns).laps_ns
        )
        / 1e9
    )
    others = {
        "timeit loop": min(timeit.repeat(session.step, number=20, repeat=10)) / 20,
        "torch.utils.benchmark (blocked_autorange, median)": _torch_timer(session.step),
        "pytest-benchmark's fixture (median)": _pytest_benchmark(),
    }
    for name, seconds in others.items():
        yield Figure(f"{name} / harness `compute`", f"{seconds / ours:.3f}", "shown side by side")


def _torch_timer(step: Callable[[], None]) -> float:
    from torch.utils.benchmark import Timer

    return float(
        Timer("step()", globals={"step": step}, num_threads=1)
        .blocked_autorange(min_run_time=1)
        .median
    )


FIXTURE_TEST = """
from tests.performance.bench_harness import session_of_resnet

def test_step(benchmark):
    session, batches = session_of_resnet()
    session.bind(batches[0])
    benchmark(session.step)
"""


def _pytest_benchmark() -> float:
    with tempfile.TemporaryDirectory() as folder:
        file, report = Path(folder) / "test_step.py", Path(folder) / "report.json"
        file.write_text(FIXTURE_TEST)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            str(file),
            f"--benchmark-json={report}",
        ]
        done = subprocess.run(
            command,
            cwd=Path.cwd(),
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"pytest-benchmark run failed: {done.stdout[-2000:]}")
        return float(json.loads(report.read_text())["benchmarks"][0]["stats"]["median"])


def fixed_cost() -> Iterator[Figure]:
    """Wall time of a measuring process beyond import, load, first step, warm-up, sampling and
    parity, for a null and a real cell.
    """
    for backend in ("null", "ort"):
        entry = Entry(Cell(DIGITS_CNN, backend, threads=cpu.cores()))
        with tempfile.TemporaryDirectory() as folder:
            run = Run([entry], replace(PLANS["quick"], processes=5), Path(folder), fresh=True)
            line = run.measure([entry])[0]
        inside = [
            line["import_seconds"],
            *(seconds for phase, seconds in line["phases_seconds"].items() if phase != "prepare"),
        ]
        costs = [
            wall - sum(parts) for wall, *parts in zip(line["process_seconds"], *inside, strict=True)
        ]
        yield Figure(
            f"fixed cost per process, {backend}",
            f"{median(costs):.3f} s",
            "0.3 s or less",
            median(costs) <= 0.3,
        )


MANY_CELLS = """
from harness import Case, Model
MODELS = tuple(Model(f"model_{index}", build="package.module:build") for index in range(250))
many = Case(
    MODELS,
    backends=("torch-eager", "ort", "openvino", "torch-script", "torch-compile"),
    batch=tuple(range(1, 9)),
)
"""


def listing() -> Iterator[Figure]:
    """`evenbench list` of 10,000 cells, as a user starts it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bench_many.py").write_text(MANY_CELLS)
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "evenbench", "list", folder],
            capture_output=True,
            text=True,
            check=True,
        )
        seconds = time.perf_counter() - begin
        count = sum("model_" in line for line in done.stdout.splitlines())
    yield Figure(
        f"evenbench list, {count:,} cells", f"{seconds:.2f} s", "0.5 s or less", seconds <= 0.5
    )


def reporting() -> Iterator[Figure]:
    """The report of 10,000 outcomes, from lines in memory to the page on disk, and until one can
    work with it in Chromium.
    """
    from evenbench.reports.pages import index as site
    from tests.reports import browser, synthetic

    lines = synthetic.many(10_000)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        page = site.write(lines, Path(folder))
        seconds = time.perf_counter() - begin
        size = page.stat().st_size
        usable = None
        if browser.installed():
            with browser.launched() as chromium:
                usable = min(
                    browser.seconds_until_usable(chromium, page.as_uri()) for _ in range(3)
                )
    yield Figure(
        f"report of {len(lines):,} outcomes ({size / 1e6:.1f} MB page)",
        f"{seconds:.2f} s",
        "7 s or less",
        seconds <= 7,
    )
    found = "not measured: no Chromium" if usable is None else f"{usable:.2f} s"
    yield Figure(
        "that page usable in Chromium, best of 3",
        found,
        "2 s or less",
        usable is not None and usable <= 2,
    )


def figures() -> Iterator[Figure]:
    """All of them, in the order in which they are printed."""
    goals = f"goals are set where it takes {yardstick.UNIT_SECONDS * 1e3:.0f} ms"
    yield Figure(
        "the yardstick, a piece of plain Python", f"{yardstick.seconds() * 1e3:.1f} ms", goals
    )
    yield from null_floor()
    session, batches = session_of_resnet()
    timing.run_laps(session, batches, 0, 50, COMPUTE, set(), time.perf_counter_ns)
    yield from against_hand_written(session, batches)
    yield from against_other_tools(session, batches)
    yield from fixed_cost()
    yield from listing()
    yield from reporting()


def main() -> None:
    """Print the figures as a Markdown table, with the machine and the versions that made them."""
    found = system_info.describe(("onnxruntime", "torch", "pytest-benchmark"))
    print(
        f"{found['cpu']}, {found['cores']} cores, Python {platform.python_version()}, "
        f"onnxruntime {found['packages']['onnxruntime']}\n"
    )
    print("| what | measured | goal | met |\n|---|---|---|---|")
    for figure in figures():
        met = "" if figure.met is None else "yes" if figure.met else "no"
        print(f"| {figure.what} | {figure.found} | {figure.goal} | {met} |", flush=True)


if __name__ == "__main__":
    main()

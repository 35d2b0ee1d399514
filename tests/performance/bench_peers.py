"""The time until the speed-up of ONNX Runtime over torch eager is known to 3 %: evenbench, and the
usual ways of other tools repeated in fresh processes; `make bench-peers`.

Every way has the same prepared artifacts, inputs, sessions and threads, and stops at the first 95 %
interval within the half-width, after three repetitions or more. Times are wall times from the first
start of a process; preparation is excluded, since artifacts are cached. All ways take turns in one
session, in random order. Prints a markdown table.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenbench.harness.core import registry
from evenbench.harness.core.types import COMPUTE
from evenbench.harness.environment import measurement_lock, system_info
from evenbench.harness.results.interleaving import sweeps_of
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.statistics.estimates import median
from evenbench.harness.statistics.group_verdicts import judge
from tests.performance import peer_process
from tests.performance.bench_gate import ROOT, facts
from tests.performance.gate_tables import table
from tests.performance.peer_intervals import EAGER, ORT, RUNTIMES, Interval, Samples, Trial

LEAST = 3
"""Fewest repetitions before an interval counts, as evenbench's fewest sweeps."""

BLOCK = 10
"""Runs of one script in a row: hyperfine's default minimum."""

Specs = Mapping[str, Mapping[str, Any]]
"""Runtime → the prepared cell for `peer_process`."""


Once = Callable[[Mapping[str, Any]], float]
"""Runs a fresh process of a prepared cell; returns the mean time of an inference in seconds."""


def _environment(spec: Mapping[str, Any]) -> dict[str, str]:
    cell = peer_process.cell_of(spec["model"], spec["backend"])
    variables = dict(registry.find(cell.backend).variables(cell))
    return {
        **system_info.for_worker(cell.threads, variables),
        peer_process.SPEC: json.dumps(spec),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }


def by_loop(way: str) -> Once:
    """A process of `peer_process`."""

    def once(spec: Mapping[str, Any]) -> float:
        command = [sys.executable, "-m", "tests.performance.peer_process", way]
        return float(_output(command, _environment(spec)))

    return once


def by_pytest_benchmark(spec: Mapping[str, Any]) -> float:
    """A process of pytest with the real pytest-benchmark: its mean over rounds."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pytest.ini").write_text("[pytest]\n")
        result = Path(folder) / "result.json"
        command = [
            *(sys.executable, "-m", "pytest", "-q", "--noconftest"),
            *("-c", str(Path(folder) / "pytest.ini"), "--import-mode=importlib"),
            *("-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider"),
            *(f"--benchmark-json={result}", "tests/performance/peer_benchmark.py"),
        ]
        _output(command, {**_environment(spec), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
        return float(json.loads(result.read_text())["benchmarks"][0]["stats"]["mean"])


def _output(command: Sequence[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=dict(environment), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip().rpartition("\n")[2]


@dataclass(frozen=True)
class Limits:
    """When a way stops."""

    half: float
    """Half-width of the log ratio."""
    seconds: float


def repeated(
    way: str,
    once: Once,
    specs: Specs,
    limits: Limits,
    *,
    block: int = 1,
    now: Callable[[], float] = time.monotonic,
) -> Trial:
    """Repeat `block` processes of each runtime until the interval is within the half-width.

    A block of one process makes pairs, and larger blocks make two separate samples (Welch).
    """
    samples, begin = Samples(), now()
    while True:
        for name in RUNTIMES:
            samples.seconds[name] += [once(specs[name]) for _ in range(block)]
        interval = samples.paired() if block == 1 else samples.welch()
        seconds = now() - begin
        precise = interval.repetitions >= LEAST and interval.half <= limits.half
        if precise or seconds >= limits.seconds:
            return Trial(way, seconds, interval, precise)


def evenbench(way: str, specs: Specs, limits: Limits) -> Trial:
    """The command `evenbench run` on both cells, to the same half-width."""
    cells = [peer_process.cell_of(spec["model"], spec["backend"]) for spec in specs.values()]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "evenbench.harness.cli",
            "run",
            "benchmarks",
            "--results",
            folder,
        ]
        for cell in cells:
            command += ["--cell", cell.id]
        command += ["--half-width", f"{100 * limits.half:.4g}%"]
        command += ["--budget", f"{limits.seconds:.0f}s"]
        begin = time.monotonic()
        _output(command, os.environ)
        seconds = time.monotonic() - begin
        lines = [
            json.loads(text) for file in Path(folder).glob("*.jsonl") for text in file.open("rb")
        ]
    sweeps = {line["cell"]["backend"]: sweeps_of(line, COMPUTE) for line in lines}
    ratio = judge({"group": sweeps})["group"].between(EAGER, ORT).ratio
    if ratio is None:
        return Trial(way, seconds, Interval(math.nan, math.inf, 0), False)
    half = ratio.half_width()
    interval = Interval(ratio.log, math.inf if half is None else half, ratio.sweeps)
    return Trial(way, seconds, interval, interval.half <= limits.half)


WAYS: Mapping[str, Callable[[str, Specs, Limits], Trial]] = {
    "evenbench run": evenbench,
    "optimum-benchmark's way": lambda way, specs, limits: repeated(
        way, by_loop("optimum"), specs, limits
    ),
    "pytest-benchmark": lambda way, specs, limits: repeated(
        way, by_pytest_benchmark, specs, limits
    ),
    "bare script, as hyperfine repeats": lambda way, specs, limits: repeated(
        way, by_loop("script"), specs, limits, block=BLOCK
    ),
}


def prepared(model: str) -> dict[str, dict[str, Any]]:
    """Both cells with their folders, made now if they are not cached."""
    specs = {}
    preparer = Preparer(600.0)
    for name in RUNTIMES:
        folders = preparer.prepare(peer_process.cell_of(model, name)).folders()
        specs[name] = {
            "model": model,
            "backend": name,
            "artifact": folders["artifact"],
            "inputs": folders["inputs"],
        }
    return specs


def markdown(trials: Sequence[Trial]) -> str:
    """A row per way, in the order of `WAYS`: medians over trials."""
    rows = []
    for way in WAYS:
        own = [trial for trial in trials if trial.way == way]
        if not own:
            continue
        seconds = [trial.seconds for trial in own]
        half = median([trial.interval.half for trial in own])
        precise = sum(trial.is_precise for trial in own)
        rows.append(
            [
                way,
                f"{median(seconds):.0f} s",
                f"{min(seconds):.0f} to {max(seconds):.0f} s",
                f"{precise} of {len(own)}",
                f"{median([float(trial.interval.repetitions) for trial in own]):g}",
                f"±{100 * math.expm1(half):.1f} %" if half < 5 else "unknown",
                f"{math.exp(median([trial.interval.log for trial in own])):.3f}×",
            ]
        )
    header = [
        "way",
        "time, median",
        "range",
        "precise within the limit",
        "repetitions per runtime",
        "half-width",
        "speed-up",
    ]
    return table(header, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.performance.bench_peers", description=__doc__
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="limit of each trial")
    parser.add_argument("--times", type=int, default=1, help="trials of each way (%(default)s)")
    parser.add_argument("--half-width", type=float, default=0.03, help="to reach (%(default)s)")
    parser.add_argument("--model", choices=("resnet18", "digits_cnn"), default="resnet18")
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=tuple(WAYS))
    options = parser.parse_args(arguments)
    os.chdir(ROOT)
    specs = prepared(options.model)
    limits = Limits(options.half_width, 60 * options.minutes)
    trials = []
    for _ in range(options.times):
        for way in random.sample(options.ways, len(options.ways)):
            if WAYS[way] is evenbench:  # takes the lock itself
                trials.append(evenbench(way, specs, limits))
            else:
                with measurement_lock.alone():
                    trials.append(WAYS[way](way, specs, limits))
            print(f"{way}: {trials[-1]}", file=sys.stderr, flush=True)
    known = facts()
    print(
        f"`make bench-peers` on {known['date']}: {known['machine']}, load {known['load']}; "
        f"{options.model}, ONNX Runtime over torch eager, fp32, half-width "
        f"{options.half_width:.1%}, "
        f"limit {options.minutes:g} min per trial.\n"
    )
    print(markdown(trials))


if __name__ == "__main__":
    main()

"""How often the gate calls two identical things different on a real machine, and what slowdown it
finds; `make aa`.

Every comparison is what `evenbench compare` does with one cell: prepared sides, pairs of fresh
processes, the stop on precision, new processes for what is flagged, the same verdicts. Base is
compared with itself for the false alarms, and with a backend that repeats its work a few more times
for the power. Comparisons take turns over workloads and conditions, so that a change of the machine
meets all. Each is appended to a file when it is done; the command goes on where it was stopped, and
writes the tables of docs/explanation/statistics.md and docs/how-to/compare-commits.md from it.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenbench.harness.comparison.session import PairedSession
from evenbench.harness.comparison.side_process import Side
from evenbench.harness.comparison.side_worker import Change
from evenbench.harness.comparison.verdicts import LATENCY, Pairing
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS
from evenbench.harness.environment import cpu, system_info
from evenbench.harness.statistics import paired_test
from evenbench.harness.statistics.estimates import median
from tests.performance import bench_record, workloads
from tests.performance.rules import RULES

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "docs" / "data" / "gate.jsonl"
WORDS = ("tests/performance/workloads.py",)
RULE = paired_test.Rule()
COMPARISONS, TRIALS = 300, 12
"""Of base with base in all, and of a slowdown that must be found, per workload."""

SECONDS = 60.0
"""A comparison's own limit: what is not decided by then is inconclusive."""

QUIET, NEIGHBOUR = "as found", "noisy neighbour"
CONDITIONS = (QUIET, NEIGHBOUR)


@dataclass(frozen=True)
class Workload:
    """A cell, the backend that is the base, the backends that do more work by how much more, and
    its share of the A/A comparisons.
    """

    name: str
    cell: str
    base: str
    more: Mapping[float, str]
    share: float


def _more(name: str) -> dict[float, str]:
    return {(count - 100) / 100: f"{name}-x{count}" for count in workloads.REPEATS[1:]}


WORKLOADS = (
    Workload(
        "GEMM 128, numpy, 1 thread",
        "digits_cnn-gemm-x100-fp32-cpu-b1-t1",
        "gemm-x100",
        _more("gemm"),
        0.34,
    ),
    Workload(
        "copy of 100 MiB, numpy, 1 thread",
        "digits_cnn-memory-x100-fp32-cpu-b1-t1",
        "memory-x100",
        _more("memory"),
        0.15,
    ),
    Workload(
        "digits CNN x 100, ONNX Runtime, 1 thread",
        "digits_cnn-ort-x100-fp32-cpu-b1-t1",
        "ort-x100",
        _more("ort"),
        0.30,
    ),
    Workload(
        "MobileNetV3-Small, ONNX Runtime, all threads",
        "mobilenet_v3_small-ort-fp32-cpu-b1",
        "ort",
        {},
        0.16,
    ),
    Workload(
        "MobileNetV3-Small, torch eager, all threads",
        "mobilenet_v3_small-torch-eager-fp32-cpu-b1",
        "torch-eager",
        {},
        0.05,
    ),
)

NOISE = """
import os, random, time
import numpy as np
lot = random.Random(os.getpid())
block = np.ones(1 << 24)
while os.getppid() == int(os.environ["PARENT"]):
    end = time.monotonic() + lot.uniform(0.2, 2)
    if lot.random() < 0.5:
        while time.monotonic() < end:
            pass
    else:
        while time.monotonic() < end:
            block[:] = block[::-1]
    time.sleep(lot.uniform(0.2, 2))
"""
"""The neighbour: by turns it spins, moves 128 MiB through the memory, and rests, each for up to two
seconds.
"""


@contextlib.contextmanager
def condition(name: str) -> Iterator[None]:
    """The machine as it is, or with one busy process beside."""
    if name == QUIET:
        yield
        return
    process = subprocess.Popen(
        [sys.executable, "-c", NOISE],
        env={**os.environ, "PARENT": str(os.getpid()), "OMP_NUM_THREADS": "1"},
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Kind:
    """One sort of comparison, and how many are wanted. `effect` 0 is A/A."""

    workload: Workload
    condition: str
    effect: float
    wanted: int

    @property
    def key(self) -> tuple[str, str, float]:
        return self.workload.name, self.condition, self.effect


POWERS = ((QUIET, 0.02, 0.5), (QUIET, 0.05, 1.0), (QUIET, 0.1, 0.5), (NEIGHBOUR, 0.1, 1.0))
"""What slowdowns are tried in which condition, and what share of the trials each gets: all where
something is promised.
"""


def kinds(comparisons: int, trials: int) -> list[Kind]:
    """A/A of every workload, `comparisons` in all, half in each condition; and up to `trials` of
    each power and workload.
    """
    half = comparisons / len(CONDITIONS)
    found = [
        Kind(workload, name, 0.0, math.ceil(half * workload.share))
        for name in CONDITIONS
        for workload in WORKLOADS
    ]
    powers = [(name, effect, math.ceil(trials * share)) for name, effect, share in POWERS]
    return found + [
        Kind(workload, name, effect, count)
        for name, effect, count in powers
        for workload in WORKLOADS
        if workload.more
    ]


def head_of(kind: Kind) -> str:
    """The backend of the head: the base's own for A/A."""
    return kind.workload.more[kind.effect] if kind.effect else kind.workload.base


class Bench:
    """Takes comparisons. What a side was prepared is kept over all of them."""

    def __init__(self) -> None:
        self.prepared: dict[tuple[str, str], Mapping[str, Any]] = {}

    def take(self, kind: Kind, seed: int) -> dict[str, Any]:
        """One comparison, as a line of the record. Raises UsageError where a side fails."""
        sides = [Side("base", Change(kind.workload.base)), Side("head", Change(head_of(kind)))]
        session = PairedSession(sides[0], sides[1], WORDS, {}, RULE, PLANS["quick"], seed, SECONDS)
        made = [self._prepared(session, side, kind.workload.cell) for side in sides]
        workload = kind.workload
        pairing = Pairing(
            workload.name,
            workload.cell,
            (sides[0], sides[1]),
            (made[0], made[1]),
            margin=RULE.margin,
        )
        begin = time.monotonic()
        with condition(kind.condition):
            (result,) = session.measure([pairing])
        if pairing.failure:
            raise UsageError(f"{workload.name}: {pairing.failure}")
        return {
            **line_of(kind, result),
            "seed": seed,
            "seconds": round(time.monotonic() - begin, 1),
            **facts(),
        }

    def _prepared(self, session: PairedSession, side: Side, cell: str) -> Mapping[str, Any]:
        key = (cell, side.change.backend)
        if key not in self.prepared:
            self.prepared[key] = session.prepare(side, cell)
        return self.prepared[key]


def line_of(kind: Kind, result: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a comparison: verdicts, pairs, and what other tools say of the same laps in
    either direction.
    """
    samples = [[pair["times_ns"][side] for pair in result["pairs"]] for side in (0, 1)]
    latency = result["metrics"][LATENCY]
    return {
        "workload": kind.workload.name,
        "condition": kind.condition,
        "effect": kind.effect,
        "verdicts": {name: metric["verdict"] for name, metric in result["metrics"].items()},
        "ratio": round(latency["screen"]["ratio"], 5),
        "interval": [round(latency["screen"]["low"], 5), round(latency["screen"]["high"], 5)],
        "log_ratios": [round(pair["log_ratios"][LATENCY], 6) for pair in result["pairs"]],
        "confirmation": [round(pair["log_ratios"][LATENCY], 6) for pair in result["confirmation"]],
        "level_ns": round(median([median(times) for times in samples[0]])),
        "others": {
            name: [rule(samples[0], samples[1]), rule(samples[1], samples[0])]
            for name, rule in RULES.items()
        },
    }


def facts() -> dict[str, Any]:
    """Machine and versions, as they stand beside the tables."""
    found = system_info.describe(("numpy", "onnxruntime", "torch"))
    versions = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    machine_words = (
        f"{found['cpu']}, {cpu.cores()} cores, Python {platform.python_version()}, {versions}"
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine_words,
        "load": round(os.getloadavg()[0], 1),
    }


def progress(line: Mapping[str, Any]) -> str:
    """A comparison as text."""
    return (
        f"{line['workload']}, {line['condition']}, {line['effect']:+.0%}: "
        f"{line['verdicts'][LATENCY]} ({line['ratio']:.3f}, {len(line['log_ratios'])} pairs, "
        f"{line['seconds']:.0f} s)"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    from tests.performance import gate_tables

    parser = bench_record.parser("tests.performance.bench_gate", __doc__, RECORD)
    parser.add_argument(
        "--comparisons",
        type=int,
        default=COMPARISONS,
        help="of base with base, half in each condition (%(default)s)",
    )
    parser.add_argument(
        "--trials",
        type=int,
        default=TRIALS,
        help="of a slowdown that must be found (%(default)s); of others half",
    )
    options = parser.parse_args(arguments)
    os.environ["EVENBENCH_BACKENDS"] = workloads.BACKENDS
    os.chdir(ROOT)
    wanted = kinds(options.comparisons, options.trials)
    bench_record.fill(options.record, wanted, options.minutes, Bench().take, progress)
    lines = gate_tables.judged(bench_record.read(options.record))
    if options.record == RECORD:
        gate_tables.write(lines)
    print(gate_tables.everything(lines))
    return 1 if gate_tables.alarms(lines) else 0


if __name__ == "__main__":
    bench_record.run("make aa", main)

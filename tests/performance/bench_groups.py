"""How often a run calls identical cells different on a real machine, and what difference it finds;
`make aa-run`.

A group has four cells of one backend under different names, on one artifact. `harness.runner`
measures it as `evenbench run` does: three sweeps of fresh processes, and more until the half-widths
that matter are at most 3 %. In some groups the last cell repeats its work more often than the
others. Groups take turns over workloads and conditions, so
that a change of the machine meets all. Each is appended to a file when it is done; the command
goes on where it was stopped, and writes the tables of docs/explanation/statistics.md from that
file.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evenbench.harness.core.cases import Entry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.types import Cell
from evenbench.harness.runner.schedule import Run
from tests.performance import bench_record, group_records, workloads
from tests.performance.bench_gate import CONDITIONS, ROOT, condition, facts

RECORD = ROOT / "docs" / "data" / "groups.jsonl"
PLAN = replace(PLANS["default"], most_rounds=12, most_processes=6, peak_seconds=0.0)
"""The default plan with shorter sweeps and fewer of them, and without the kernels for the machine's
peaks: a group costs about a third.
"""

GROUPS, TRIALS = 200, 4
"""Groups of identical cells in all, and groups of each kind with more work."""

EFFECTS = (0.02, 0.05, 0.1, 0.3)


@dataclass(frozen=True)
class Workload:
    """A kind of work with its registered names, and its share of the identical groups."""

    name: str
    kind: str
    share: float

    @property
    def identical(self) -> list[str]:
        """The names of the same backend."""
        return [f"{self.kind}-{member}" for member in workloads.MEMBERS]

    def more(self, effect: float) -> str:
        """The name of the backend with more work."""
        return f"{self.kind}-x{round(100 * (1 + effect))}"


WORKLOADS = (
    Workload("GEMM 128, numpy, 1 thread", "gemm", 0.4),
    Workload("copy of 100 MiB, numpy, 1 thread", "memory", 0.2),
    Workload("digits CNN x 100, ONNX Runtime, 1 thread", "ort", 0.4),
)


@dataclass(frozen=True)
class Kind:
    """One sort of group, and how many are wanted. `effect` 0 is all cells identical."""

    workload: Workload
    condition: str
    effect: float
    wanted: int

    @property
    def key(self) -> tuple[str, str, float]:
        return self.workload.name, self.condition, self.effect

    @property
    def backends(self) -> list[str]:
        """The names of the group's cells, the one with more work last."""
        names = self.workload.identical
        return [*names[:-1], self.workload.more(self.effect)] if self.effect else names


def kinds(groups: int, trials: int) -> list[Kind]:
    """Identical groups, `groups` in all, half in each condition; and `trials` of each effect."""
    half = groups / len(CONDITIONS)
    return [
        Kind(workload, name, effect, trials if effect else math.ceil(half * workload.share))
        for effect in (0.0, *EFFECTS)
        for name in CONDITIONS
        for workload in WORKLOADS
    ]


def cell_of(backend: str) -> Cell:
    """The cell of a registered name."""
    return Cell(workloads.DIGITS, backend, threads=1, default_threads=False)


def take(kind: Kind, seed: int) -> dict[str, Any]:
    """Measure one group; returns a line of the record. Raises UsageError where a cell fails."""
    entries = [Entry(cell_of(backend)) for backend in kind.backends]
    with tempfile.TemporaryDirectory() as folder, condition(kind.condition):
        begin = time.monotonic()
        run = Run(entries, PLAN, Path(folder), seed)
        lines = dict(zip(kind.backends, run.measure(entries), strict=True))
        seconds = time.monotonic() - begin
        run.finish()
    for backend, line in lines.items():
        if line["outcome"] != "ok":
            raise UsageError(f"{backend}: {line['outcome']}: {line['reason']}")
    return line_of(kind, lines, seed, seconds)


def line_of(
    kind: Kind, lines: Mapping[str, Mapping[str, Any]], seed: int, seconds: float
) -> dict[str, Any]:
    """What is kept of a group: its blocks, and in short what both rules say of them."""
    line = {
        "workload": kind.workload.name,
        "condition": kind.condition,
        "effect": kind.effect,
        "more": kind.backends[-1] if kind.effect else "",
        "seed": seed,
        "seconds": round(seconds, 1),
        "sweeps": max(len(line["samples_ns"]["compute"]) for line in lines.values()),
        **facts(),
        **group_records.packed(lines),
    }
    return {**line, "said": group_records.said(line)}


def progress(line: Mapping[str, Any]) -> str:
    """A measured group as text."""
    pairs = group_records.present([line])[0]
    words = Counter(pair.word for pair in pairs)
    widest = max(pair.half_width for pair in pairs)
    counts = ", ".join(f"{count} {word}" for word, count in words.items())
    half = f"±{100 * math.expm1(widest):.1f} %" if math.isfinite(widest) else "unknown"
    return (
        f"{line['workload']}, {line['condition']}, {line['effect']:+.0%}: {counts} (widest {half}, "
        f"{line['sweeps']} sweeps, {line['seconds']:.0f} s)"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    from tests.performance import group_tables

    parser = bench_record.parser("tests.performance.bench_groups", __doc__, RECORD)
    parser.add_argument(
        "--groups",
        type=int,
        default=GROUPS,
        help="of identical cells, half in each condition (%(default)s)",
    )
    parser.add_argument(
        "--trials",
        type=int,
        default=TRIALS,
        help="groups with more work, per workload, condition and amount of work (%(default)s)",
    )
    options = parser.parse_args(arguments)
    os.environ["EVENBENCH_BACKENDS"] = workloads.GROUP_BACKENDS
    os.chdir(ROOT)
    wanted = kinds(options.groups, options.trials)
    bench_record.fill(options.record, wanted, options.minutes, take, progress)
    lines = bench_record.read(options.record)
    if options.record.resolve() == RECORD:
        group_tables.write(lines)
    print(group_tables.everything(lines))
    return 1 if group_tables.is_alarm(lines) else 0


if __name__ == "__main__":
    bench_record.run("make aa-run", main)

"""What a wake-up costs, and whether turns bias a ratio: a study for
docs/explanation/design/measurement.md.

    python -m tests.performance.wake_up [--repetitions N]

First table: the time of the n-th lap after a wake-up, over the level of the process. Second table:
the ratio of two runtimes with one process at a time (alone), and with both resident in turns.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from benchmarks.models import DIGITS_CNN, RESNET18
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.types import Cell
from evenbench.harness.environment import cpu
from evenbench.harness.runner.job import Job, Measurement, Reply
from evenbench.harness.runner.launcher import Worker
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.statistics.estimates import level

RUNTIMES = ("torch-eager", "ort", "openvino")
LAPS = 12
"""Laps after a wake-up."""

BLOCK_NS = 20_000_000


class Bench:
    """Prepared cells of a model, and processes of them."""

    def __init__(self, model: Any) -> None:
        self.plan = PLANS["default"]
        self.preparer = Preparer(self.plan.timeout_seconds)
        self.cells = {name: Cell(model, name, threads=cpu.cores()) for name in RUNTIMES}
        self.prepared = {name: self.preparer.prepare(cell) for name, cell in self.cells.items()}

    def start(self, name: str, stack: ExitStack) -> Worker:
        """A loaded, warm and stopped process."""
        folders = self.prepared[name].folders()
        job = Job("measure", self.cells[name], Measurement(self.plan), folders=folders)
        worker = stack.enter_context(self.preparer.start(job))
        ready = worker.ask()
        assert not isinstance(ready, Reply), ready.reason
        worker.process.stop()
        return worker


def laps(worker: Worker, number: int, untimed: int = 1) -> list[int]:
    """Wake the process for `number` timed laps, in ns."""
    worker.process.go()
    sample = worker.ask({"do": "sample", "number": number, "untimed": untimed})
    worker.process.stop()
    assert not isinstance(sample, Reply), sample.reason
    return list(sample["laps_ns"])


def wake_ups(bench: Bench, rounds: int) -> Mapping[str, list[float]]:
    """By runtime, the median time of each lap after a wake-up over the level of late laps."""
    taken: dict[str, list[list[int]]] = {name: [] for name in RUNTIMES}
    with ExitStack() as stack:
        workers = {name: bench.start(name, stack) for name in RUNTIMES}
        for _ in range(rounds):
            for name, worker in workers.items():
                taken[name].append(laps(worker, LAPS, untimed=0))
    curves = {}
    for name, turns in taken.items():
        base = statistics.median(lap for turn in turns for lap in turn[LAPS // 2 :])
        curves[name] = [
            statistics.median(turn[index] for turn in turns) / base for index in range(LAPS)
        ]
    return curves


def alone(bench: Bench, name: str, blocks: int) -> float:
    """The level of a process without another resident process: median of block medians, in ns."""
    with ExitStack() as stack:
        worker = bench.start(name, stack)
        return blocks_of(worker, blocks)


def blocks_of(worker: Worker, blocks: int) -> float:
    number = max(1, int(BLOCK_NS / statistics.median(laps(worker, 5))))
    return statistics.median(statistics.median(laps(worker, number)) for _ in range(blocks))


def in_turns(bench: Bench, pair: Sequence[str], blocks: int) -> float:
    """The log ratio of two resident processes that take blocks in turn: median over rounds."""
    with ExitStack() as stack:
        first, second = (bench.start(name, stack) for name in pair)
        numbers = [
            max(1, int(BLOCK_NS / statistics.median(laps(worker, 5)))) for worker in (first, second)
        ]
        logs = []
        for _ in range(blocks):
            times = [
                statistics.median(laps(worker, number))
                for worker, number in zip((first, second), numbers, strict=True)
            ]
            logs.append(math.log(times[0] / times[1]))
        return statistics.median(logs)


def bias(bench: Bench, pair: Sequence[str], repetitions: int, blocks: int) -> tuple[Any, Any]:
    """Ratio of the pair alone and in turns, both with 95 % intervals over repetitions.

    Both ways are taken in random order within a repetition, so that drift hits both.
    """
    chance = random.Random(0)
    apart, together = [], []
    for _ in range(repetitions):
        for way in chance.sample(("alone", "turns"), 2):
            if way == "alone":
                times = {name: alone(bench, name, blocks) for name in chance.sample(pair, 2)}
                apart.append(times[pair[0]] / times[pair[1]])
            else:
                together.append(math.exp(in_turns(bench, pair, blocks)))
    return level(apart), level(together)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    for model in (DIGITS_CNN, RESNET18):
        bench = Bench(replace(model))
        print(f"\n{model.name}\n")
        print("| lap after wake-up |" + "".join(f" {index + 1} |" for index in range(LAPS)))
        print("|---|" + "---|" * LAPS)
        for name, curve in wake_ups(bench, options.rounds).items():
            print(f"| {name} |" + "".join(f" {value:.3f} |" for value in curve), flush=True)
        print("\n| ratio | alone | in turns |\n|---|---|---|")
        for pair in (("torch-eager", "ort"), ("openvino", "ort")):
            ways = bias(bench, pair, options.repetitions, 25)
            shown = [f"{way.value:.4f} ({way.low:.4f} to {way.high:.4f})" for way in ways]
            print(f"| {pair[0]} over {pair[1]} | {shown[0]} | {shown[1]} |", flush=True)


if __name__ == "__main__":
    main()

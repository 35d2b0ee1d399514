"""One process of another tool's way to measure: load a prepared artifact, and time inferences.

Only the way of timing is the tool's. The artifact, the inputs, the session and the number of
threads are those of evenbench, so that a difference between ways is one of method.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import models
from evenbench.harness.core import registry
from evenbench.harness.core.session import Session
from evenbench.harness.core.types import Cell
from evenbench.harness.environment import cpu
from evenbench.harness.inputs import batches

SPEC = "PEER_CELL"
"""The variable with the cell and its folders, as JSON."""

WARM_UPS = 10
"""Untimed inferences of optimum-benchmark (`warmup_runs`), and of the bare script."""

OPTIMUM_RUNS, OPTIMUM_SECONDS = 10, 10.0
"""optimum-benchmark's `iterations` and `duration`: it times until both are reached."""

SCRIPT_RUNS = 50
"""Timed inferences of the bare script."""


def cell_of(model: str, backend: str) -> Cell:
    """The cell at fp32, on all cores."""
    declared = {"resnet18": models.RESNET18, "digits_cnn": models.DIGITS_CNN}
    return Cell(declared[model], backend, threads=cpu.cores())


def session(spec: Mapping[str, Any]) -> Session:
    """The loaded network, with the first batch bound."""
    cell = cell_of(spec["model"], spec["backend"])
    loaded = registry.find(cell.backend).load(Path(spec["artifact"]), cell)
    loaded.bind(batches.load(Path(spec["inputs"]), cell.model)[0])
    return loaded


def from_environment() -> Session:
    """The session of the variable `SPEC`."""
    return session(json.loads(os.environ[SPEC]))


def mean_seconds(
    run: Callable[[], None],
    runs: int,
    seconds: float = 0.0,
    now: Callable[[], float] = time.perf_counter,
) -> float:
    """The mean time of a call, of at least `runs` calls that took `seconds` together."""
    for _ in range(WARM_UPS):
        run()
    times: list[float] = []
    total = 0.0
    while len(times) < runs or total < seconds:
        begin = now()
        run()
        times.append(now() - begin)
        total += times[-1]
    return total / len(times)


def main() -> None:
    """Print the mean time of an inference in seconds, by the way of timing that is named."""
    loaded = from_environment()

    def infer() -> None:
        loaded.step()
        loaded.sync()

    limits = {"optimum": (OPTIMUM_RUNS, OPTIMUM_SECONDS), "script": (SCRIPT_RUNS, 0.0)}
    print(mean_seconds(infer, *limits[sys.argv[1]]))
    loaded.close()


if __name__ == "__main__":
    main()

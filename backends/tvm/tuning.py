"""MetaSchedule tuning of one program into a database that a later compilation applies."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from backends.tvm import compilation, tuning_database
from harness import Cell, Source

MOST_PER_ITERATION = 16
"""Trials of one task that are built and run together at most; fewer where every task could not have
its turn twice.
"""

SECONDS_PER_TRIAL = 20.0
"""A candidate that runs longer is a failed trial."""


def tune(source: Source, cell: Cell, database: Path, per_task: int) -> dict[str, Any]:
    """Add trials until there are `per_task` for every task on average; what is recorded already
    counts.

    Each batch of trials is on disk when it is done, so that a killed tuner loses no other. Returns
    `facts`. Raises UsageError where another tuner has the database.
    """
    compilation.import_cpu_intrinsics()
    target = compilation.target_for(cell)
    ir = compilation.import_model(source, cell, target)
    tasks = compilation.tuning_tasks(ir, target)
    with tuning_database.lock_for_writing(database):
        wanted = per_task * len(tasks)
        missing = wanted - tuning_database.recorded_trials(database)
        if missing > 0:
            begin = time.perf_counter()
            tuning_database.record_start(database, wanted)
            _search(ir, target, database, missing, len(tasks))
            tuning_database.record_end(database, time.perf_counter() - begin)
        return facts(database, tasks, target)


def _search(ir: Any, target: Any, database: Path, trials: int, tasks: int) -> None:
    from tvm.s_tir import meta_schedule
    from tvm.s_tir.meta_schedule.relax_integration import tune_relax

    held = tuning_database.open_database(database)
    tune_relax(
        ir,
        {},
        target,
        str(database),
        max_trials_global=trials,
        num_trials_per_iter=max(1, min(MOST_PER_ITERATION, trials // (2 * tasks))),
        builder=builder(),
        runner=runner(meta_schedule),
        database=held,
        strategy=meta_schedule.search_strategy.EvolutionarySearch(
            population_size=64, init_min_unmeasured=16, genetic_num_iters=2
        ),
        cost_model=meta_schedule.cost_model.XGBModel(num_warmup_samples=32),
        seed=len(held),  # another one than before, or the same candidates would be drawn again
    )


def facts(database: Path, tasks: Any, target: Any) -> dict[str, Any]:
    """What a result says of its tuning: tasks, trials, seconds, and the estimated latency against
    trials.
    """
    coverage = tuning_database.Coverage.of(database, tasks)
    return {
        "tasks": len(tasks),
        "tasks_without_record": len(tasks) - len(coverage.measured(database)),
        "trials": tuning_database.recorded_trials(database),
        "seconds": tuning_database.tuning_seconds(database),
        "target": str(target),
        "curve_us": coverage.curve_us(database),
    }


def runner(meta_schedule: Any) -> Any:
    """Runs candidates in processes of their own, so that one that crashes or hangs is a failed
    trial.
    """
    return meta_schedule.runner.LocalRunner(
        timeout_sec=SECONDS_PER_TRIAL,
        evaluator_config=meta_schedule.runner.EvaluatorConfig(number=3, repeat=1, min_repeat_ms=30),
        initializer=compilation.import_cpu_intrinsics,
    )


def builder() -> Any:
    """Builds candidates in this process: MetaSchedule's own builder starts new processes for each
    batch, and each imports for long.
    """
    from tvm.ir.utils import derived_object
    from tvm.s_tir.meta_schedule.builder import BuilderResult, PyBuilder
    from tvm.s_tir.meta_schedule.builder.local_builder import default_build, default_export

    @derived_object
    class InProcess(PyBuilder):  # type: ignore[misc]
        """One candidate after another."""

        def build(self, build_inputs: list[Any]) -> list[Any]:
            results = []
            for given in build_inputs:
                try:
                    results.append(
                        BuilderResult(
                            default_export(default_build(given.mod, given.target, None)), None
                        )
                    )
                except Exception as error:
                    results.append(BuilderResult(None, f"{type(error).__name__}: {error}"[:1000]))
            return results

    return InProcess()

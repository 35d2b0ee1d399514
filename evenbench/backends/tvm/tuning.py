"""MetaSchedule tuning of a program into a database for later compilations."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from evenbench.backends.tvm import compilation, tuning_database
from evenbench.harness import Cell, Source

MOST_PER_ITERATION = 16
"""Maximum of trials per batch and task; fewer if some task would otherwise get only one turn."""

SECONDS_PER_TRIAL = 20.0
"""Time limit of a trial; slower candidates fail."""


def tune(source: Source, cell: Cell, database: Path, per_task: int) -> dict[str, Any]:
    """Add trials up to an average of `per_task` per task, counting recorded trials.

    Each finished batch of trials is on disk, so a killed tuner loses only the last batch. Returns
    `facts`. Raises UsageError while another tuner holds the database.
    """
    compilation.import_cpu_intrinsics()
    target = compilation.target_for(cell)
    ir = compilation.import_model(source, cell, target)
    tasks = compilation.tuning_tasks(ir, target)
    with tuning_database.lock_for_writing(database):
        total = per_task * len(tasks)
        remaining = total - tuning_database.recorded_trials(database)
        if remaining > 0:
            begin = time.perf_counter()
            tuning_database.record_start(database, total)
            _search(ir, target, database, remaining, len(tasks))
            tuning_database.record_end(database, time.perf_counter() - begin)
        return facts(database, tasks, target)


def _search(ir: Any, target: Any, database: Path, trials: int, tasks: int) -> None:
    from tvm.s_tir import meta_schedule
    from tvm.s_tir.meta_schedule.relax_integration import tune_relax

    records = tuning_database.open_database(database)
    # A new seed for each search, so that candidates differ from earlier searches.
    tune_relax(
        ir,
        {},
        target,
        str(database),
        max_trials_global=trials,
        num_trials_per_iter=max(1, min(MOST_PER_ITERATION, trials // (2 * tasks))),
        builder=builder(),
        runner=runner(meta_schedule),
        database=records,
        strategy=meta_schedule.search_strategy.EvolutionarySearch(
            population_size=64, init_min_unmeasured=16, genetic_num_iters=2
        ),
        cost_model=meta_schedule.cost_model.XGBModel(num_warmup_samples=32),
        seed=len(records),
    )


def facts(database: Path, tasks: Any, target: Any) -> dict[str, Any]:
    """Return a record of the tuning: tasks, trials, seconds, and estimated latency by trial."""
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
    """Return a runner with one process per candidate: a crash or hang is a failed trial."""
    return meta_schedule.runner.LocalRunner(
        timeout_sec=SECONDS_PER_TRIAL,
        evaluator_config=meta_schedule.runner.EvaluatorConfig(number=3, repeat=1, min_repeat_ms=30),
        initializer=compilation.import_cpu_intrinsics,
    )


def builder() -> Any:
    """Return a builder in this process: MetaSchedule's builder starts slow processes per batch."""
    from tvm.ir.utils import derived_object
    from tvm.s_tir.meta_schedule.builder import BuilderResult, PyBuilder
    from tvm.s_tir.meta_schedule.builder.local_builder import default_build, default_export

    @derived_object
    class InProcess(PyBuilder):  # type: ignore[misc]
        """Builds candidates in sequence."""

        def build(self, build_inputs: list[Any]) -> list[Any]:
            results = []
            for candidate in build_inputs:
                try:
                    results.append(
                        BuilderResult(
                            default_export(default_build(candidate.mod, candidate.target, None)),
                            None,
                        )
                    )
                except Exception as error:
                    results.append(BuilderResult(None, f"{type(error).__name__}: {error}"[:1000]))
            return results

    return InProcess()

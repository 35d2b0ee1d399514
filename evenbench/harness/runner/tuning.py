"""Runs the tuners of backends that search for faster schedules."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from evenbench.harness.core import quantities, registry
from evenbench.harness.core.backend import Tunable
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Cell
from evenbench.harness.environment import measurement_lock
from evenbench.harness.runner import record_parts
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Refusal

if TYPE_CHECKING:
    from rich.console import Console

LOOK_SECONDS = 2.0
"""The time between updates of the number of recorded trials."""

QUIET_LOOKS = 30
"""The number of updates per printed line, without a terminal."""


def cells_of(entries: Sequence[Entry]) -> list[Cell]:
    """The cells of `entries` with a tunable backend. Raises UsageError if no cell is tunable."""
    cells = [
        entry.cell for entry in entries if isinstance(registry.find(entry.cell.backend), Tunable)
    ]
    if not cells:
        names = ", ".join(sorted({entry.cell.backend for entry in entries}))
        tunable = " or ".join(registry.tunables()) or "another backend"
        raise UsageError(f"nothing to tune among cells of {names}; name cells of {tunable}")
    return cells


def run(
    cells: Sequence[Cell], per_task: int, timeout_seconds: float, console: Console
) -> list[dict[str, Any]]:
    """Tune cells in sequence; returns a result per cell. Recorded trials are never lost.

    Raises UsageError if `per_task` is less than 1, or another measurement is running.
    """
    if per_task < 1:
        raise UsageError(f"--trials {per_task}: expected one or more for each task")
    preparer = Preparer(timeout_seconds)
    with measurement_lock.alone():
        return [_tune(preparer, cell, per_task, console) for cell in cells]


def _tune(preparer: Preparer, cell: Cell, per_task: int, console: Console) -> dict[str, Any]:
    backend = registry.tunable(cell.backend)
    before, _ = backend.trials(cell)
    try:
        with _status(lambda: progress(cell, *backend.trials(cell)), console):
            reply = preparer.tune(cell, per_task)
    except Refusal as refusal:
        reply = refusal.reply
    after, _ = backend.trials(cell)
    result = {
        "id": cell.id,
        "key": cell.key,
        "before": before,
        "trials": after,
        "seconds": reply.wall_seconds,
        **record_parts.ending(reply),
        "facts": dict(reply.value or {}),
    }
    console.print(summary(result), soft_wrap=True, markup=False)
    return result


def progress(cell: Cell, trials: int, total: int) -> str:
    """The number of trials so far; `total` grows when the tuner knows the tasks."""
    known = f"{trials} of " if total > trials else ""
    return f"{cell.id}: {known}{quantities.count(max(trials, total), 'trial')}"


def summary(result: dict[str, Any]) -> str:
    """A cell's result as a line of text."""
    added = result["trials"] - result["before"]
    trials = f"{result['id']}: {quantities.count(result['trials'], 'trial')}, {added} of them new"
    if result["outcome"] == "ok":
        return trials + _success(result["facts"])
    resume = "; recorded trials are kept, and the same command resumes"
    hint = resume if result["outcome"] == "failed" else ""
    return f"{trials}; {result['outcome']} in {result['phase']}: {result['reason']}{hint}"


def _success(facts: dict[str, Any]) -> str:
    """The seconds of tuning, the first and last estimate, and the tasks without a record."""
    estimate = ""
    if curve := facts.get("curve_us"):
        (count, first), (_, last) = curve[0], curve[-1]
        trials = quantities.count(count, "trial")
        estimate = f", estimated {first:.0f} µs at {trials} and {last:.0f} µs now"
    missing = facts.get("tasks_without_record", 0)
    without = f", {missing} of {facts['tasks']} tasks without a record" if missing else ""
    return f", {facts.get('seconds', 0.0):.0f} s of tuning in all{estimate}{without}"


@contextmanager
def _status(text: Callable[[], str], console: Console) -> Iterator[None]:
    """Show `text` during the block: on a terminal continuously, otherwise once a minute."""
    done = threading.Event()
    with console.status(text()) as status:

        def watch() -> None:
            looks, last = 0, ""
            while not done.wait(LOOK_SECONDS):
                looks += 1
                status.update(text())
                if not console.is_interactive and looks % QUIET_LOOKS == 0 and text() != last:
                    last = text()
                    console.print(last, soft_wrap=True, markup=False)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

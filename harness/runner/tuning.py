"""Runs the tuners of cells whose backend searches for faster schedules."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.core import registry
from harness.core.backend import Tunable
from harness.core.cases import Entry
from harness.core.errors import UsageError
from harness.core.types import Cell
from harness.environment import measurement_lock
from harness.runner.preparation import Preparer
from harness.runner.prepared import Refusal

if TYPE_CHECKING:
    from rich.console import Console

LOOK_SECONDS = 2.0
"""Between two looks at how many trials are recorded."""

QUIET_LOOKS = 30
"""Without a terminal, only every so many looks are told."""


def cells_of(entries: Sequence[Entry]) -> list[Cell]:
    """The cells among `entries` whose backend can be tuned. Raises UsageError where there is none."""
    found = [
        entry.cell for entry in entries if isinstance(registry.find(entry.cell.backend), Tunable)
    ]
    if not found:
        names = ", ".join(sorted({entry.cell.backend for entry in entries}))
        raise UsageError(
            f"nothing to tune among cells of {names}; name cells of {' or '.join(registry.tunables()) or 'another backend'}"
        )
    return found


def run(
    cells: Sequence[Cell], per_task: int, timeout_seconds: float, console: Console
) -> list[dict[str, Any]]:
    """Tune one cell after another; one result each, in words where it failed. Trials recorded so
    far are never lost.

    Raises UsageError for less than one trial per task, and while something is being measured.
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
        with _told(lambda: in_progress(cell, *backend.trials(cell)), console):
            reply = preparer.tune(cell, per_task)
    except Refusal as refusal:
        reply = refusal.reply
    after, _ = backend.trials(cell)
    made = {
        "id": cell.id,
        "key": cell.key,
        "before": before,
        "trials": after,
        "seconds": reply.wall_seconds,
    }
    ended = {
        "outcome": reply.outcome,
        "phase": reply.phase,
        "signal": reply.signal,
        "reason": reply.reason,
        "traceback": reply.traceback,
    }
    result = {**made, **ended, "facts": dict(reply.value or {})}
    console.print(in_words(result), soft_wrap=True, markup=False)
    return result


def in_progress(cell: Cell, trials: int, wanted: int) -> str:
    """What a person sees meanwhile; the number that is wanted is known when the tuner has found the
    tasks.
    """
    return (
        f"{cell.id}: {trials} of {wanted} trials"
        if wanted > trials
        else f"{cell.id}: {trials} trials"
    )


def in_words(result: dict[str, Any]) -> str:
    """One line on what came of a cell."""
    told = f"{result['id']}: {result['trials']} trials, {result['trials'] - result['before']} of them new"
    if result["outcome"] != "ok":
        goes_on = (
            "; what is recorded stays, and the same command goes on"
            if result["outcome"] == "failed"
            else ""
        )
        return f"{told}; {result['outcome']} in {result['phase']}: {result['reason']}{goes_on}"
    facts = result["facts"]
    curve = facts.get("curve_us") or []
    estimate = (
        f", estimated {curve[0][1]:.0f} µs at {curve[0][0]} trials and {curve[-1][1]:.0f} µs now"
        if curve
        else ""
    )
    missing = facts.get("tasks_without_record", 0)
    without = f", {missing} of {facts['tasks']} tasks without a record" if missing else ""
    return f"{told}, {facts.get('seconds', 0.0):.0f} s of tuning in all{estimate}{without}"


@contextmanager
def _told(words: Callable[[], str], console: Console) -> Iterator[None]:
    """Show `words` while something goes on: a line that changes on a terminal, one a minute
    elsewhere.
    """
    done = threading.Event()
    with console.status(words()) as status:

        def watch() -> None:
            looks, last = 0, ""
            while not done.wait(LOOK_SECONDS):
                looks += 1
                status.update(words())
                if not console.is_terminal and looks % QUIET_LOOKS == 0 and words() != last:
                    last = words()
                    console.print(last, soft_wrap=True, markup=False)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

"""Progress on standard error: outcomes, the current step and the remaining time.

No timer wakes this process up while another process is being timed: the display changes with
events of the schedule only. A clock runs while cells are prepared.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from evenbench.harness.commands.console import StatusLine
from evenbench.harness.core import artifact_store, quantities
from evenbench.harness.core.errors import StoreError
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import COMPUTE
from evenbench.harness.environment import git_command
from evenbench.harness.results.records import Record
from evenbench.harness.runner import journal
from evenbench.harness.runner.schedule import Event, Run

if TYPE_CHECKING:
    from rich.console import Console

    from evenbench.harness.comparison.session import Progress as PairProgress

PREPARING = ("prepare", "environment", "inputs", "calibration", "weights", "artifacts", "goldens")
"""The kinds of events while a cell is prepared."""

DOING = {"outcome": "", "measure": "measure", "round": "measure"}
"""The kind of step in progress after an event; `prepare` after any other."""

KNOWN_SHARE = 1 / 3
"""The share of prepared cells from which on the remaining time is estimated."""

STYLES = {"ok": "green", "mismatch": "bold red", "fallback": "yellow", "failed": "red"}


@contextlib.contextmanager
def listener(console: Console) -> Iterator[Callable[[PairProgress], None]]:
    """Yield the display of a paired session's progress, as a function."""
    with StatusLine(console) as status:
        status.start()

        def hear(progress: PairProgress) -> None:
            status.show(progress.text, progress.done, progress.most or None)
            status.print_seldom(progress.text)

        yield hear


class Estimate:
    """The remaining seconds of a run, from the time of steps so far.

    Preparing and measuring steps are counted separately.
    """

    def __init__(self, plan: Plan, now: Callable[[], float] = time.monotonic) -> None:
        self.processes = plan.processes
        self.now = now
        self.spent = {"prepare": 0.0, "measure": 0.0}
        self.begun = {"prepare": 0, "measure": 0}
        self.first_guess = plan.typical_seconds / plan.processes
        self._doing, self._since = "", now()

    def hear(self, event: Event) -> None:
        """Add the time since the last event to the step in progress."""
        at = self.now()
        if self._doing:
            self.spent[self._doing] += at - self._since
        if event.kind in self.begun:
            self.begun[event.kind] += 1
        self._doing = DOING.get(event.kind, "prepare")
        self._since = at

    def remaining(self, event: Event) -> float | None:
        """Return the seconds until the end; None before a third of the cells are prepared.

        The first preparations import compilers and are no measure of the others. The schedule's
        own prediction counts as soon as a sweep is known.
        """
        if event.seconds_left is not None:
            return event.seconds_left
        prepared = self.begun["prepare"] - (event.kind in PREPARING)
        cells = event.total // (1 + self.processes)
        if prepared < max(1, cells * KNOWN_SHARE):
            return None
        preparing = max(0, cells - prepared)
        measuring = max(0, event.total - event.steps - preparing)
        measured = self.begun["measure"] - (event.kind == "measure")
        per_process = self.spent["measure"] / measured if measured else self.first_guess
        return preparing * self.spent["prepare"] / prepared + measuring * per_process


def remaining_text(seconds: float | None) -> str:
    """Return `about 4 min left`, rounded as coarsely as the estimate is."""
    if seconds is None:
        return ""
    if seconds < 55:
        return f"about {max(5, round(seconds / 5) * 5)} s left"
    minutes = round(seconds / 60) or 1
    return (
        f"about {minutes} min left"
        if minutes < 60
        else f"about {minutes // 60} h {minutes % 60:02d} min left"
    )


def expected(plan: Plan, cells: int) -> str:
    """Return the time and the disk that a run is expected to take, before anything is known."""
    from evenbench.reports import formatting

    seconds = min(plan.typical_seconds * cells, plan.budget_seconds)
    taken = remaining_text(seconds).removesuffix(" left")
    try:
        root = artifact_store.root()
        nearest = next(path for path in (root, *root.parents) if path.exists())
        free = (
            f"; {formatting.size(shutil.disk_usage(nearest).free)} of disk are free for artifacts"
        )
    except (StoreError, OSError):
        free = ""
    return f"expected: {taken} of measuring, after the preparation of models and artifacts{free}"


def outcome_text(line: Record) -> str:
    """Return a cell's latency, or the reason for the absence, on a single line."""
    if line["outcome"] == "ok":
        from evenbench.reports import formatting, result_groups

        (result,) = result_groups.results([line])  # the level of the table
        return f"{formatting.latency(result.compute)} {COMPUTE}"
    phase = f"in {line['phase']}: " if line["outcome"] == "failed" else ""
    return phase + " ".join(line["reason"].split())


class Display:
    """The progress of `evenbench run`; a context manager around the run."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self.console = console
        self.estimate = Estimate(plan)
        self.plan = plan
        self.status = StatusLine(console)
        self.status.be_quiet()
        self.width = 0

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.status.stop()

    def open(self, run: Run) -> None:
        """Print the start of a new or resumed run."""
        total = len(run.entries)
        self.width = max(len(entry.cell.id) for entry in run.entries)
        if run.resumed:
            self._print(journal.opening(run.file, run.known()))
        else:
            if run.journal.changed:
                self._print(run.journal.changed)
            cells = quantities.count(total, "cell")
            self._print(
                f"run {run.file.id}: {cells}, plan {self.plan.name}, "
                f"results in {run.results_folder}/"
            )
            self._print(expected(self.plan, total))
        if reason := git_command.why_unread():
            self._print(f"the results carry no commit: {reason}")
        if outlook := run.outlook():
            self._print(outlook)
        self.status.start()

    def hear(self, event: Event) -> None:
        """Show an event of the schedule."""
        self.estimate.hear(event)
        if event.record is not None:
            self._print_outcome(event)
        step = {
            "measure": "measuring",
            "round": "measuring",
            "peaks": "measuring",
            "outcome": "",
            "environment": "making ready:",
        }.get(event.kind, "preparing")
        left = remaining_text(self.estimate.remaining(event))
        text = f"{step} {event.text}" if step else ""
        preparing = bool(step) and step != "measuring"
        self.status.show(text, event.steps, event.total, left, moving=preparing)
        if step:
            line = f"{_count(event)} {text}" + (f", {left}" if left else "")
            self.status.print_seldom(line, urgent=event.kind == "environment")

    def close_interrupted(self, run: Run) -> None:
        """Print the kept results and the way to journal."""
        self.status.stop()
        self._print(journal.interrupted(run.known()))

    def _print_outcome(self, event: Event) -> None:
        assert event.record is not None
        outcome = event.record["outcome"]
        self.status.be_quiet()
        count = "" if self.status.bar else f"{_count(event)} "
        self._print(
            f"{count}{outcome:<11}  {event.text:<{self.width}}  {outcome_text(event.record)}",
            outcome,
        )

    def _print(self, text: str, outcome: str = "") -> None:
        from rich.text import Text

        line = Text(text)
        if outcome:
            start = text.index(outcome)
            line.stylize(STYLES.get(outcome, "dim"), start, start + len(outcome))
        self.console.print(line, soft_wrap=True)


def _count(event: Event) -> str:
    return f"[{event.steps:>{len(str(event.total))}}/{event.total}]"

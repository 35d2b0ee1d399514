"""Progress on standard error: outcomes, the current step and the remaining time.

No timer wakes this process up. The display changes with events of the schedule only, so this
process sleeps while another process is being timed.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import COMPUTE
from evenbench.harness.environment import git_command
from evenbench.harness.results.records import Record
from evenbench.harness.runner import journal
from evenbench.harness.runner.schedule import Event, Run
from evenbench.harness.statistics import estimates

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from evenbench.harness.comparison.session import Progress as PairProgress

QUIET_SECONDS = 15.0
"""Least time between two plain lines on the current step, without a terminal."""

START_SECONDS = 2.0
"""First guess of a measuring process's time besides laps."""

PREPARING = ("prepare", "environment", "inputs", "calibration", "weights", "artifacts", "goldens")
"""The kinds of events while a cell is prepared."""

DOING = {"outcome": "", "measure": "measure", "round": "measure"}
"""The kind of step in progress after an event; `prepare` after any other."""

STYLES = {"ok": "green", "mismatch": "bold red", "fallback": "yellow", "failed": "red"}


class StatusLine:
    """A bar with the current step on a terminal; elsewhere a plain line now and then."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = _bar(console) if console.is_interactive else None
        self._task: Any = None
        self._last_line = -math.inf

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Show the bar."""
        if self.bar:
            self._task = self.bar.add_task("", total=None, left="")
            self.bar.start()

    def stop(self) -> None:
        """Remove the bar."""
        if self.bar:
            self.bar.stop()

    def show(self, text: str, done: int, total: int | None, left: str = "") -> None:
        """Update the bar, if any."""
        if self.bar:
            self.bar.update(
                self._task, completed=done, total=total, description=text, left=left, refresh=True
            )

    def print_seldom(self, text: str, urgent: bool = False) -> None:
        """Print a plain line without a terminal: if urgent, or after a quiet time."""
        if not self.bar and (urgent or time.monotonic() - self._last_line > QUIET_SECONDS):
            self.be_quiet()
            self.console.print(text, soft_wrap=True, markup=False)

    def be_quiet(self) -> None:
        """Start the quiet time: the user has just seen a line."""
        self._last_line = time.monotonic()


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
        self.first_guess = START_SECONDS + plan.warmup_max_seconds / 2 + 2 * plan.min_seconds
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
        """Return the seconds until the end; None before the first cell is prepared.

        The schedule's own prediction counts as soon as a sweep is known.
        """
        if event.seconds_left is not None:
            return event.seconds_left
        prepared = self.begun["prepare"] - (event.kind in PREPARING)
        if not prepared:
            return None
        preparing = max(0, event.total // (1 + self.processes) - prepared)
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


def outcome_text(line: Record) -> str:
    """Return a cell's latency, or the reason for the absence, on a single line."""
    if line["outcome"] == "ok":
        from evenbench.reports import formatting

        values = estimates.process_values(line["samples_ns"][COMPUTE])
        return f"{formatting.duration(estimates.median(values))} {COMPUTE}"
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
            cells = "1 cell" if total == 1 else f"{total} cells"
            self._print(
                f"run {run.file.id}: {cells}, plan {self.plan.name}, "
                f"results in {run.results_folder}/"
            )
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
        self.status.show(text, event.steps, event.total, left)
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


def _bar(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    now = TextColumn(
        "[dim]{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
    )
    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}", style="cyan"),
        now,
    )
    return Progress(*columns, console=console, auto_refresh=False, transient=True, expand=True)

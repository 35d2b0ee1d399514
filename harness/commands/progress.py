"""What a person sees while a run goes on: outcomes as they are known, what runs now, and about how
long the rest takes.

Nothing here wakes up by itself: the display changes only when the schedule tells of an event, so
that this process sleeps while another one is being timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from harness.core.plans import Plan
from harness.core.types import COMPUTE
from harness.results.records import Record
from harness.runner import journal
from harness.runner.schedule import Event, Run
from harness.statistics import estimates

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

QUIET_SECONDS = 15.0
"""Without a terminal, what runs now is told at most this often."""

START_SECONDS = 2.0
"""What a measuring process is taken to need besides its laps, until one has run."""

PREPARING = ("prepare", "environment", "inputs", "calibration", "weights", "artifacts", "goldens")
"""The kinds of events that tell of a cell that is being prepared."""

STYLES = {"ok": "green", "mismatch": "bold red", "fallback": "yellow", "failed": "red"}


class Estimate:
    """The seconds that a run still needs, from those its steps took: preparing a cell and measuring
    one, apart.
    """

    def __init__(self, plan: Plan, now: Callable[[], float] = time.monotonic) -> None:
        self.processes = plan.processes
        self.now = now
        self.spent = {"prepare": 0.0, "measure": 0.0}
        self.begun = {"prepare": 0, "measure": 0}
        self.first_guess = START_SECONDS + plan.warmup_max_seconds / 2 + 2 * plan.min_seconds
        self._doing, self._since = "", now()

    def hear(self, event: Event) -> None:
        """Book the time since the last event under what was being done then."""
        at = self.now()
        if self._doing:
            self.spent[self._doing] += at - self._since
        if event.kind in self.begun:
            self.begun[event.kind] += 1
        self._doing = (
            "" if event.kind == "outcome" else "measure" if event.kind == "measure" else "prepare"
        )
        self._since = at

    def remaining(self, event: Event) -> float | None:
        """Seconds until all steps are done; None before the first cell is prepared."""
        prepared = self.begun["prepare"] - (event.kind in PREPARING)
        if not prepared:
            return None
        preparing = max(0, event.total // (1 + self.processes) - prepared)
        measuring = max(0, event.total - event.steps - preparing)
        measured = self.begun["measure"] - (event.kind == "measure")
        each = self.spent["measure"] / measured if measured else self.first_guess
        return preparing * self.spent["prepare"] / prepared + measuring * each


def in_words(seconds: float | None) -> str:
    """`about 4 min left`, rounded as coarsely as the estimate is."""
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


def outcome_words(line: Record) -> str:
    """What became of a cell: its latency, or why there is none, on one line."""
    if line["outcome"] == "ok":
        from reports import formatting

        return f"{formatting.duration(estimates.median(estimates.process_values(line['samples_ns'][COMPUTE])))} {COMPUTE}"
    where = f"in {line['phase']}: " if line["outcome"] == "failed" else ""
    return where + " ".join(line["reason"].split())


class Display:
    """A progress bar on a terminal, plain lines elsewhere; a context manager around the run."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self.console = console
        self.estimate = Estimate(plan)
        self.plan = plan
        self.bar = _bar(console) if console.is_terminal else None
        self.task: Any = None
        self.width = 0
        self._told = time.monotonic()

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self.bar:
            self.bar.stop()

    def open(self, run: Run) -> None:
        """Say what begins, or what is gone on with."""
        every = len(run.entries)
        self.width = max(len(entry.cell.id) for entry in run.entries)
        if run.resumed:
            self._say(journal.opening(run.file, run.known()))
        else:
            cells = "1 cell" if every == 1 else f"{every} cells"
            self._say(
                f"run {run.file.id}: {cells}, plan {self.plan.name}, results in {run.results_folder}/"
            )
        if self.bar:
            self.task = self.bar.add_task("", total=None, left="")
            self.bar.start()

    def hear(self, event: Event) -> None:
        """One event of the schedule."""
        self.estimate.hear(event)
        if event.record is not None:
            self._tell_outcome(event)
        doing = {
            "measure": "measuring",
            "peaks": "measuring",
            "outcome": "",
            "environment": "making ready:",
        }.get(event.kind, "preparing")
        left = in_words(self.estimate.remaining(event))
        if self.bar:
            words = f"{doing} {event.text}" if doing else ""
            self.bar.update(
                self.task,
                completed=event.steps,
                total=event.total,
                description=words,
                left=left,
                refresh=True,
            )
        elif event.kind == "environment" or (
            doing and time.monotonic() - self._told > QUIET_SECONDS
        ):
            self._told = time.monotonic()
            self._say(f"{_count(event)} {doing} {event.text}" + (f", {left}" if left else ""))

    def close_interrupted(self, run: Run) -> None:
        """Say what is kept and how to go on."""
        if self.bar:
            self.bar.stop()
        self._say(journal.interrupted(run.known()))

    def _tell_outcome(self, event: Event) -> None:
        assert event.record is not None
        outcome = event.record["outcome"]
        self._told = time.monotonic()
        count = "" if self.bar else f"{_count(event)} "
        self._say(
            f"{count}{outcome:<11}  {event.text:<{self.width}}  {outcome_words(event.record)}",
            outcome,
        )

    def _say(self, words: str, outcome: str = "") -> None:
        from rich.text import Text

        line = Text(words)
        if outcome:
            start = words.index(outcome)
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

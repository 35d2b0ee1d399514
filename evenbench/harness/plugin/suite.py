"""The run of a pytest session, started by the first cell and measured by comparison group."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from evenbench.harness.core.cases import Entry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.types import OUTCOMES
from evenbench.harness.plugin.progress import Progress
from evenbench.harness.results.records import Record
from evenbench.harness.runner import journal, launcher
from evenbench.harness.runner.schedule import Run


class Suite:
    """The session's run."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        named = Path(config.getoption("evenbench_results") or "results")
        self.folder = config.invocation_params.dir / named.expanduser()
        self.run: Run | None = None
        self.start_folder = Path.cwd()
        self.is_resumable = False
        """Whether the run is left unfinished, for the same command to resume."""

    def check_folder(self) -> None:
        """Raise pytest.UsageError for a results folder that is a file."""
        if self.folder.exists() and not self.folder.is_dir():
            raise pytest.UsageError(
                f"results folder {self.folder} is a file; name a folder with --evenbench-results"
            )

    def record_of(self, entry: Entry, selected: Sequence[Entry]) -> Record:
        """The outcome of a cell, measured with its whole comparison group if still unknown.

        Cells are measured in the folder where pytest was started, even if a fixture has changed
        the working folder: names of files are relative to the start.
        """
        with contextlib.chdir(self.start_folder):
            self.run = self.run or self._start(selected)
            if entry.cell.key not in self.run.done:
                group = [peer for peer in selected if peer.cell.group == entry.cell.group]
                self._measure(self.run, unique([entry, *group]))
        return self.run.done[entry.cell.key]

    def _measure(self, run: Run, entries: Sequence[Entry]) -> None:
        try:
            with launcher.interrupted_when_ended(), Progress(self.config).shown() as listen:
                run.listen = listen
                run.measure(entries)
        except UsageError:  # such as a full disk: other cells and the next session go on
            self.is_resumable = True
            raise

    def forget_failed(self, key: str) -> None:
        """Drop the outcome of a cell, unless it is `ok`, so that the cell is measured again."""
        if self.run is not None and self.run.done.get(key, {}).get("outcome") != "ok":
            self.run.journal.forget(key)

    @property
    def outcomes(self) -> list[Record]:
        """All outcomes so far."""
        return list(self.run.done.values()) if self.run else []

    def _start(self, selected: Sequence[Entry]) -> Run:
        plan = PLANS[self.config.getoption("evenbench_plan")]
        fresh = self.config.getoption("evenbench_fresh")
        return Run(unique(selected), plan, self.folder, fresh=fresh)

    def finish(self, exitstatus: int) -> None:
        """Close the run, except after an interruption or a usage error such as a full disk: the
        same command then resumes the run.

        A session ended early by `-x` is closed too, because a fixed cell must be measured again.
        """
        self.is_resumable |= exitstatus == pytest.ExitCode.INTERRUPTED
        if self.run is not None and not self.is_resumable:
            self.run.file.finish()

    def summary(self) -> list[str]:
        """Counts of outcomes, the results file, and how to resume; empty if no cell ran."""
        if self.run is None:
            return []
        outcomes = [record["outcome"] for record in self.run.done.values()]
        counts = ", ".join(
            f"{outcomes.count(outcome)} {outcome}" for outcome in OUTCOMES if outcome in outcomes
        )
        resumed = (
            ["resumed an interrupted run; --evenbench-fresh starts a new run"]
            if self.run.resumed
            else []
        )
        changed = [self.run.journal.changed] if self.run.journal.changed else []
        file = self.run.file.file
        first = f"{counts}: {file}" if file.exists() else "no outcome was written"
        left = [journal.interrupted(self.run.known())] if self.is_resumable else []
        return [first, *resumed, *changed, *left]


SUITE = pytest.StashKey[Suite]()


def unique(entries: Iterable[Entry]) -> list[Entry]:
    """An entry per cell. A cell declared by two cases is measured once."""
    first: dict[str, Entry] = {}
    for entry in entries:
        first.setdefault(entry.cell.key, entry)
    return list(first.values())

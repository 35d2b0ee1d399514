"""Going on with a run under load, or of a pipeline, where it was interrupted: by the rules of
`evenbench run`, in its words.

What was right or unsupported is taken as it is, and so are single processes of the other cells.
What was wrong, failed or absent, and what was measured on another artifact or other inputs than are
prepared now, is measured again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.core.types import Plan, digest
from harness.environment import system_info
from harness.results import records
from harness.results.records import Format, Record
from harness.results.run_file import RunFile
from harness.runner.preparation import Prepared
from harness.runner.schedule import KEPT

PROCESSES = "processes"
"""The journal of single processes, in the folder of an unfinished run."""

FRESH = "start anew even where an interrupted run could be resumed"
"""The help of the flag, as `run` has it."""


def manifest(
    cells: Iterable[str], plan: Plan, seed: int, form: Format, **more: Any
) -> dict[str, Any]:
    """What must be equal for a later command to go on: the cells by key, how they are measured, the
    machine, and whatever else is named.
    """
    here = {name: value for name, value in system_info.describe().items() if name != "commit"}
    return {
        "cells": sorted(cells),
        "plan": plan,
        "seed": seed,
        "environment": digest(here),
        form.key: form.newest,
        **more,
    }


@dataclass
class Ledger:
    """What is known of a run's cells: each line and each process is on the disk as soon as it is
    known.
    """

    run: RunFile
    resumed: bool = False
    """Whether an interrupted run is gone on with."""
    lines: dict[str, Record] = field(default_factory=dict)
    """By cell key."""
    _measured: dict[str, list[Record]] = field(init=False)

    def __post_init__(self) -> None:
        self._measured = self.run.processes(PROCESSES)

    @classmethod
    def open(
        cls,
        folder: Path,
        wanted: Mapping[str, Any],
        form: Format,
        fresh: bool = False,
        file: Path | None = None,
    ) -> Ledger:
        """The newest unfinished run in `folder` with this manifest, or a new one; its lines go into
        `file`, or into one named by the run.

        Raises UsageError where the folder cannot be written.
        """
        found = None if fresh else RunFile.resumable(folder, wanted, form)
        run = found or RunFile.create(folder, wanted, form)
        run = replace(run, file=file) if file else run
        return cls(run, found is not None, dict(run.keep_only(KEPT)) if found else {})

    def was_refused(self, key: str) -> bool:
        """Whether a cell's line is from before anything was prepared for it, so that it stands
        whatever is prepared now.
        """
        return key in self.lines and not any(any(made) for made in _recorded(self.lines[key]))

    def stands(self, key: str, prepared: Sequence[Prepared | None]) -> bool:
        """Whether a cell has a line that was measured on what is `prepared`, one entry per part;
        one of other bytes is dropped.
        """
        if key not in self.lines:
            return False
        if _recorded(self.lines[key]) == [_made(each) for each in prepared]:
            return True
        self.run.drop(key)
        del self.lines[key]
        return False

    def settle(self, line: Record) -> None:
        """A cell's line is known."""
        records.append(self.run.file, line)
        self.lines[line["cell"]["key"]] = line

    def processes(self, key: str, prepared: Prepared) -> list[Record]:
        """What single processes of a cell have measured so far on what is `prepared`, in order."""
        self._measured[key] = [
            each for each in self._measured.get(key, []) if each.get("prepared") == prepared.key()
        ]
        return list(self._measured[key])

    def keep(self, key: str, prepared: Prepared, measured: Record) -> None:
        """What one process measured, and nothing was wrong with."""
        entry = {**measured, "prepared": prepared.key()}
        self.run.keep_process(PROCESSES, key, entry)
        self._measured.setdefault(key, []).append(entry)

    def words(self, cells: Sequence[str], processes_of: Callable[[str], Sequence[str]]) -> str:
        """How much of these cells, by key, is known; `processes_of` a cell has the keys under which
        its processes were kept.
        """
        left = [key for key in cells if key not in self.lines]
        measured = sum(
            len(self._measured.get(each, ())) for key in left for each in processes_of(key)
        )
        return known(len(cells) - len(left), len(cells), measured)


def known(outcomes: int, cells: int, processes: int) -> str:
    """`12 of 25 outcomes known`, and how many processes of the other cells are measured already."""
    more = f" and {processes} of the other cells' processes measured" if processes else ""
    return f"{outcomes} of {cells} outcomes known{more}"


def opening(run: RunFile, words: str) -> str:
    """What is said of a run that is gone on with; `words` are those of `known`."""
    return f"resuming run {run.id}: {words}"


def interrupted(words: str) -> str:
    """What is said when a run is interrupted: what is kept, and how to go on."""
    return f"interrupted: {words}, all kept; the same command goes on from here"


def _made(prepared: Prepared | None) -> tuple[str, str]:
    """The digests of what a cell runs and of what it is fed, as its line has them."""
    return (prepared.artifact.sha256, prepared.inputs.facts["sha256"]) if prepared else ("", "")


def _recorded(line: Record) -> list[tuple[str, str]]:
    """The same of a line: of its parts where it has some, otherwise of itself."""
    return [
        (part.get("artifact_sha256", ""), part.get("input_sha256", ""))
        for part in line.get("parts") or [line]
    ]

"""The journal of a run: every outcome and measured process, written to disk as soon as known.

An interrupted run resumes from the journal. Cells with outcome `ok` or `unsupported` keep the
outcome; all other cells keep processes with correct outputs and are measured further. Outcomes and
processes of other artifacts or inputs than the current entries are dropped. A run of another commit
or of other declared sources is not resumed. `evenbench run`,
`load` and `pipeline` share these rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evenbench.harness.core.cases import Entry
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import digest
from evenbench.harness.environment import system_info
from evenbench.harness.results import records
from evenbench.harness.results.records import Format, Record
from evenbench.harness.results.run_file import RunFile
from evenbench.harness.runner import declared_sources
from evenbench.harness.runner.prepared import Prepared

KEPT = ("ok", "unsupported")
"""Outcomes that a resumed run keeps. The cause of any other may have been mended since."""

PROCESSES = "processes"
"""The name of the journal of single processes, in the folder of an unfinished run."""

FRESH = "start anew even where an interrupted run could be resumed"
"""Help of the flag `--fresh`."""


BOUND = {"commit": "the commit", "sources": "the sources"}
"""The keys of a manifest that change with the user's code, and their names in messages."""


def manifest(
    entries: Iterable[Entry], plan: Plan, seed: int, form: Format[Any], **more: Any
) -> dict[str, Any]:
    """The facts that must be equal for a later command to resume a run.

    The facts are the cells by key, the plan, the seed, the machine, the commit, the content of the
    declared sources, and `more`.
    """
    known = list(entries)
    here = dict(system_info.describe())
    return {
        "cells": sorted({entry.cell.key for entry in known}),
        "plan": plan,
        "seed": seed,
        "commit": here.pop("commit"),
        "sources": declared_sources.digest_of(known),
        "environment": digest(here),
        form.key: form.newest,
        **more,
    }


@dataclass
class Journal:
    """The outcomes and measured processes of one run, in memory and on disk."""

    run: RunFile
    resumed: bool = False
    """Whether an interrupted run is being resumed."""
    lines: dict[str, Record] = field(default_factory=dict)
    """Result line of each finished cell, by cell key."""
    changed: str = ""
    """Why an interrupted run of the same cells is not resumed, as a sentence; usually empty."""
    _processes: dict[str, list[Record]] = field(init=False)

    def __post_init__(self) -> None:
        self._processes = self.run.processes(PROCESSES)

    @classmethod
    def open(
        cls,
        folder: Path,
        wanted: Mapping[str, Any],
        form: Format[Any],
        fresh: bool = False,
        file: Path | None = None,
    ) -> Journal:
        """Resume the newest unfinished run in `folder` with the manifest `wanted`, or begin one.

        An unfinished run of other sources, the newest run of the folder, is named in `changed`.
        Lines are appended to `file`, by default a file named after the run. Raises UsageError if
        the folder is not writable.
        """
        unfinished = None if fresh else RunFile.resumable(folder, wanted, form)
        changed = "" if fresh or unfinished else _changed(folder, wanted, form)
        run = unfinished or RunFile.create(folder, wanted, form)
        run = replace(run, file=file) if file else run
        kept = run.keep_only(KEPT) if unfinished else {}
        return cls(run, unfinished is not None, kept, changed)

    def was_refused(self, key: str) -> bool:
        """Whether a cell was refused before preparation, so the line remains valid."""
        return key in self.lines and not any(any(digests) for digests in _recorded(self.lines[key]))

    def stands(self, key: str, prepared: Sequence[Prepared | None]) -> bool:
        """Whether a cell's line was measured on the `prepared` entries, given per part.

        A line of other artifacts or inputs is dropped.
        """
        if key not in self.lines:
            return False
        if _recorded(self.lines[key]) == [_digests(part) for part in prepared]:
            return True
        self.forget(key)
        return False

    def forget(self, key: str) -> None:
        """Drop the line of a cell, if any, so that the cell is measured again."""
        if self.lines.pop(key, None) is not None:
            self.run.drop(key)

    def settle(self, line: Record) -> None:
        """Write a cell's result line."""
        records.append(self.run.file, line)
        self.lines[line["cell"]["key"]] = line

    def processes(self, key: str, prepared: Prepared) -> list[Record]:
        """The measured processes of a cell on the `prepared` entries, in order."""
        current = [
            process
            for process in self._processes.get(key, [])
            if process.get("prepared") == prepared.key()
        ]
        self._processes[key] = current
        return list(current)

    def keep(self, key: str, prepared: Prepared, process: Record) -> None:
        """Write the measurement of a process with correct outputs."""
        entry = {**process, "prepared": prepared.key()}
        self.run.keep_process(PROCESSES, key, entry)
        self._processes.setdefault(key, []).append(entry)

    def known(
        self,
        cells: Sequence[str],
        parts_of: Callable[[str], Sequence[str]] = lambda key: [key],
    ) -> str:
        """The number of known outcomes, as `12 of 25 outcomes known`, and of known processes.

        `parts_of` maps a cell's key to the keys of the cell's parts; processes are kept by part.
        """
        left = [key for key in cells if key not in self.lines]
        count = sum(len(self._processes.get(part, ())) for key in left for part in parts_of(key))
        more = f" and {count} of the other cells' processes measured" if count else ""
        return f"{len(cells) - len(left)} of {len(cells)} outcomes known{more}"


def _changed(folder: Path, wanted: Mapping[str, Any], form: Format[Any]) -> str:
    """The message for an unfinished run that differs in commit or sources alone."""
    rest = {name: value for name, value in wanted.items() if name not in BOUND}
    left = RunFile.resumable(folder, rest, form)
    if left is None:
        return ""
    others = (file.stem for file in folder.glob("*.jsonl") if file.stem != left.id)
    if any(_second(other) >= _second(left.id) for other in others):
        return ""  # a later run has already started anew
    differ = [words for name, words in BOUND.items() if left.manifest.get(name) != wanted[name]]
    stay = f"; its results stay in {left.file}" if left.file.exists() else ""
    return f"{' and '.join(differ)} changed since run {left.id}: starting anew{stay}"


def _second(run: str) -> str:
    """The start of a run by its name, without the random end."""
    return run.rpartition("-")[0]


def opening(run: RunFile, known: str) -> str:
    """The message when a run is resumed; `known` is the text of `Journal.known`."""
    return f"resuming run {run.id}: {known}"


def interrupted(known: str) -> str:
    """The message when a run is interrupted: the kept results, and how to resume."""
    return f"interrupted: {known}, all kept; the same command resumes the run"


def _digests(prepared: Prepared | None) -> tuple[str, str]:
    """The digests of a cell's artifact and inputs, as in the result line."""
    return (prepared.artifact.sha256, prepared.inputs.facts["sha256"]) if prepared else ("", "")


def _recorded(line: Record) -> list[tuple[str, str]]:
    """The digests in a result line: of each part, or of the line itself."""
    return [
        (part.get("artifact_sha256", ""), part.get("input_sha256", ""))
        for part in line.get("parts") or [line]
    ]

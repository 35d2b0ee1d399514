"""The results file of a run: appended outcomes, and for an unfinished run a journal of measured
processes.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenbench.harness.core.types import to_json
from evenbench.harness.results.records import (
    OUTCOMES,
    UNFINISHED,
    Format,
    Record,
    append,
    folder,
    read,
    timestamp,
)


@dataclass(frozen=True)
class RunFile:
    """A run on disk: outcomes, and for an unfinished run a manifest and journals in `work`."""

    id: str
    file: Path
    work: Path
    manifest: Mapping[str, Any]
    form: Format[Any] = OUTCOMES

    @classmethod
    def create(
        cls, results: Path, manifest: Mapping[str, Any], form: Format[Any] = OUTCOMES
    ) -> RunFile:
        """Start a new run. A later command with an equal `manifest` can resume the run."""
        started = timestamp()
        name = f"{started.replace(':', '-')}-{secrets.token_hex(2)}"
        work = folder(results) / UNFINISHED / name
        work.mkdir(parents=True)
        full = {"id": name, "started": started, **to_json(manifest)}
        (work / "manifest.json").write_text(json.dumps(full))
        return cls(name, results / f"{name}.jsonl", work, full, form)

    @classmethod
    def resumable(
        cls, results: Path, manifest: Mapping[str, Any], form: Format[Any] = OUTCOMES
    ) -> RunFile | None:
        """The newest unfinished run with this manifest, or None."""
        wanted = to_json(manifest)
        for work in sorted((results / UNFINISHED).glob("*/"), reverse=True):
            try:
                recorded = json.loads((work / "manifest.json").read_text())
            except (OSError, ValueError):
                continue
            if all(recorded.get(name) == value for name, value in wanted.items()):
                return cls(work.name, results / f"{work.name}.jsonl", work, recorded, form)
        return None

    def outcomes(self) -> dict[str, Record]:
        """The outcomes so far, by cell key."""
        if not self.file.exists():
            return {}
        return {record["cell"]["key"]: record for record in read([self.file], self.form).lines}

    def keep_only(self, outcomes: Sequence[str]) -> dict[str, Record]:
        """Drop lines of other outcomes by replacing the file, and return the remaining lines."""
        kept = {
            key: record for key, record in self.outcomes().items() if record["outcome"] in outcomes
        }
        self._replace(kept.values())
        return kept

    def drop(self, key: str) -> None:
        """Drop the line of a cell by replacing the file."""
        self._replace(record for other, record in self.outcomes().items() if other != key)

    def _replace(self, records: Iterable[Record]) -> None:
        if self.file.exists():
            copy = self.work / "kept.jsonl"
            copy.unlink(missing_ok=True)
            copy.touch()
            for record in records:
                append(copy, record)
            copy.replace(self.file)

    def processes(self, kind: str) -> dict[str, list[Record]]:
        """The journalled records of measured processes, by cell key, in order."""
        journal = self.work / f"{kind}.jsonl"
        records: dict[str, list[Record]] = {}
        if journal.exists():
            for raw in journal.read_bytes().splitlines():
                try:
                    entry = json.loads(raw)
                except ValueError:
                    continue
                records.setdefault(entry["key"], []).append(entry["reply"])
        return records

    def keep_process(self, kind: str, key: str, reply: Record) -> None:
        """Journal a process's record, so a resumed run does not measure the process again."""
        append(self.work / f"{kind}.jsonl", {"key": key, "reply": reply})

    def finish(self) -> None:
        """Remove the state of a complete run."""
        shutil.rmtree(self.work, ignore_errors=True)
        with contextlib.suppress(OSError):  # the folder still has other unfinished runs
            self.work.parent.rmdir()

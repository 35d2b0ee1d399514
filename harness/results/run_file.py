"""The results file of an unfinished run: outcomes are appended, single processes are journalled
beside it.
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

from harness.core.types import to_json
from harness.results.records import (
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
    """One run on disk: its outcomes, and while it is unfinished its manifest and the processes
    measured so far.
    """

    id: str
    file: Path
    work: Path
    manifest: Mapping[str, Any]
    form: Format = OUTCOMES

    @classmethod
    def create(cls, results: Path, manifest: Mapping[str, Any], form: Format = OUTCOMES) -> RunFile:
        """A new run. `manifest` is what must be equal for a later command to go on with it."""
        started = timestamp()
        name = f"{started.replace(':', '-')}-{secrets.token_hex(2)}"
        work = folder(results) / UNFINISHED / name
        work.mkdir(parents=True)
        full = {"id": name, "started": started, **to_json(manifest)}
        (work / "manifest.json").write_text(json.dumps(full))
        return cls(name, results / f"{name}.jsonl", work, full, form)

    @classmethod
    def resumable(
        cls, results: Path, manifest: Mapping[str, Any], form: Format = OUTCOMES
    ) -> RunFile | None:
        """The newest unfinished run with this manifest, or None."""
        wanted = to_json(manifest)
        for work in sorted((results / UNFINISHED).glob("*/"), reverse=True):
            try:
                found = json.loads((work / "manifest.json").read_text())
            except (OSError, ValueError):
                continue
            if all(found.get(name) == value for name, value in wanted.items()):
                return cls(work.name, results / f"{work.name}.jsonl", work, found, form)
        return None

    def outcomes(self) -> dict[str, Record]:
        """The outcomes so far, by cell key."""
        if not self.file.exists():
            return {}
        return {record["cell"]["key"]: record for record in read([self.file], self.form).lines}

    def keep_only(self, outcomes: Sequence[str]) -> dict[str, Record]:
        """Drop the lines of other outcomes from the file, which is replaced as a whole, and return
        those that stay.
        """
        kept = {
            key: record for key, record in self.outcomes().items() if record["outcome"] in outcomes
        }
        self._replace(kept.values())
        return kept

    def drop(self, key: str) -> None:
        """Drop the line of one cell from the file, which is replaced as a whole."""
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
        """What single processes measured so far, by cell key, in order."""
        journal = self.work / f"{kind}.jsonl"
        found: dict[str, list[Record]] = {}
        if journal.exists():
            for raw in journal.read_bytes().splitlines():
                try:
                    entry = json.loads(raw)
                except ValueError:
                    continue
                found.setdefault(entry["key"], []).append(entry["reply"])
        return found

    def keep_process(self, kind: str, key: str, reply: Mapping[str, Any]) -> None:
        """Remember what one process measured, so that a killed run need not repeat it."""
        append(self.work / f"{kind}.jsonl", {"key": key, "reply": reply})

    def finish(self) -> None:
        """The run is complete: what was needed to go on is removed."""
        shutil.rmtree(self.work, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty: others are unfinished
            self.work.parent.rmdir()

"""Results files in JSON Lines: one line per cell, appended as soon as the cell's outcome is known.

`results/<run>.jsonl` contains outcomes only. `results/.unfinished/<run>/` contains the state of an
unfinished run: its plan and the records of measured processes. A complete run removes this folder.
"""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, overload

from evenbench.harness.core import serialization
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.records.outcome import OutcomeRecord
from evenbench.harness.core.types import to_json

SCHEMA = 2
"""Raised when a key changes its meaning; `docs/reference/results-file.md` has the history."""

UNFINISHED = ".unfinished"
"""The folder for the state of unfinished runs, beside the results files."""

Record = Mapping[str, Any]
"""A line of any format, or the record of one process."""

Line = TypeVar("Line", bound=Record)


@dataclass(frozen=True)
class Format(Generic[Line]):
    """A format of lines: the key with its schema number, the newest number known here, and the
    `boundary` of lines that are not outcomes of cells.
    """

    what: str
    key: str
    newest: int
    boundary: str = ""
    places: tuple[str, ...] = ("*.jsonl",)
    """Glob patterns of its files under a results folder."""


OUTCOMES: Format[OutcomeRecord] = Format(
    "an evenbench outcome", "schema", SCHEMA, places=("*.jsonl", "asv-*/*.jsonl")
)
"""asv has a folder for each environment and commit (`asv_bridge.RESULTS`)."""

LOAD: Format[Record] = Format(
    "a line of `evenbench load`", "load", 1, "host_to_host", ("load/*.jsonl",)
)
"""Schema: `load.schema.json`. The key is `load`, so no reader takes a load line for an outcome."""

PIPELINE: Format[Record] = Format(
    "a line of `evenbench pipeline`",
    "schema",
    1,
    "pipeline",
    ("pipeline.jsonl", "*/pipeline.jsonl"),
)
"""Schema: `pipeline.schema.json`. The boundary includes all stages from decoding to drawing."""

DIFF: Format[Record] = Format(
    "a line of `evenbench layerwise`", "diff", 1, places=("diff/*.jsonl",)
)
"""Documented in `docs/how-to/look-into-a-model.md`. The cell of a line is the first of its two."""


def schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of an outcome line."""
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name("results.schema.json").read_text())
    return loaded


def cell_flag(cell: str) -> str:
    """The flag that selects a cell by id, for a shell. An id may begin like a flag."""
    return f"--cell{'=' if cell.startswith('-') else ' '}{shlex.quote(cell)}"


def timestamp() -> str:
    """The current time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def folder(path: Path) -> Path:
    """The results folder, created if absent. Raises UsageError for a file or a read-only place."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(
            f"results folder {path} is a file; name a folder, or move the file away"
        ) from None
    except OSError as error:
        raise UsageError(
            f"results folder {path} cannot be created: {error.strerror}; name a writable folder"
        ) from error
    return path


def check_writable(path: Path) -> None:
    """Raise UsageError for a results folder in which no file can be created."""
    try:
        with tempfile.TemporaryFile(dir=folder(path)):
            pass
    except OSError as error:
        raise UsageError(
            f"results folder {path} cannot be written ({error.strerror}); name a writable folder, "
            "or free some space"
        ) from error


def append(file: Path, record: Record) -> None:
    """Append one line and flush the file to disk, after ending a line torn by a crash.

    Raises UsageError on a full or read-only disk; earlier lines stay intact, and a partial line is
    cut off.
    """
    line = json.dumps(to_json(record), allow_nan=False, separators=(",", ":")).encode() + b"\n"
    try:
        # Unbuffered: a buffer would write the rest of a failed line again on close.
        with file.open("ab", buffering=0) as stream:
            start = stream.tell()
            left = memoryview(b"\n" + line if _torn(file, start) else line)
            try:
                while left:
                    left = left[stream.write(left) :]
                os.fsync(stream.fileno())
            except OSError:
                os.truncate(file, start)
                raise
    except OSError as error:
        raise UsageError(
            f"{file}: could not append an outcome ({error.strerror}); free some space or name "
            "another folder, then run the same command again to resume this run"
        ) from error


def _torn(file: Path, size: int) -> bool:
    if size == 0:
        return False
    with file.open("rb") as stream:
        stream.seek(size - 1)
        return stream.read(1) != b"\n"


@dataclass(frozen=True)
class Reading(Generic[Line]):
    """The lines of results folders or files, and notes about omitted lines."""

    lines: tuple[Line, ...]
    notes: tuple[str, ...] = field(default=())


@overload
def read(paths: Iterable[Path]) -> Reading[OutcomeRecord]:
    """Read outcomes."""


@overload
def read(paths: Iterable[Path], form: Format[Line]) -> Reading[Line]:
    """Read lines of a format."""


def read(paths: Iterable[Path], form: Format[Any] = OUTCOMES) -> Reading[Any]:
    """Read every line of one format under `paths` (files or folders), in file order.

    Torn and foreign lines, and lines of a newer schema, are omitted and noted. For two lines with
    the same cell in one run, the later line counts, with a note. Raises UsageError for an absent
    path.
    """
    lines: list[Any] = []
    notes: list[str] = []
    for file in files(paths, form):
        records: dict[str, Any] = {}
        for number, record, problem in _parse(file, form):
            if record is None:
                notes.append(f"{file.name} line {number}: {problem}")
                continue
            cell = record["cell"]
            if cell["key"] in records:
                notes.append(
                    f"{file.name} line {number}: {cell['id']} is in this run twice; the later "
                    "line counts"
                )
            records[cell["key"]] = record
        lines.extend(records.values())
    return Reading(tuple(lines), tuple(notes))


def stream(paths: Iterable[Path], note: Callable[[str], None]) -> Iterator[OutcomeRecord]:
    """Yield every outcome under `paths` without loading whole files; `note` gets omissions.

    Raises as `read`.
    """
    for file in files(paths):
        for number, record, problem in _parse(file, OUTCOMES):
            if record is None:
                note(f"{file.name} line {number}: {problem}")
            else:
                yield record


def files(paths: Iterable[Path], form: Format[Any] = OUTCOMES) -> Iterator[Path]:
    """The files of one format under `paths` (files or folders). Raises UsageError for an absent
    path.
    """
    for path in paths:
        if path.is_dir():
            matches = (file for place in form.places for file in path.glob(place))
            yield from sorted(
                file for file in matches if form is not OUTCOMES or file.name not in PIPELINE.places
            )
        elif path.is_file():
            yield path
        else:
            raise UsageError(
                f"{path}: no such results file or folder; run `evenbench run` first, or check the "
                "path"
            )


def _parse(file: Path, form: Format[Line]) -> Iterator[tuple[int, Line | None, str]]:
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            if raw.strip():
                record, problem = _parse_line(raw, form)
                yield number, record, problem


def _parse_line(raw: bytes, form: Format[Line]) -> tuple[Line | None, str]:
    """The record of a line, or None and the reason for omitting the line."""
    try:
        record = serialization.parsed(raw)
    except ValueError:
        cut = "unreadable" if raw.endswith(b"\n") else "truncated"
        return None, f"{cut} line left out; run the same command again to complete the run"
    if not _is_of(form, record):
        return None, f"not {form.what}, left out"
    number = record[form.key]
    if not isinstance(number, int) or number > form.newest:
        problem = f"{form.key} {number} is newer than {form.newest}, left out"
        return None, f"{problem}; upgrade evenbench to read this line"
    if not _well_formed(record):
        return None, "an outcome without model, backend, outcome or time, left out"
    return cast(Line, record), ""


def _is_of(form: Format[Any], record: object) -> bool:
    return (
        isinstance(record, dict)
        and form.key in record
        and _names_a_cell(record)
        and record.get("boundary", "") == form.boundary
    )


def _names_a_cell(record: Record) -> bool:
    cell = record.get("cell")
    return (
        isinstance(cell, dict)
        and isinstance(cell.get("key"), str)
        and isinstance(cell.get("id"), str)
    )


def _well_formed(record: Record) -> bool:
    """Whether a line has the keys needed by every reader; the published schema has all keys."""
    cell = record["cell"]
    texts = (cell.get("model"), cell.get("backend"), record.get("outcome"), record.get("time"))
    return all(isinstance(text, str) for text in texts)


def latest(lines: Sequence[Line]) -> dict[str, Line]:
    """The newest outcome of each cell, by cell key."""
    return {line["cell"]["key"]: line for line in sorted(lines, key=lambda line: line["time"])}

"""The truth is a JSON Lines file: one line per cell, appended the moment its outcome is known.

`results/<run>.jsonl` holds outcomes and nothing else. What an unfinished run needs to go on (its
plan, the processes that were measured already) lies in `results/.unfinished/<run>/` and is removed
when the run is complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.core.errors import UsageError
from harness.core.types import to_json

SCHEMA = 2
"""Raised when a key changes its meaning; `docs/results.md` has the history."""

UNFINISHED = ".unfinished"
"""The folder, beside the lines, with what unfinished runs need to go on."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Format:
    """A kind of lines: the key that numbers it, the newest number known here, and the `boundary` of
    lines that are no outcomes of cells.
    """

    what: str
    key: str
    newest: int
    boundary: str = ""
    places: tuple[str, ...] = ("*.jsonl",)
    """Where its files lie under a folder of results."""


OUTCOMES = Format("an evenbench outcome", "schema", SCHEMA, places=("*.jsonl", "asv-*/*.jsonl"))
"""Under asv each environment and commit has a folder of its own (`asv_bridge.RESULTS`)."""

LOAD = Format("a line of `evenbench load`", "load", 1, "host_to_host", ("load/*.jsonl",))
"""`load.schema.json` describes it. The key is `load`, so that nothing takes such a line for an
outcome.
"""

PIPELINE = Format(
    "a line of `evenbench pipeline`",
    "schema",
    1,
    "pipeline",
    ("pipeline.jsonl", "*/pipeline.jsonl"),
)
"""`pipeline.schema.json` describes it. Its boundary is all from decoding to drawing."""

DIFF = Format("a line of `evenbench diff`", "diff", 1, places=("diff/*.jsonl",))
"""`docs/inspect.md` says what is in it. Its cell is the first of the two."""


def schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of one line."""
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name("results.schema.json").read_text())
    return loaded


def timestamp() -> str:
    """Now, in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def folder(path: Path) -> Path:
    """The results folder, made where it is absent. Raises UsageError where it is a file or cannot
    be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(
            f"results folder {path} is a file; name a folder, or move the file away"
        ) from None
    except OSError as error:
        raise UsageError(
            f"results folder {path} cannot be made: {error.strerror}; name one that you can write"
        ) from error
    return path


def append(file: Path, record: Mapping[str, Any]) -> None:
    """Append one line and flush it to the disk. A torn line that a crash left behind is closed
    first.

    Raises UsageError on a full or read-only disk; nothing written before is touched, and a line
    written half is cut off.
    """
    line = json.dumps(to_json(record), allow_nan=False, separators=(",", ":")).encode() + b"\n"
    try:
        with file.open(
            "ab", buffering=0
        ) as stream:  # a buffer would write what is left of the line again when it closes
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
            f"{file}: could not append an outcome ({error.strerror}); free some space or name another folder, then run the "
            "same command again: it goes on where this run stopped"
        ) from error


def _torn(file: Path, size: int) -> bool:
    if size == 0:
        return False
    with file.open("rb") as stream:
        stream.seek(size - 1)
        return stream.read(1) != b"\n"


@dataclass(frozen=True)
class Reading:
    """What a results folder or file holds: the lines, and in words what was left out and why."""

    lines: tuple[Record, ...]
    notes: tuple[str, ...] = field(default=())


def read(paths: Iterable[Path], form: Format = OUTCOMES) -> Reading:
    """Every line of one format under `paths` (files or folders), in file order. Raises UsageError
    where a path does not exist.

    A torn or foreign line, and a line of a newer schema, is left out and noted. Of two lines for
    one cell in one run the later counts, and that is noted too.
    """
    lines: list[Record] = []
    notes: list[str] = []
    for file in files(paths, form):
        found: dict[str, Record] = {}
        for number, record, problem in _parse(file, form):
            if record is None:
                notes.append(f"{file.name} line {number}: {problem}")
                continue
            key = record["cell"]["key"]
            if key in found:
                notes.append(
                    f"{file.name} line {number}: {record['cell']['id']} is in this run twice; the later line counts"
                )
            found[key] = record
        lines.extend(found.values())
    return Reading(tuple(lines), tuple(notes))


def stream(paths: Iterable[Path], note: Callable[[str], None]) -> Iterator[Record]:
    """Every outcome under `paths`, one at a time and never all in memory; what is left out is told
    to `note`. Raises as `read`.
    """
    for file in files(paths):
        for number, record, problem in _parse(file, OUTCOMES):
            if record is None:
                note(f"{file.name} line {number}: {problem}")
            else:
                yield record


def files(paths: Iterable[Path], form: Format = OUTCOMES) -> Iterator[Path]:
    """The files of one format under `paths`, which are folders or files. Raises UsageError where a
    path does not exist.
    """
    for path in paths:
        if path.is_dir():
            found = (file for place in form.places for file in path.glob(place))
            yield from sorted(
                file for file in found if form is not OUTCOMES or file.name not in PIPELINE.places
            )
        elif path.is_file():
            yield path
        else:
            raise UsageError(
                f"{path}: no such results file or folder; run `evenbench run` first, or check the path"
            )


def _parse(file: Path, form: Format) -> Iterator[tuple[int, Record | None, str]]:
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            if raw.strip():
                record, problem = _parse_line(raw, form)
                yield number, record, problem


def _parse_line(raw: bytes, form: Format) -> tuple[Record | None, str]:
    try:
        record = json.loads(raw)
    except ValueError:
        cut = "truncated" if not raw.endswith(b"\n") else "unreadable"
        return (
            None,
            f"{cut} line left out; the run that wrote it was interrupted, run it again to complete it",
        )
    if (
        not isinstance(record, dict)
        or form.key not in record
        or not _names_a_cell(record)
        or record.get("boundary", "") != form.boundary
    ):
        return None, f"not {form.what}, left out"
    if not isinstance(record[form.key], int) or record[form.key] > form.newest:
        return (
            None,
            f"{form.key} {record[form.key]} is newer than {form.newest}, left out; upgrade evenbench to read it",
        )
    if not _well_formed(record):
        return None, "an outcome without model, backend, outcome or time, left out"
    return record, ""


def _names_a_cell(record: Record) -> bool:
    cell = record.get("cell")
    return (
        isinstance(cell, dict)
        and isinstance(cell.get("key"), str)
        and isinstance(cell.get("id"), str)
    )


def _well_formed(record: Record) -> bool:
    """Whether a line has what every reader needs; the published schema says the rest."""
    cell = record["cell"]
    texts = (cell.get("model"), cell.get("backend"), record.get("outcome"), record.get("time"))
    return all(isinstance(text, str) for text in texts)


def latest(lines: Sequence[Record]) -> dict[str, Record]:
    """The newest outcome of each cell, by key."""
    return {line["cell"]["key"]: line for line in sorted(lines, key=lambda line: line["time"])}

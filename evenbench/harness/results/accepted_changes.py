"""Accepted changes in a TOML file of the repository: parsing, and adding an entry. Pure: text in,
text out.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from evenbench.harness.core.errors import UsageError

FILE = "evenbench-expectations.toml"

HEAD = """\
# Changes of recorded cells that were accepted, with the reason; read by `evenbench history`.
# `evenbench history --accept CELL METRIC --reason TEXT` adds an entry. Levels are nanoseconds,
# bytes, or a share of the allowed error.
"""

REQUIRED = ("cell", "metric", "level", "commit", "reason")


@dataclass(frozen=True)
class Expectation:
    """The accepted `level` of a `metric` of a `cell`, from `commit` on, and the reason.

    `since` is a time, for results without a commit. `cell` is an id or a key, `level` is in
    nanoseconds, bytes, or the share of the allowed error. `environment` names the span of the
    acceptance; an empty `environment` matches any span.
    """

    cell: str
    metric: str
    level: float
    commit: str
    reason: str
    since: str = ""
    environment: str = ""


def parse(text: str, metrics: tuple[str, ...], file: str = FILE) -> list[Expectation]:
    """The entries of a file, oldest first. Raises UsageError for an invalid entry."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also very long numbers, deep lists
        raise UsageError(
            f"{file}: not valid TOML ({error}); repair the file, or restore the version under "
            "version control"
        ) from error
    entries = document.get("accepted", [])
    if not isinstance(entries, list) or set(document) - {"accepted"}:
        raise UsageError(
            f"{file}: holds {', '.join(sorted(document))}; expected only [[accepted]] tables"
        )
    return [
        _entry(entry, f"{file}: entry {number}", metrics)
        for number, entry in enumerate(entries, start=1)
    ]


def _entry(entry: Any, place: str, metrics: tuple[str, ...]) -> Expectation:
    if not isinstance(entry, Mapping):
        raise UsageError(f"{place} is not a table; begin the entry with [[accepted]]")
    _check_names(entry, place)
    texts = {name: value for name, value in entry.items() if name != "level"}
    if not all(isinstance(value, str) for value in texts.values()):
        raise UsageError(f"{place}: every value but level is text in quotes")
    level = _level(entry["level"], place)
    if entry["metric"] not in metrics:
        raise UsageError(
            f"{place}: metric {entry['metric']!r}; expected one of {', '.join(metrics)}"
        )
    if not entry["reason"].strip():
        raise UsageError(f"{place}: the reason is empty; say why the change is accepted")
    return Expectation(level=level, **texts)


def _check_names(entry: Mapping[str, Any], place: str) -> None:
    missing = [name for name in REQUIRED if name not in entry]
    foreign = sorted(set(entry) - set(Expectation.__dataclass_fields__))
    problems = [
        f"{verb} {', '.join(names)}"
        for verb, names in (("lacks", missing), ("has", foreign))
        if names
    ]
    if problems:
        raise UsageError(
            f"{place} {' and '.join(problems)}; expected cell, metric, level, commit and reason, "
            "and optionally since and environment"
        )


def _level(number: Any, place: str) -> float:
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if not is_number or not 0 < number < float("inf"):
        raise UsageError(
            f"{place}: level {number!r}; expected a positive number of nanoseconds, bytes, or a "
            "share of the allowed error"
        )
    return float(number)


def added(text: str, expectation: Expectation) -> str:
    """`text` with a further entry; existing text, comments included, stays unchanged."""
    fields = {name: value for name, value in asdict(expectation).items() if value != ""}
    lines = [
        f"{name} = {value!r}" if isinstance(value, float) else f"{name} = {_quoted(value)}"
        for name, value in (fields | {"commit": expectation.commit}).items()
    ]
    before = (text or HEAD).rstrip("\n")
    return "\n".join([before, "", "[[accepted]]", *lines, ""])


def _quoted(text: str) -> str:
    # JSON strings are valid TOML basic strings, except for escaped surrogates and DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

"""Changes that somebody accepted, as a TOML file of the repository: parsed, and written one entry
at a time. Pure: text in, text out.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.core.errors import UsageError

FILE = "evenbench-expectations.toml"

HEAD = """\
# Changes of recorded cells that were accepted, with the reason; read by `evenbench history`.
# `evenbench history --accept CELL METRIC --reason TEXT` adds an entry. Levels are nanoseconds,
# bytes, or a share of the allowed error.
"""


@dataclass(frozen=True)
class Expectation:
    """From `commit` (or the time `since`, where a result has no commit) on, `metric` of `cell` lies
    at `level`, and why.

    `cell` is an id or a key, `level` in nanoseconds, bytes, or the share of the allowed error;
    `environment` is that of the span it was accepted for, and where it is empty any span may have
    it.
    """

    cell: str
    metric: str
    level: float
    commit: str
    reason: str
    since: str = ""
    environment: str = ""


def parse(text: str, metrics: tuple[str, ...], file: str = FILE) -> list[Expectation]:
    """The entries of a file, oldest first. Raises UsageError for anything that is none, naming the
    entry.
    """
    try:
        loaded = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"{file}: no TOML ({error}); mend it, or take it back from version control"
        ) from error
    entries = loaded.get("accepted", [])
    if not isinstance(entries, list) or set(loaded) - {"accepted"}:
        raise UsageError(
            f"{file}: holds {', '.join(sorted(loaded))}; expected nothing but [[accepted]] tables"
        )
    return [
        _entry(entry, f"{file}: entry {number}", metrics)
        for number, entry in enumerate(entries, start=1)
    ]


def _entry(entry: Any, place: str, metrics: tuple[str, ...]) -> Expectation:
    if not isinstance(entry, Mapping):
        raise UsageError(f"{place} is no table; begin it with [[accepted]]")
    missing = [
        name for name in ("cell", "metric", "level", "commit", "reason") if name not in entry
    ]
    foreign = sorted(set(entry) - set(Expectation.__dataclass_fields__))
    if missing or foreign:
        wrong = [
            f"{word} {', '.join(names)}"
            for word, names in (("lacks", missing), ("has", foreign))
            if names
        ]
        raise UsageError(
            f"{place} {' and '.join(wrong)}; expected cell, metric, level, commit and reason, and perhaps since, environment"
        )
    known = {name: value for name, value in entry.items() if name != "level"}
    number = entry["level"]
    if not all(isinstance(value, str) for value in known.values()):
        raise UsageError(f"{place}: everything but level is text in quotes")
    if (
        isinstance(number, bool)
        or not isinstance(number, int | float)
        or not 0 < number < float("inf")
    ):
        raise UsageError(
            f"{place}: level {number!r}; expected a positive number of nanoseconds, bytes, or a share of the allowed error"
        )
    if entry["metric"] not in metrics:
        raise UsageError(
            f"{place}: metric {entry['metric']!r}; expected one of {', '.join(metrics)}"
        )
    if not entry["reason"].strip():
        raise UsageError(f"{place}: the reason is empty; say why the change is accepted")
    return Expectation(level=float(number), **known)


def added(text: str, expectation: Expectation) -> str:
    """`text` with one more entry; what stands in it, comments included, stays as it is."""
    values = {name: value for name, value in asdict(expectation).items() if value != ""} | {
        "commit": expectation.commit
    }
    lines = [
        f"{name} = {value!r}" if isinstance(value, float) else f"{name} = {_quoted(value)}"
        for name, value in values.items()
    ]
    before = (text or HEAD).rstrip("\n")
    return "\n".join([before, "", "[[accepted]]", *lines, ""])


def _quoted(text: str) -> str:
    # JSON's strings are TOML's basic strings, but for escaped surrogates and DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

"""Where a cell parts from another one: what `evenbench diff` found and kept, beside the cells that
it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import formatting
from reports.results import Record, Result

FIELD = "partings"
"""Of an outcome on the page only: it is read from lines of their own."""


@dataclass(frozen=True)
class DivergenceRow:
    """Two cells that were searched, and in words what was found."""

    cell: str
    other: str
    words: str


def attached(lines: Sequence[Record], searches: Iterable[Record]) -> tuple[list[Record], list[str]]:
    """Outcomes with what was found of their cells, and in words what was left out.

    Of two searches of one pair of cells the newest counts. A line that is none any more is left out
    and counted.
    """
    found: dict[str, dict[str, Mapping[str, str]]] = {}
    broken = 0
    for line in sorted(searches, key=lambda line: str(line["time"])):
        try:
            first, second = (
                (str(line[name]["key"]), str(line[name]["id"])) for name in ("cell", "second")
            )
            words = " ".join(f"{sentence}." for sentence in _words(line))
        except (KeyError, TypeError, ValueError):  # edited by hand, or written by another program
            broken += 1
            continue
        for key, other in ((first[0], second[1]), (second[0], first[1])):
            found.setdefault(key, {})[other] = {
                "cell": first[1],
                "second": second[1],
                "other": other,
                "words": words,
            }
    notes = (
        [
            f"{formatting.count(broken, 'line')} of `evenbench diff` left out, not as docs/inspect.md has it"
        ]
        if broken
        else []
    )
    return [_with(line, found.get(str(line["cell"]["key"]), {})) for line in lines], notes


def _words(line: Record) -> Sequence[str]:
    words = line["words"]
    if not isinstance(words, list) or not all(isinstance(sentence, str) for sentence in words):
        raise ValueError("words are a list of sentences")
    return words


def _with(line: Record, partings: Mapping[str, Any]) -> Record:
    return {**line, FIELD: list(partings.values())} if partings else line


def rows(results: Iterable[Result]) -> list[DivergenceRow]:
    """A row for every pair of cells that was searched, the page's own among them."""
    found: dict[frozenset[str], DivergenceRow] = {}
    for result in results:
        for each in result.record.get(FIELD) or ():
            found[frozenset((each["cell"], each["second"]))] = DivergenceRow(
                each["cell"], each["second"], each["words"]
            )
    return list(found.values())


def described(record: Record) -> list[tuple[str, str]]:
    """What was found, by the other cell; for a wrong answer of which nobody has looked for the
    reason, the command that does.
    """
    found = [
        (f"where it parts from {each['other']}", str(each["words"]))
        for each in record.get(FIELD) or ()
    ]
    if found or record.get("outcome") != "mismatch":
        return found
    command = f"evenbench diff {record['cell'].get('id', 'CELL')} golden {record.get('case') or ''} --results results"
    return [
        (
            "where it parts from its golden",
            f"not looked for; {' '.join(command.split())} names the first tensor",
        )
    ]

"""Divergence of one cell from another, as found and recorded by `evenbench layerwise`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evenbench.reports import formatting
from evenbench.reports.result_groups import Record, Result

FIELD = "partings"
"""Added to outcomes on the page only; recorded in separate lines."""


@dataclass(frozen=True)
class DivergenceRow:
    """A compared pair of cells with the result as text."""

    cell: str
    other: str
    words: str


def attached(lines: Sequence[Record], searches: Iterable[Record]) -> tuple[list[Record], list[str]]:
    """Return outcomes with divergences attached, and notes about skipped lines.

    The newest comparison of a pair of cells counts. Malformed lines are left out and counted.
    """
    partings: dict[str, dict[str, Mapping[str, str]]] = {}
    malformed = 0
    for line in sorted(searches, key=lambda line: str(line["time"])):
        try:
            first, second = (
                (str(line[name]["key"]), str(line[name]["id"])) for name in ("cell", "second")
            )
            words = " ".join(f"{sentence}." for sentence in _words(line))
        except (KeyError, TypeError, ValueError):  # edited by hand, or written by another program
            malformed += 1
            continue
        for key, other in ((first[0], second[1]), (second[0], first[1])):
            partings.setdefault(key, {})[other] = {
                "cell": first[1],
                "second": second[1],
                "other": other,
                "words": words,
            }
    notes = (
        [
            f"{formatting.count(malformed, 'line')} of `evenbench layerwise` left out, "
            "malformed; see docs/how-to/look-into-a-model.md"
        ]
        if malformed
        else []
    )
    return [_with(line, partings.get(str(line["cell"]["key"]), {})) for line in lines], notes


def _words(line: Record) -> Sequence[str]:
    words = line["words"]
    if not isinstance(words, list) or not all(isinstance(sentence, str) for sentence in words):
        raise ValueError("words are a list of sentences")
    return words


def _with(line: Record, partings: Mapping[str, Any]) -> Record:
    return {**line, FIELD: list(partings.values())} if partings else line


def rows(results: Iterable[Result]) -> list[DivergenceRow]:
    """Return a row per compared pair with a cell on the page."""
    by_pair: dict[frozenset[str], DivergenceRow] = {}
    for result in results:
        for parting in result.record.get(FIELD) or ():
            by_pair[frozenset((parting["cell"], parting["second"]))] = DivergenceRow(
                parting["cell"], parting["second"], parting["words"]
            )
    return list(by_pair.values())


def described(record: Record) -> list[tuple[str, str]]:
    """Return the divergences of a cell, by the other cell.

    For a mismatch without comparison, the command to run.
    """
    partings = [
        (f"diverges from {parting['other']}", str(parting["words"]))
        for parting in record.get(FIELD) or ()
    ]
    if partings or record.get("outcome") != "mismatch":
        return partings
    cell, case = record["cell"].get("id", "CELL"), record.get("case") or ""
    command = f"evenbench layerwise {cell} golden {case} --results results"
    return [
        (
            "diverges from its golden",
            f"not searched; {' '.join(command.split())} names the first tensor",
        )
    ]

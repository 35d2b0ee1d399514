"""A comparison as Markdown, for the summary of a CI step and for a pull request's comment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evenbench.harness.comparison import exit_status
from evenbench.harness.comparison.findings import size_of
from evenbench.harness.core import exit_codes

MARKER = "<!-- evenbench compare -->"
"""First line of the summary; a later job finds its earlier comment by this line."""

LARGEST_BYTES = 60_000
"""Below GitHub's limit of 65,536 characters for a comment; a step's summary may be longer."""

HEADLINES: Mapping[int, str] = {
    exit_codes.PASS: "**Nothing is confirmed worse.**",
    exit_codes.WORSE: "**Something is worse.**",
    exit_codes.UNDECIDED: "**Not decided**: the measured pairs are inconclusive.",
    exit_codes.UNHEALTHY: "**The machine was too noisy**: base against base differed or could "
    "not be measured, or a cell waited for a core: nothing below counts.",
    exit_codes.NOTHING: "**Nothing to compare.**",
}
"""The first sentence for each exit code."""

CONTROL = " (control)"
"""Behind the name of a cell whose base is compared with base; such rows stand last."""

TABLE_HEAD = 3
"""Lines of `_head` that only a table with rows needs."""

HOW = (
    "Measured in pairs of processes; worse and better metrics were confirmed by a second set of "
    "pairs."
)


def text(comparison: Mapping[str, Any]) -> str:
    """The summary: a headline for the exit code, then a table with the largest change first.

    Rows beyond `LARGEST_BYTES` are left out, with a note.
    """
    if not comparison["cells"]:
        return "\n".join(_head(comparison)[:-TABLE_HEAD]) + "\n"
    rows = [row for result in comparison["cells"] for row in _rows(result)]
    rows.sort(key=lambda row: (CONTROL in row[1], -row[0]))
    head, foot = _head(comparison), _foot(comparison)
    more = "| … | | | more in the results file |"
    room = LARGEST_BYTES - len("\n".join([*head, more, *foot]).encode())
    lines: list[str] = []
    for _, line in rows:
        room -= len(line.encode()) + 1
        lines.append(line if room >= 0 else more)
        if room < 0:
            break
    return "\n".join([*head, *lines, *foot]) + "\n"


def _head(comparison: Mapping[str, Any]) -> list[str]:
    over = _escaped(exit_status.over_words(comparison["cells"]))
    return [
        MARKER,
        f"### evenbench: {comparison['base']} against {comparison['head']}",
        "",
        HEADLINES.get(comparison["exit"], "See the table."),
        "",
        *(f"> {_escaped(note)}" for note in comparison["notes"]),
        "",
        f"| cell | metric | {over}, 99 % | verdict |",
        "|---|---|---|---|",
    ]


def _foot(comparison: Mapping[str, Any]) -> list[str]:
    overall = exit_status.overall_words(comparison["cells"])
    health = exit_status.health_words(comparison["cells"])
    return [
        "",
        *([overall.capitalize() + ".", ""] if overall else []),
        *(f"> {_escaped(words)}" for words in health),
        "",
        f"Seed {comparison['seed']}. {HOW}",
    ]


def _rows(result: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
    """The table rows of one cell with the size of the change for sorting."""
    name = f"`{_escaped(result['cell'])}`" + (CONTROL if result["control"] else "")
    for reason in [result["failure"], *result["wrong"]]:
        if reason:
            yield float("inf"), f"| {name} | | | ❌ {_escaped(reason)} |"
    for metric, judged in result["metrics"].items():
        words = exit_status.verdict_words(metric, judged, result.get("contaminated", ""))
        mark = {"slower": "❌ ", "worse": "❌ ", "faster": "✅ ", "better": "✅ "}.get(words, "")
        change = exit_status.change_words(judged["confirmation"] or judged["screen"])
        yield size_of(judged), f"| {name} | {metric} | {change} | {mark}{_escaped(words)} |"


def _escaped(words: str) -> str:
    return " ".join(str(words).split()).replace("|", "\\|").replace("<", "&lt;")

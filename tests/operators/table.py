"""The records of the operator tests as the tables of docs/results/operators.md."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.operators.judged import RUNTIMES, Record

PAGE = Path(__file__).parents[2] / "docs" / "results" / "operators.md"
BEGIN, END = "<!-- figures: make operators -->\n", "<!-- end of figures -->"

CLASSES = {
    "ok": "ok",
    "unsupported": "unsupported by the runtime",
    "refused": "refused by evenbench",
    "fallback": "fallback",
    "mismatch": "mismatch",
    "failed": "failed",
    "lost": "crashed, or without an end",
}
"""The classes of outcomes, best first, with their names in the table."""

OWN_WORDS = (
    "degenerate reference",
    "reference suspect",
    "ValueError: the golden of",
    "no judge can run",
)
"""The beginnings of reasons with which evenbench itself does not judge."""

DOCUMENTED: Mapping[tuple[str, str], str] = {
    ("ort", name): "onnxruntime/test/testdata/onnx_backend_test_series_filters.jsonc"
    for name in (
        "test_maxunpool_export_with_output_shape",
        "test_resize_downsample_scales_cubic_align_corners",
        "test_resize_downsample_scales_linear_align_corners",
    )
}
"""Mismatches that the runtime's own project lists as its failing tests, with the place."""


def class_of(record: Record) -> str:
    """The class of a record, a key of `CLASSES`."""
    outcome, reason = record["outcome"], record["reason"]
    if outcome == "unsupported" and record["phase"] == "parity":
        return "refused"
    if outcome == "failed" and any(words in reason for words in OWN_WORDS):
        return "refused"
    if outcome == "refused" and re.search(r"\b(?!Usage)\w+(Error|Iteration): ", reason):
        return "failed"
    return outcome


def by_class(records: Iterable[Record], runtime: str) -> dict[str, list[Record]]:
    """The records of a runtime by class."""
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record["runtime"] == runtime:
            found[class_of(record)].append(record)
    return found


def false_mismatches(records: Iterable[Record]) -> list[Record]:
    """The mismatches that no project documents as its runtime's fault."""
    return [
        record
        for record in records
        if record["outcome"] == "mismatch" and (record["runtime"], record["case"]) not in DOCUMENTED
    ]


def share(records: Iterable[Record], runtime: str) -> float:
    """The share of a runtime's tests that are ok, or unsupported in the runtime's own words."""
    found = by_class(records, runtime)
    right = len(found["ok"]) + len(found["unsupported"])
    return right / max(1, sum(map(len, found.values())))


def whole(given: Sequence[Record], made_up: Sequence[Record], heading: str) -> str:
    """Everything between the marks of the page."""
    parts = [heading, "\n".join(_counts(given, made_up))]
    for runtime in RUNTIMES:
        for name in ("mismatch", "failed", "lost", "fallback", "refused", "unsupported"):
            rows = list(_reasons(by_class(given, runtime)[name]))
            if rows:
                title = f"## {runtime}: {CLASSES[name]}, with the given inputs"
                head = "| tests | reason | example |\n|---:|---|---|"
                parts.append("\n".join([title, "", head, *rows]))
    return "\n\n".join(parts) + "\n"


def _counts(given: Sequence[Record], made_up: Sequence[Record]) -> Iterator[str]:
    columns = [
        (f"{runtime}, {inputs} inputs, {len(records) // len(RUNTIMES)}", by_class(records, runtime))
        for runtime in RUNTIMES
        for inputs, records in (("given", given), ("made-up", made_up))
        if records
    ]
    yield f"| outcome | {' | '.join(title for title, _ in columns)} |"
    yield f"|---|{'---:|' * len(columns)}"
    for name, title in CLASSES.items():
        yield f"| {title} | {' | '.join(str(len(found[name])) for _, found in columns)} |"


def _reasons(records: Sequence[Record]) -> Iterator[str]:
    """A row per kind of reason, most frequent first: reasons that differ in names and numbers."""
    kinds: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        kinds[_kind(record["reason"])].append(record)
    for alike in sorted(kinds.values(), key=len, reverse=True):
        first = alike[0]
        reason = first["reason"].replace("|", "\\|").replace("<", "&lt;")
        short = reason if len(reason) <= 220 else f"{reason[:220]}…"
        yield f"| {len(alike)} | {short} | `{first['case']}` |"


def _kind(reason: str) -> str:
    """A reason without names, numbers and places, as far as these vary between tests."""
    reason = re.sub(r"(^|reference: )\w+ (?=is|has|needs|differs)", r"\1# ", reason)
    plain = re.sub(r"'[^']*'|\"[^\"]*\"|<[^>]*>|\[[^\]]*\]|\S*\d\S*", "#", reason)
    return plain[:60]

"""The findings of a comparison: every cell and metric worth reporting to CI or a reviewer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from evenbench.harness.comparison import exit_status
from evenbench.harness.statistics.words import FASTER, INCONCLUSIVE, SLOWER

State = Literal["new", "unchanged", "absent"]
Kind = Literal["worse", "wrong", "failed", "control", "open", "better"]
LEVELS: Mapping[Kind, str] = {
    "worse": "error",
    "wrong": "error",
    "failed": "error",
    "control": "warning",
    "open": "warning",
    "better": "note",
}
"""The SARIF level of each kind, most important kind first."""

KINDS: Mapping[str, Kind] = {SLOWER: "worse", FASTER: "better", INCONCLUSIVE: "open"}
"""The kind of each verdict on a metric; no other verdict is a finding."""

RULES: Mapping[Kind, str] = {
    "worse": "A metric is confirmed worse than on the base, by more than its margin",
    "wrong": "The outputs do not match the golden, or the runtime did not run the requested way",
    "failed": "The cell could not be measured",
    "control": "Base against base differed, or could not be measured: "
    "alarms of this session do not count",
    "open": "The measured pairs do not decide whether the cell changed",
    "better": "A metric is confirmed better than on the base, by more than its margin",
}


@dataclass(frozen=True)
class ComparisonFinding:
    """A finding about a cell. `size` orders findings of a kind, the largest first.

    `file`, relative to the repository's root, and `line` locate the declaration of the cell; empty
    and 0 if unknown. `state` is SARIF's baseline state: head's finding compared with the base.
    `numbers` holds the ratio and the ends of the interval, if measured.
    """

    kind: Kind
    cell: str
    metric: str
    words: str
    size: float = 0.0
    file: str = ""
    line: int = 0
    state: State = "new"
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of cell, metric and kind: stable over commits, so CI tracks and closes alerts."""
        return hashlib.sha256(f"{self.cell} {self.metric} {self.kind}".encode()).hexdigest()


def findings(comparison: Mapping[str, Any]) -> list[ComparisonFinding]:
    """All findings of a comparison, by kind in the order of `LEVELS`, then by size."""
    located = [
        _located(finding, result) for result in comparison["cells"] for finding in of_cell(result)
    ]
    kinds = list(LEVELS)
    return sorted(located, key=lambda finding: (kinds.index(finding.kind), -finding.size))


def _located(finding: ComparisonFinding, result: Mapping[str, Any]) -> ComparisonFinding:
    place = result.get("place") or {}
    return replace(finding, file=place.get("file") or "", line=place.get("line") or 0)


def of_cell(result: Mapping[str, Any]) -> Iterator[ComparisonFinding]:
    """The findings of a cell, without the place of its declaration."""
    if result["control"]:
        yield from _of_control(result)
        return
    cell = str(result["cell"])
    if result["failure"]:
        yield ComparisonFinding("failed", cell, "", str(result["failure"]).splitlines()[0])
    yield from _wrong_outputs(result)
    for name, metric in result["metrics"].items():
        kind = KINDS.get(metric["verdict"])
        words = exit_status.metric_words(name, metric)
        if kind == "open":
            words += f": {exit_status.verdict_words(name, metric, result.get('contaminated', ''))}"
        if kind:
            yield _of_metric(kind, cell, name, words, metric)


def _of_control(result: Mapping[str, Any]) -> Iterator[ComparisonFinding]:
    cell = str(result["cell"])
    if result["failure"]:
        reason = str(result["failure"]).splitlines()[0]
        yield ComparisonFinding("control", cell, "", f"could not be measured: {reason}")
    for name, metric in exit_status.control_alarms(result):
        words = exit_status.metric_words(name, metric)
        yield _of_metric("control", cell, name, words, metric)


def _wrong_outputs(result: Mapping[str, Any]) -> Iterator[ComparisonFinding]:
    states: tuple[State, State] = ("absent", "new")
    sides = list(zip(result["sides"], result["wrong"], states, strict=False))
    both_wrong = all(reason for _, reason, _ in sides)
    for side, reason, state in sides:
        if reason:
            yield ComparisonFinding(
                "wrong",
                str(result["cell"]),
                "parity",
                f"{side}: {reason}",
                state="unchanged" if both_wrong else state,
            )


def _of_metric(
    kind: Kind, cell: str, name: str, words: str, metric: Mapping[str, Any]
) -> ComparisonFinding:
    return ComparisonFinding(kind, cell, name, words, size_of(metric), numbers=numbers_of(metric))


def size_of(metric: Mapping[str, Any]) -> float:
    """The relative change at the end of the 99 % interval closer to no change.

    The larger of low - 1 (slower) and 1 / high - 1 (faster), from the confirming pairs if any.
    """
    judged = metric["confirmation"] or metric["screen"]
    return max(float(judged["low"]) - 1, 1 / float(judged["high"]) - 1)


def numbers_of(metric: Mapping[str, Any]) -> dict[str, float]:
    """The ratio head over base and the 99 % interval, from the confirming pairs if any."""
    judged = metric["confirmation"] or metric["screen"]
    return {key: float(judged[key]) for key in ("ratio", "low", "high")}

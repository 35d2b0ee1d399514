"""Two sides of one cell with the pairs that were taken of them, and what the gate makes of these:
one result per cell.

Knows nothing of processes: `paired` takes the pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.comparison import interference
from harness.comparison.side_process import Side
from harness.core.types import to_json
from harness.statistics import paired_test

BLOCKS = 6
"""ABBA or BAAB blocks per pair of processes: two paired samples each."""

LATENCY, MEMORY, COLD_START, ARTIFACT, ERROR = (
    "latency",
    "memory",
    "cold start",
    "artifact",
    "error",
)
MARGINS: Mapping[str, float] = {
    LATENCY: 0.02,
    MEMORY: 0.05,
    COLD_START: 0.20,
    ARTIFACT: 0.01,
    ERROR: 0.50,
}
"""What is compared, and the relative growth of each that does not matter; larger is worse in all of
them.
"""


@dataclass
class Pairing:
    """Two sides of one cell: what was prepared for each, and the pairs so far. `control` is base
    against base.

    `cell` is for people, `declared` the id that both sides look up in their declarations.
    """

    cell: str
    declared: str
    sides: tuple[Side, Side]
    prepared: tuple[Mapping[str, Any], Mapping[str, Any]]
    control: bool = False
    number: int = 0
    """Laps per sample, calibrated once from the slower side."""
    most: int = 0
    """Pairs at most; 0 for the rule's own."""
    blocks: int = BLOCKS
    margin: float = 0.0
    """Of latency, where the cell's own history asks for a wider one than the rule's."""
    pairs: list[dict[str, Any]] = field(default_factory=list)
    confirmation: list[dict[str, Any]] = field(default_factory=list)
    failure: str = ""

    def log_ratios(
        self, metric: str = LATENCY, pairs: Sequence[Mapping[str, Any]] | None = None
    ) -> list[float]:
        """ln(head / base) of each pair that has the metric."""
        taken = self.pairs if pairs is None else pairs
        return [pair["log_ratios"][metric] for pair in taken if metric in pair["log_ratios"]]


def rule_for(pairing: Pairing, metric: str, rule: paired_test.Rule) -> paired_test.Rule:
    """The gate's rule with the metric's own margin; for latency the rule's, or what the cell's
    history asks for.
    """
    return replace(
        rule, margin=max(rule.margin, pairing.margin) if metric == LATENCY else MARGINS[metric]
    )


def is_flagged(pairing: Pairing, rule: paired_test.Rule, asked: Sequence[str]) -> bool:
    """Whether the screening pairs call any metric slower or faster, so that it has to be confirmed;
    controls never are.
    """
    enough = (
        not pairing.failure
        and not pairing.control
        and len(pairing.pairs) >= paired_test.FEWEST_PAIRS
    )
    return enough and any(
        found.verdict in ("slower", "faster")
        for found in _screen(pairing, pairing.pairs, rule, asked).values()
    )


def _screen(
    pairing: Pairing,
    pairs: Sequence[Mapping[str, Any]],
    rule: paired_test.Rule,
    asked: Sequence[str],
) -> dict[str, paired_test.Judgement]:
    found = {metric: pairing.log_ratios(metric, pairs) for metric in asked}
    return {
        metric: paired_test.judge(ratios, rule_for(pairing, metric, rule))
        for metric, ratios in found.items()
        if len(ratios) == len(pairs)
    }


def judged(
    pairings: Sequence[Pairing], rule: paired_test.Rule, asked: Sequence[str] = tuple(MARGINS)
) -> list[dict[str, Any]]:
    """One result per pairing: the metrics' verdicts, confirmed where they were flagged; see
    `docs/statistics.md`.

    A metric is called slower (worse) or faster (better) where the screening pairs and the
    confirming pairs, each alone, say so, and the latter survive Holm's correction over all that was
    flagged.
    """
    results = [_result(pairing, rule, asked) for pairing in pairings]
    flagged = [
        (result, metric)
        for result in results
        for metric, found in result["metrics"].items()
        if not result["control"] and found["screen"]["verdict"] in ("slower", "faster")
    ]
    confirmed = [result["metrics"][metric]["confirmation"] for result, metric in flagged]
    kept = paired_test.holm([_p_of(found) for found in confirmed], 1 - rule.confidence)
    for (result, metric), again, survives in zip(flagged, confirmed, kept, strict=True):
        found = result["metrics"][metric]
        same = again is not None and again["verdict"] == found["screen"]["verdict"]
        found["verdict"] = found["screen"]["verdict"] if same and survives else "inconclusive"
    for result in results:
        latency = result["metrics"].get(LATENCY)
        if latency and latency["verdict"] == "slower" and not result["control"]:
            result["contaminated"] = interference.contamination(
                result["confirmation"], latency["margin"]
            )
            latency["verdict"] = "inconclusive" if result["contaminated"] else "slower"
    return results


def _p_of(found: Mapping[str, Any] | None) -> float:
    return 1.0 if found is None else float(found["p"])


def _result(pairing: Pairing, rule: paired_test.Rule, asked: Sequence[str]) -> dict[str, Any]:
    taken = [*pairing.pairs, *pairing.confirmation]
    wrong = [_wrong([pair["ends"][side] for pair in taken]) for side in (0, 1)] if taken else []
    first = (
        _screen(pairing, pairing.pairs, rule, asked)
        if len(pairing.pairs) >= paired_test.FEWEST_PAIRS
        else {}
    )
    again = (
        _screen(pairing, pairing.confirmation, rule, asked)
        if len(pairing.confirmation) >= paired_test.FEWEST_PAIRS
        else {}
    )
    return {
        "cell": pairing.cell,
        "sides": [side.name for side in pairing.sides],
        "control": pairing.control,
        "failure": pairing.failure,
        "wrong": wrong,
        "contaminated": "",
        "health": interference.warnings(taken),
        "metrics": {
            metric: {
                "verdict": found.verdict,
                "margin": rule_for(pairing, metric, rule).margin,
                "screen": to_json(found),
                "confirmation": to_json(again[metric]) if metric in again else None,
            }
            for metric, found in first.items()
        },
        "prepared": pairing.prepared,
        "pairs": pairing.pairs,
        "confirmation": pairing.confirmation,
    }


def _wrong(ends: Sequence[Mapping[str, Any]]) -> str:
    """Why a side's answers do not count, by the first of its processes of which that is so, and in
    how many; or an empty string.
    """
    found = [why for end in ends if (why := _why_wrong(end))]
    if not found:
        return ""
    return (
        found[0]
        if len(found) == len(ends)
        else f"{found[0]} (in {len(found)} of {len(ends)} processes)"
    )


def _why_wrong(end: Mapping[str, Any]) -> str:
    if end["asked_is_used"]:
        return str(end["asked_is_used"])
    parity = end["parity"]
    return str(parity["reason"]) if parity and parity["verdict"] != "pass" else ""

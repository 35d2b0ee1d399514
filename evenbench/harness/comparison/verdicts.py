"""The verdicts of a paired comparison: from the pairs of each cell to one result per cell.

Knows nothing of processes; `session` measures the pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evenbench.harness.comparison import interference
from evenbench.harness.comparison.side_process import Side
from evenbench.harness.core import quantities
from evenbench.harness.core.types import to_json
from evenbench.harness.statistics import paired_test, ratios
from evenbench.harness.statistics.ratios import Ratio
from evenbench.harness.statistics.words import DIFFERENCES, INCONCLUSIVE, SLOWER, holm

BLOCKS = 6
"""ABBA or BAAB blocks per pair of processes; each block is two paired samples."""

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
"""The margin of each metric: relative growth up to the margin is no change. Larger values are worse
in all metrics.
"""


@dataclass
class Pairing:
    """Two sides of one cell, prepared, with the pairs measured so far.

    `cell` is the name shown to people, `declared` the id in the declarations of both sides. A
    `control` compares base with base.
    """

    cell: str
    declared: str
    sides: tuple[Side, Side]
    prepared: tuple[Mapping[str, Any], Mapping[str, Any]]
    control: bool = False
    number: int = 0
    """Laps per sample, calibrated once: the faster side's number. 0 before the first pair."""
    most: int = 0
    """Largest number of pairs; 0 for the rule's limit."""
    blocks: int = BLOCKS
    margin: float = 0.0
    """Margin of latency from the cell's history; counts if wider than the rule's."""
    pairs: list[dict[str, Any]] = field(default_factory=list)
    confirmation: list[dict[str, Any]] = field(default_factory=list)
    failure: str = ""

    @staticmethod
    def ratio(metric: str, pairs: Sequence[Mapping[str, Any]]) -> Ratio | None:
        """The ratio of head over base, a sweep per pair, without pairs of a stalled process.

        None without a pair, or if a pair lacks the metric.
        """
        if not all(metric in pair["log_ratios"] for pair in pairs):
            return None
        base, head = (
            {str(number): _rounds(pair, metric, side) for number, pair in enumerate(pairs)}
            for side in (0, 1)
        )
        return ratios.ratio(head, base)


def _rounds(pair: Mapping[str, Any], metric: str, side: int) -> dict[int, float]:
    """The samples of a side of a pair by round; a metric of the whole process has one round."""
    if metric == LATENCY:
        return dict(enumerate(pair["times_ns"][side]))
    return {0: pair["values"][metric][side]}


def rule_for(pairing: Pairing, metric: str, rule: paired_test.Rule) -> paired_test.Rule:
    """The rule with the margin of a metric.

    Latency has the wider of the rule's margin and the cell's own; the others are in `MARGINS`.
    """
    return replace(
        rule, margin=max(rule.margin, pairing.margin) if metric == LATENCY else MARGINS[metric]
    )


def is_flagged(pairing: Pairing, rule: paired_test.Rule, metrics: Sequence[str]) -> bool:
    """Whether the screening pairs call any metric slower or faster, so pairs must confirm the call.

    Controls are never confirmed.
    """
    may_be_flagged = not pairing.failure and not pairing.control
    return may_be_flagged and any(
        judgement.verdict in DIFFERENCES
        for judgement in _judgements(pairing, pairing.pairs, rule, metrics).values()
    )


def _judgements(
    pairing: Pairing,
    pairs: Sequence[Mapping[str, Any]],
    rule: paired_test.Rule,
    metrics: Sequence[str],
) -> dict[str, paired_test.Judgement]:
    """The judgement of every metric present in all pairs; none with too few pairs."""
    known = {metric: pairing.ratio(metric, pairs) for metric in metrics}
    return {
        metric: paired_test.judge(ratio, rule_for(pairing, metric, rule))
        for metric, ratio in known.items()
        if ratio and len(pairs) >= paired_test.FEWEST_PAIRS
    }


def judged(
    pairings: Sequence[Pairing], rule: paired_test.Rule, metrics: Sequence[str] = tuple(MARGINS)
) -> list[dict[str, Any]]:
    """One result per pairing, with a verdict for each metric in `metrics`.

    Rule (docs/explanation/statistics.md): a metric is slower (worse) or faster (better) if

    1. the screening pairs alone say so (`paired_test.judge`, 99 %),
    2. the confirming pairs alone say the same, and
    3. the confirming p-value survives Holm's correction over all flagged metrics of the session
       (S. Holm, Scandinavian Journal of Statistics 6, 1979).

    Otherwise a flagged metric is inconclusive. A confirmed latency slowdown is inconclusive too if
    interference explains the slowdown (`interference.contamination`).
    """
    results = [_result(pairing, rule, metrics) for pairing in pairings]
    _confirm(results, 1 - rule.confidence)
    for result in results:
        latency = result["metrics"].get(LATENCY)
        if latency and latency["verdict"] == SLOWER and not result["control"]:
            result["contaminated"] = interference.contamination(
                result["confirmation"], latency["margin"]
            )
            latency["verdict"] = INCONCLUSIVE if result["contaminated"] else SLOWER
    return results


def _confirm(results: Sequence[Mapping[str, Any]], alpha: float) -> None:
    """Keep each flagged verdict if the confirming pairs agree and survive Holm's correction."""
    flagged = [
        metric
        for result in results
        for metric in result["metrics"].values()
        if not result["control"] and metric["screen"]["verdict"] in DIFFERENCES
    ]
    rejected = holm([_p_of(metric["confirmation"]) for metric in flagged], alpha)
    for metric, survives in zip(flagged, rejected, strict=True):
        screened, confirmation = metric["screen"]["verdict"], metric["confirmation"]
        agrees = confirmation is not None and confirmation["verdict"] == screened
        metric["verdict"] = screened if agrees and survives else INCONCLUSIVE


def _p_of(confirmation: Mapping[str, Any] | None) -> float:
    return 1.0 if confirmation is None else float(confirmation["p"])


def _result(pairing: Pairing, rule: paired_test.Rule, metrics: Sequence[str]) -> dict[str, Any]:
    pairs = [*pairing.pairs, *pairing.confirmation]
    wrong = [_wrong([pair["ends"][side] for pair in pairs]) for side in (0, 1)] if pairs else []
    screened = _judgements(pairing, pairing.pairs, rule, metrics)
    confirmed = _judgements(pairing, pairing.confirmation, rule, metrics)
    return {
        "cell": pairing.cell,
        "sides": [side.name for side in pairing.sides],
        "control": pairing.control,
        "failure": pairing.failure,
        "wrong": wrong,
        "contaminated": "",
        "health": [*interference.warnings(pairs), *_stalled(pairing)],
        "metrics": {
            metric: {
                "verdict": judgement.verdict,
                "margin": rule_for(pairing, metric, rule).margin,
                "screen": to_json(judgement),
                "confirmation": to_json(confirmed[metric]) if metric in confirmed else None,
            }
            for metric, judgement in screened.items()
        },
        "prepared": pairing.prepared,
        "pairs": pairing.pairs,
        "confirmation": pairing.confirmation,
    }


def _stalled(pairing: Pairing) -> list[str]:
    """A sentence on the pairs that the latency leaves out, because a process stalled."""
    known = [pairing.ratio(LATENCY, pairs) for pairs in (pairing.pairs, pairing.confirmation)]
    sides = [side for ratio in known if ratio for side in ratio.apart.values()]
    if not sides:
        return []
    names = {"slower": pairing.sides[1].name, "faster": pairing.sides[0].name}
    counts = [f"{sides.count(side)} of {names[side]}" for side in names if side in sides]
    every = len(pairing.pairs) + len(pairing.confirmation)
    pairs = f"{len(sides)} of {quantities.count(every, 'pair')}"
    return [f"left out {pairs}: a process stalled ({', '.join(counts)})"]


def _wrong(ends: Sequence[Mapping[str, Any]]) -> str:
    """The first reason for wrong outputs of a side and the number of wrong processes; or empty."""
    reasons = [reason for end in ends if (reason := _reason_of(end))]
    if not reasons:
        return ""
    if len(reasons) == len(ends):
        return reasons[0]
    return (
        f"{reasons[0]} (in {len(reasons)} of {quantities.count(len(ends), 'process', 'processes')})"
    )


def _reason_of(end: Mapping[str, Any]) -> str:
    if end["asked_is_used"]:
        return str(end["asked_is_used"])
    parity = end["parity"]
    return str(parity["reason"]) if parity and parity["verdict"] != "pass" else ""

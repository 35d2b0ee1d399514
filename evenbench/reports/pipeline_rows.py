"""A row of texts per pipeline, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evenbench.harness.core.pipeline_terms import (
    AFTER_DECODING,
    INFERENCE,
    OVERLAPPED,
    PACED,
    PREDECODED,
    PREDECODED_PACED,
    SEQUENTIAL,
)
from evenbench.harness.statistics.estimates import Estimate
from evenbench.reports import formatting
from evenbench.reports.pipeline_results import (
    COVERED,
    ORDER,
    Line,
    after,
    delay_ns,
    dropped,
    name_of,
    not_apart,
    rate,
    stages_ns,
)
from evenbench.reports.verdict import NOT_APART


def rows(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return a row per runtime, whole pipelines first, fastest first, without numbers last."""
    longest = max((_total_ns(line) for line in lines), default=0.0)
    return [_row(line, longest) for line in sorted(lines, key=_order)]


def fastest(lines: Sequence[Line], mode: str) -> str:
    """Return a sentence on the highest rate and on runtimes not told apart; empty without rates."""
    rates = [(estimate.value, line) for line in lines if (estimate := rate(line, mode))]
    ranked = [line for _, line in sorted(rates, key=lambda pair: -pair[0])]
    if not ranked:
        return ""
    tied = [name_of(line) for line in not_apart(ranked[0], ranked[1:], mode)]
    lead = f"{name_of(ranked[0])} draws {_rate(rate(ranked[0], mode))[0]} frames per second"
    return lead + (f"; {NOT_APART} from {formatting.listing(tied)}" if tied else "")


def _order(line: Line) -> tuple[int, float]:
    best = rate(line, OVERLAPPED) or rate(line, AFTER_DECODING) or rate(line, INFERENCE)
    return (len(ORDER), 0.0) if best is None else (ORDER[line["covers"]], -best.value)


def _total_ns(line: Line) -> float:
    return sum(value or 0.0 for value in stages_ns(line).values())


def _row(line: Line, longest: float) -> dict[str, Any]:
    times = stages_ns(line)
    parity = line["parity"] or {}
    bars = [
        {"stage": stage, "percent": f"{100 * value / longest:.2f}"}
        for stage, value in times.items()
        if value and longest
    ]
    return {
        "name": name_of(line),
        "options": ", ".join(f"{key} {value}" for key, value in line["cell"]["options"].items()),
        "outcome": line["outcome"],
        "reason": line["reason"],
        "covered": COVERED.get(line["covers"], ""),
        "after": _rate(after(line)),
        "held": _rate(rate(line, PREDECODED)),
        "sequential": _rate(rate(line, INFERENCE if line["covers"] == INFERENCE else SEQUENTIAL)),
        "overlapped": _rate(rate(line, OVERLAPPED)),
        "gain": _gain(line),
        "dropped": _dropped(line, PACED),
        "held_dropped": _dropped(line, PREDECODED_PACED),
        "stages": {stage: formatting.duration(value) for stage, value in times.items()},
        "total": formatting.duration(_total_ns(line) or None),
        "bars": bars,
        "words": ", ".join(
            f"{stage} {formatting.duration(value)}" for stage, value in times.items() if value
        ),
        "needed": formatting.number(parity.get("needed")) if line["outcome"] == "ok" else "",
    }


def _rate(estimate: Estimate | None) -> tuple[str, str]:
    """A rate and its interval. One process has no interval; a note explains the gap."""
    return formatting.rate(estimate), formatting.rate_interval(estimate)


def _dropped(line: Line, mode: str) -> tuple[str, str]:
    """Dropped frames of all frames, and the delay of drawn frames."""
    lost, delay = dropped(line, mode), delay_ns(line, mode)
    return (
        f"{lost[0]} of {lost[1]}" if lost else formatting.DASH,
        f"{formatting.duration(delay)} late" if delay else "",
    )


def _gain(line: Line) -> str:
    """The ratio of the overlapped rate to the sequential rate."""
    sequential, overlapped = rate(line, SEQUENTIAL), rate(line, OVERLAPPED)
    return f"{overlapped.value / sequential.value:.2f}×" if sequential and overlapped else ""

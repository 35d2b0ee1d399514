"""Gain and cost of lower precisions: every backend across precisions, over torch eager in fp32.

Only here a ratio crosses groups, because a deployment can choose the precision. The ratio stays
within one run, one boundary, and equal model, device, batch and threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evenbench.harness.core.types import PRECISIONS
from evenbench.harness.statistics.group_verdicts import Comparison
from evenbench.reports import (
    formatting,
    input_shapes,
    machine_state,
    result_groups,
    run_verdicts,
    verdict,
)
from evenbench.reports.result_groups import BASELINE, Result

NATIVE = "fp32"

Comparisons = dict[int, Comparison]
"""`id` of a result → its comparison with the baseline."""


@dataclass(frozen=True)
class Square:
    """A backend at a precision, as texts. `tone` is its standing, as in `verdict`."""

    large: str
    small: str
    outcome: str
    tone: str
    words: str


@dataclass(frozen=True)
class Family:
    """A model in a setting: a row per backend, a square or None per precision."""

    model: str
    setting: str
    baseline: str
    precisions: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Square | None, ...]], ...]


def families(members: Sequence[Result], least: int = 2) -> list[Family]:
    """Return models and settings with at least `least` precisions, in recorded order."""
    by_setting: dict[tuple[Any, ...], list[Result]] = {}
    for result in members:
        cell = result.cell
        place = tuple(cell.get(name) for name in ("model", "device", "batch", "threads"))
        by_setting.setdefault((result.run, *place, input_shapes.of(cell)), []).append(result)
    kept = [
        group
        for group in by_setting.values()
        if len({result.cell.get("precision") for result in group}) >= least
    ]
    comparisons = _comparisons(kept)
    return [_family(group, comparisons) for group in kept]


def _comparisons(members: Sequence[Sequence[Result]]) -> Comparisons:
    """The corrected comparison of each ranked result with the baseline of its family.

    Within a group the comparison of the group; comparisons of other precisions are corrected
    together, for each run.
    """
    known: Comparisons = {}
    others: dict[str, list[tuple[Result, Result]]] = {}
    for family in members:
        baseline = _baseline(family)
        for result in family:
            if not baseline or not result.ranks or result is baseline:
                continue
            if result.group == baseline.group:
                known[id(result)] = result.judged.comparison(baseline, result)
            else:
                others.setdefault(result.run, []).append((baseline, result))
    for pairs in others.values():
        compared = run_verdicts.compared([(pair[0].sweeps, pair[1].sweeps) for pair in pairs])
        known |= {id(pair[1]): word for pair, word in zip(pairs, compared, strict=True)}
    return known


def _family(members: Sequence[Result], comparisons: Comparisons) -> Family:
    measured = {str(result.cell.get("precision")) for result in members}
    precisions = tuple(precision for precision in PRECISIONS if precision in measured)
    baseline = _baseline(members)
    names = list(dict.fromkeys(result.name for result in members if not result.is_control))
    by_place = {(result.name, str(result.cell.get("precision"))): result for result in members}
    rows = [
        (
            name,
            tuple(
                _square(by_place.get((name, precision)), baseline, comparisons)
                for precision in precisions
            ),
        )
        for name in names
    ]
    cell = members[0].cell
    threads = formatting.count(int(cell.get("threads") or 0), "thread")
    batch = f"batch {cell.get('batch', formatting.DASH)}"
    place = [str(cell.get("device", "")), batch, threads, input_shapes.shown(cell)]
    return Family(
        model=str(cell.get("model", "")),
        setting=" · ".join(filter(None, place)),
        baseline=formatting.latency(baseline.compute) if baseline else formatting.DASH,
        precisions=precisions,
        rows=tuple(rows),
    )


def _baseline(members: Sequence[Result]) -> Result | None:
    eager = [
        result
        for result in members
        if result.ranks and result.name == BASELINE and result.cell.get("precision") == NATIVE
    ]
    return eager[0] if eager else None


def _square(
    result: Result | None, baseline: Result | None, comparisons: Comparisons
) -> Square | None:
    if result is None:
        return None
    labels = ", ".join(result.record.get("labels") or [])
    words = " · ".join(filter(None, [str(result.record.get("reason") or ""), labels]))
    if not result.ranks:
        return Square(result.outcome, labels, result.outcome, verdict.UNKNOWN, words)
    speedup = None if baseline is None else result_groups.ratio(baseline, result)
    needed = (result.record.get("parity") or {}).get("needed")
    parity = "" if needed is None else f"parity {formatting.number(needed, 2)}"
    small = " · ".join(
        filter(
            None,
            [formatting.ratio_interval(speedup) if result is not baseline else "", parity, labels],
        )
    )
    large = "1×" if result is baseline else formatting.ratio(speedup)
    busy = "" if baseline is None else machine_state.withheld(baseline, result, speedup)
    if busy:
        small = " · ".join(filter(None, [parity, labels]))
        return Square(formatting.NOT_JUDGED, small, result.outcome, verdict.UNKNOWN, busy)
    return Square(
        large,
        small,
        result.outcome,
        verdict.BASE
        if result is baseline
        else verdict.tone_of(comparisons.get(id(result)), speedup),
        words or formatting.latency(result.compute),
    )


def markdown(members: Sequence[Result]) -> str:
    """Return a Markdown table per family, for any number of precisions.

    A cell has the speed-up over eager fp32 with its interval, needed / allowed, and a reason if it
    did not run.
    """
    return "\n".join(_table(family) for family in families(members, least=1))


def _table(family: Family) -> str:
    lines = [
        f"### {family.model} · {family.setting}",
        "",
        f"Over `{BASELINE}` in {NATIVE}, {family.baseline} per inference.",
        "",
    ]
    lines += [
        f"| backend | {' | '.join(family.precisions)} |",
        f"|---{'|---' * len(family.precisions)}|",
    ]
    reasons: list[str] = []
    for name, squares in family.rows:
        lines.append(f"| `{name}` | {' | '.join(_words(square, reasons) for square in squares)} |")
    return "\n".join(
        [
            *lines,
            "",
            *(f"{number}. {_escaped(words)}" for number, words in enumerate(reasons, 1)),
            "",
        ]
    )


def _words(square: Square | None, reasons: list[str]) -> str:
    if square is None:
        return formatting.DASH
    if square.outcome == "ok":
        return _escaped(f"**{square.large}** {square.small}".strip())
    words = square.words or square.outcome
    if words not in reasons:
        reasons.append(words)
    return f"{square.outcome} ({reasons.index(words) + 1})"


def _escaped(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|")

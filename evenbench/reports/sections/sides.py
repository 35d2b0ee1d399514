"""The cells of a run beside their other sides: other commits, releases and options; past times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from evenbench.harness.statistics.estimates import median
from evenbench.reports import formatting, result_groups, verdict
from evenbench.reports.result_groups import Group, Result

ANOTHER_TIME = "measured at another time, not in turns"
"""Why a past time is not judged, without any recorded difference."""


class SideRow(NamedTuple):
    """A cell and another side of it, as texts. `ratio` is the time there over the time here."""

    cell: str
    side: str
    here: str
    there: str
    ratio: str
    words: str


def rows(groups: Sequence[Group]) -> list[SideRow]:
    """Return a row per cell of another side, and per past time; empty for a run without sides."""
    return [row for group in groups for row in _of_group(group)]


def _of_group(group: Group) -> Iterator[SideRow]:
    by_key = {result.cell.get("key"): result for result in group.results}
    for result in group.results:
        against = result.record.get("against")
        if against:
            yield _measured(group, by_key.get(against.get("key")), result, against)
        if result.record.get("then"):
            yield _past(result, result.record["then"])


def _measured(
    group: Group, here: Result | None, other: Result, against: Mapping[str, Any]
) -> SideRow:
    """The row of a side that took turns with the cell here."""
    side = str(other.cell.get("side") or other.name)
    known = result_groups.ratio(other, here) if here else None
    judged = here is not None and here.ranks and other.ranks
    return SideRow(
        str(against.get("cell", "")),
        side,
        _time(here),
        _time(other),
        _with_interval(known) if judged else formatting.DASH,
        verdict.relation(group, here, other, side) if here and judged else _unjudged(here, other),
    )


def _past(result: Result, then: Mapping[str, Any]) -> SideRow:
    """The row of a past time: another hour of the machine is in it, so no ratio is formed."""
    values = [float(value) for value in then.get("compute_ns") or []]
    outcome = str(then.get("outcome", ""))
    shown = f"{formatting.duration(median(values))} then" if values else formatting.DASH
    differ = [str(words) for words in then.get("differ") or []]
    reason = f"measured elsewhere: {'; '.join(differ)}" if differ else ANOTHER_TIME
    if outcome != "ok":
        shown, reason = f"[{shown}]", f"the past outcome is {outcome}"
    return SideRow(
        str(result.cell.get("id", "")),
        f"{then.get('results', '')}, {str(then.get('time', ''))[:10]}",
        _time(result),
        shown,
        formatting.DASH,
        f"{formatting.NOT_JUDGED}: {reason}",
    )


def _unjudged(here: Result | None, other: Result) -> str:
    wrong = next((result for result in (here, other) if result and not result.ranks), None)
    reason = (
        f"{wrong.name} is {wrong.outcome}"
        if wrong
        else "the cell here was measured again in another run"
    )
    return f"{formatting.NOT_JUDGED}: {reason}"


def _time(result: Result | None) -> str:
    return formatting.latency(result.compute if result else None)


def _with_interval(estimate: Any) -> str:
    return formatting.with_interval(formatting.ratio(estimate), formatting.ratio_interval(estimate))

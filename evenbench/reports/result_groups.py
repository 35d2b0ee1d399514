"""Groups of comparable results: one run, one `cell.group`, one input shape.

Rules of comparison: a speed-up stays within one run, one group and one boundary, is formed within
the rounds of a sweep, and only a correct result of a real runtime is ranked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from evenbench.harness.core import registry
from evenbench.harness.statistics.estimates import Estimate
from evenbench.harness.statistics.group_verdicts import Comparison
from evenbench.reports import group_order, machine_state
from evenbench.reports.recorded_results import Record, Result, has_interval, laps_of, ratio, results
from evenbench.reports.run_verdicts import RunVerdicts

__all__ = [
    "BASELINE",
    "Group",
    "Record",
    "Result",
    "groups",
    "has_interval",
    "laps_of",
    "ratio",
    "results",
]

BASELINE = registry.baseline()
"""The backend under every speed-up."""


@dataclass(frozen=True, eq=False)
class Group:
    """Comparable results: the same run, model, precision, device, batch and threads."""

    run: str
    name: str
    results: tuple[Result, ...]

    @cached_property
    def ranked(self) -> tuple[Result, ...]:
        """Correct results of real runtimes, fastest first by their ratios."""
        return self._judged.in_order(self.results)

    @property
    def _judged(self) -> RunVerdicts:
        return self.results[0].judged

    @cached_property
    def unranked(self) -> tuple[Result, ...]:
        """All other results, in recorded order: wrong, missing, failed, and controls."""
        return tuple(result for result in self.results if not result.ranks)

    @cached_property
    def baseline(self) -> Result | None:
        """The correct torch eager result with the fewest options, of the working folder's code.

        Arithmetic emulated in another precision is no baseline.
        """
        eager = [
            result
            for result in self.ranked
            if result.cell.get("backend") == BASELINE and not result.is_emulated
        ]
        return min(eager, key=lambda result: len(result.name.split()), default=None)

    @cached_property
    def asks_baseline(self) -> bool:
        """Whether torch eager was requested, whatever its outcome.

        Cells of steps around a network, for example, have no baseline.
        """
        return any(result.cell.get("backend") == BASELINE for result in self.results)

    def speedup(self, result: Result) -> Estimate | None:
        """Return the speed-up over the baseline; None if unranked, withheld, or without one."""
        return None if self.withheld(result) else self._speedup(result)

    def withheld(self, result: Result) -> str:
        """Return why the speed-up of a result is not judged on a busy machine; else empty."""
        speedup = self._speedup(result)
        if self.baseline is None or speedup is None:
            return ""
        return machine_state.withheld(self.baseline, result, speedup)

    def _speedup(self, result: Result) -> Estimate | None:
        if self.baseline is None or not result.ranks:
            return None
        if id(result) not in self._speedups:
            self._speedups[id(result)] = ratio(self.baseline, result)
        return self._speedups[id(result)]

    @cached_property
    def _speedups(self) -> dict[int, Estimate | None]:
        return {}

    def comparison(self, slower: Result, faster: Result) -> Comparison:
        """Return the corrected comparison of two ranked results: whether `faster` is faster."""
        return self._judged.comparison(slower, faster)

    @cached_property
    def fastest(self) -> tuple[Result, ...]:
        """Ranked results, each possibly the fastest, in order.

        Several results without a corrected difference; the first alone without intervals.
        """
        judged = [
            result
            for result in self._judged.fastest(self.results)
            if result is self.ranked[0] or has_interval(ratio(result, self.ranked[0]))
        ]
        return tuple(judged) or self.ranked[:1]

    @property
    def first(self) -> Record:
        """The cell of the first member, for values shared by all members."""
        return self.results[0].cell


def groups(members: Iterable[Result]) -> list[Group]:
    """Return groups by run, `cell.group` and shapes.

    Sorted by model, precision, device, batch and threads.
    """
    by_group: dict[tuple[str, str], list[Result]] = {}
    for result in members:
        by_group.setdefault((result.run, result.group), []).append(result)
    listed = [Group(run, name, tuple(members)) for (run, name), members in by_group.items()]
    return sorted(listed, key=lambda group: group_order.key(group.first, group.run))

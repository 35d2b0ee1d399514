"""Ratios and verdicts between the results of one run, judged together.

Words such as "faster" are corrected for their number in the run, so all groups are judged at once,
at the first use. Two results are compared within the rounds of their common sweeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol, TypeVar

from evenbench.harness.core.types import COMPUTE
from evenbench.harness.results.interleaving import ALONE
from evenbench.harness.statistics import group_verdicts, ratios
from evenbench.harness.statistics.estimates import Estimate, median
from evenbench.harness.statistics.group_verdicts import Comparison, GroupVerdict
from evenbench.harness.statistics.ratios import Prior, Ratio, Sweeps
from evenbench.reports import formatting, machine_state
from evenbench.reports.formatting import Measured


class Member(Protocol):
    """A result of a run, of any group."""

    @property
    def group(self) -> str:
        """The name of the group, unique within the run."""

    @property
    def ranks(self) -> bool:
        """Whether the result takes part."""

    @property
    def record(self) -> Any:
        """The recorded line."""

    @property
    def busy_cores(self) -> float:
        """Cores used by other processes while laps were timed, if threads had to wait."""

    def sweeps_of(self, boundary: str) -> Sweeps:
        """Sweep → round → time of a block in nanoseconds."""


Result = TypeVar("Result", bound=Member)


class RunVerdicts:
    """The comparisons between all ranked results of a run.

    Results are added before the first comparison.
    """

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, Member]] = {}
        self._keys: dict[int, str] = {}
        self._priors: dict[str, Prior] = {}
        self._ratios: dict[tuple[int, int, str], Ratio | None] = {}

    def add(self, result: Member) -> None:
        """Add a result; only ranked results take part."""
        if result.ranks:
            members = self._groups.setdefault(result.group, {})
            key = self._keys[id(result)] = str(len(members))
            members[key] = result

    @cached_property
    def _verdicts(self) -> Mapping[str, GroupVerdict]:
        return group_verdicts.judge(self._sweeps(COMPUTE), self._is_withheld)

    def _is_withheld(self, name: str, first: str, second: str, known: Ratio) -> bool:
        members = self._groups[name]
        one, other = members[first], members[second]
        if not one.busy_cores and not other.busy_cores:
            return False
        interval = known.estimate() if known.sweeps > 1 else None
        return bool(machine_state.withheld(one, other, interval))

    def _sweeps(self, boundary: str) -> dict[str, dict[str, Sweeps]]:
        return {
            name: {key: result.sweeps_of(boundary) for key, result in members.items()}
            for name, members in self._groups.items()
        }

    def comparison(self, slower: Member, faster: Member) -> Comparison:
        """The corrected comparison of two ranked results of one group, within `compute`."""
        verdict = self._verdicts[slower.group]
        return verdict.between(self._keys[id(slower)], self._keys[id(faster)])

    def in_order(self, members: Iterable[Result]) -> tuple[Result, ...]:
        """Ranked results of one group, fastest first."""
        return self._picked(members, lambda verdict: verdict.order)

    def fastest(self, members: Iterable[Result]) -> tuple[Result, ...]:
        """The ranked results of one group without a faster result, in order of times."""
        return self._picked(members, lambda verdict: verdict.fastest)

    def _picked(
        self, members: Iterable[Result], choose: Callable[[GroupVerdict], Sequence[str]]
    ) -> tuple[Result, ...]:
        by_key = {self._keys[id(result)]: result for result in members if result.ranks}
        if not by_key:
            return ()
        verdict = self._verdicts[next(iter(by_key.values())).group]
        return tuple(by_key[key] for key in choose(verdict) if key in by_key)

    def ratio(self, slower: Member, faster: Member, boundary: str = COMPUTE) -> Ratio | None:
        """The ratio of two results of the run, also of different groups."""
        pair = id(slower), id(faster), boundary
        if pair not in self._ratios:
            self._ratios[pair] = self._judged(slower, faster, boundary) or ratios.ratio(
                *paired(slower.sweeps_of(boundary), faster.sweeps_of(boundary)),
                self._prior(boundary),
            )
        return self._ratios[pair]

    def _judged(self, slower: Member, faster: Member, boundary: str) -> Ratio | None:
        """The ratio behind the words about two results of one group; None without words."""
        in_one_group = slower is not faster and slower.group == faster.group
        ranked = {id(slower), id(faster)} <= self._keys.keys()
        if boundary != COMPUTE or not in_one_group or not ranked:
            return None
        return self.comparison(slower, faster).ratio

    def _prior(self, boundary: str) -> Prior:
        if boundary not in self._priors:
            groups = self._sweeps(boundary)
            measured = {
                name: {key: sweeps for key, sweeps in members.items() if sweeps}
                for name, members in groups.items()
            }
            self._priors[boundary] = group_verdicts.prior_of_groups(
                {name: members for name, members in measured.items() if members}
            )
        return self._priors[boundary]


def paired(slower: Sweeps, faster: Sweeps) -> tuple[Sweeps, Sweeps]:
    """Both as given with a common sweep, otherwise with processes paired in their order."""
    if slower.keys() & faster.keys():
        return slower, faster
    return by_process(slower), by_process(faster)


def by_process(sweeps: Sweeps) -> dict[str, dict[int, float]]:
    """Sweeps numbered in order, with the median of their rounds as the only round."""
    values = [median(list(times.values())) for times in sweeps.values() if times]
    return {f"{ALONE} {number}": {0: value} for number, value in enumerate(values)}


def compared(pairs: Sequence[tuple[Sweeps, Sweeps]]) -> list[Comparison]:
    """The comparison of each pair (slower, faster), corrected for the number of pairs.

    For ratios between groups, for example between precisions.
    """
    groups = {
        str(number): dict(zip(("slower", "faster"), paired(*pair), strict=True))
        for number, pair in enumerate(pairs)
    }
    return [
        verdict.between("slower", "faster") for verdict in group_verdicts.judge(groups).values()
    ]


def estimate(ratio: Ratio | None, slower: Sweeps, faster: Sweeps) -> Estimate | None:
    """The estimate of a ratio with its 95 % interval, and the ratio of each sweep if not judged.

    A single sweep has no interval here, with any prior: a single process shows no stall.
    """
    if ratio is None:
        return None
    known = ratio.estimate()
    if ratio.sweeps < 2:
        return Estimate(known.value, None, None, ratio.sweeps)
    if formatting.judged(known):
        return known
    slower, faster = paired(slower, faster)
    values = tuple(
        median(list(times.values())) / median(list(faster[sweep].values()))
        for sweep, times in slower.items()
        if times and faster.get(sweep)
    )
    return Measured(known.value, known.low, known.high, known.processes, values)


def level(sweeps: Sweeps) -> Estimate | None:
    """The robust level of a cell, with the level of each process if not judged."""
    known = ratios.level(sweeps)
    if known is None or formatting.judged(known):
        return known
    values = tuple(times[0] for times in by_process(sweeps).values())
    return Measured(known.value, known.low, known.high, known.processes, values)

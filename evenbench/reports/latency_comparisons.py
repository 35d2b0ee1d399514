"""Comparisons of host-to-host latency between the results of one run, model and batch size.

Results of a deployment compare across groups, for example precisions. Differences are corrected
for the number of pairs by Holm's procedure, as the words of a run are.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property

from evenbench.harness.core.types import HOST_TO_HOST
from evenbench.harness.statistics.group_verdicts import DIFFERENCE_ERROR
from evenbench.harness.statistics.ratios import Ratio
from evenbench.harness.statistics.words import holm
from evenbench.reports.result_groups import Result

Pair = tuple[int, int]
"""The `id`s of two results, in the order of the members."""


class LatencyComparisons:
    """The ratios between all members, computed at the first use."""

    def __init__(self, members: Sequence[Result]) -> None:
        self._members = members

    @cached_property
    def _ratios(self) -> dict[Pair, Ratio | None]:
        return {
            (id(one), id(other)): one.judged.ratio(one, other, HOST_TO_HOST)
            for one, other in itertools.combinations(self._members, 2)
        }

    @cached_property
    def _different(self) -> set[Pair]:
        known = {pair: ratio for pair, ratio in self._ratios.items() if ratio and ratio.sweeps > 1}
        p_values = [ratio.p_value() for ratio in known.values()]
        rejected = holm(p_values, DIFFERENCE_ERROR)
        return {pair for pair, differs in zip(known, rejected, strict=True) if differs}

    def ratio(self, slower: Result, faster: Result) -> Ratio | None:
        """The time of `slower` over that of `faster`; None without times of both."""
        known = self._ratios.get((id(slower), id(faster)))
        if known is not None:
            return known
        turned = self._ratios.get((id(faster), id(slower)))
        return None if turned is None else turned.reverse()

    def differ(self, one: Result, other: Result) -> bool:
        """Whether the corrected comparison tells two members apart."""
        pair = id(one), id(other)
        return pair in self._different or pair[::-1] in self._different

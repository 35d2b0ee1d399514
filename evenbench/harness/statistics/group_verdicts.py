"""Words about all pairs of cells of a run, corrected for how many pairs there are.

Independent of benchmarks. At most 5 % of runs have any false word. Holm's procedure corrects
difference words at a family-wise 4 %, and equivalence words come from limits at a simultaneous 1 %
(Bonferroni), both over all pairs of all groups.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from evenbench.harness.statistics.ratios import Prior, Ratio, Sweeps, level, prior_of, ratio
from evenbench.harness.statistics.words import (
    EQUIVALENT,
    FASTER,
    INCONCLUSIVE,
    SLOWER,
    Word,
    holm,
    opposite,
)

DIFFERENCE_ERROR = 0.04
"""The chance of any false difference word in a run."""

EQUIVALENCE_ERROR = 0.01
"""The chance of any false equivalence word in a run."""

WIDEST_MARGIN = 0.05
"""The largest share of time for which cells are called equivalent."""

Groups = Mapping[str, Mapping[str, Sweeps]]
"""Group → member → sweeps of blocks."""


@dataclass(frozen=True)
class Comparison:
    """A word about two members.

    `FASTER`: the time of the second member, `faster`, is below that of the first, `slower`.
    """

    ratio: Ratio | None
    """Time of the first member over that of the second; None without a round in common."""
    word: Word
    within: float | None = None
    """The share within which the members are `EQUIVALENT`: 0.02 is 2 %; None for other words."""

    def reverse(self) -> Comparison:
        """The same comparison with both members exchanged."""
        turned = None if self.ratio is None else self.ratio.reverse()
        return replace(self, ratio=turned, word=opposite(self.word))


@dataclass(frozen=True)
class GroupVerdict:
    """All comparisons of a group, and its ranking."""

    comparisons: Mapping[tuple[str, str], Comparison]
    """(slower, faster) → comparison, each pair in one order; see `between`."""
    fastest: tuple[str, ...]
    """Each member that may be the fastest, i.e. not significantly slower than any other."""
    order: tuple[str, ...]
    """Members by time, fastest first: by the mean of log ratios to all other members."""

    def between(self, slower: str, faster: str) -> Comparison:
        """The comparison of two members. Raises KeyError for an unknown pair."""
        known = self.comparisons.get((slower, faster))
        return known if known is not None else self.comparisons[faster, slower].reverse()


def prior_of_groups(groups: Groups) -> Prior:
    """The prior of a run: from the ratios of each member to the first member of its group."""
    own = []
    for members in groups.values():
        cells = list(members.values())
        own += [ratio(cells[0], other) for other in cells[1:]]
    return prior_of(pair for pair in own if pair is not None)


def judge(
    groups: Groups, withheld: Callable[[str, str, str, Ratio], bool] | None = None
) -> Mapping[str, GroupVerdict]:
    """The verdict on each group, with words corrected over all groups.

    `withheld(group, first, second, ratio)` is true for a ratio without evidence, such as one from a
    busy machine; its pair is `INCONCLUSIVE`, and still counts in the corrections.
    A single sweep without a prior leaves each pair `INCONCLUSIVE`, as do members without a round in
    common.
    """
    prior = prior_of_groups(groups)
    ratios = {
        (name, first, second): ratio(members[first], members[second], prior)
        for name, members in groups.items()
        for first, second in itertools.combinations(members, 2)
    }
    known = {
        key: pair for key, pair in ratios.items() if pair is not None and pair.error is not None
    }
    words = dict(zip(known, _words(list(known.values())), strict=True))
    comparisons: dict[str, dict[tuple[str, str], Comparison]] = {name: {} for name in groups}
    for (name, first, second), pair in ratios.items():
        known_word = words.get((name, first, second), Comparison(pair, INCONCLUSIVE))
        if pair is not None and withheld is not None and withheld(name, first, second, pair):
            known_word = Comparison(pair, INCONCLUSIVE)
        comparisons[name][first, second] = known_word
    return {name: _ranked(members, comparisons[name]) for name, members in groups.items()}


def _words(ratios: Sequence[Ratio]) -> list[Comparison]:
    """The comparison of each ratio, corrected for their number."""
    different = holm([pair.p_value() for pair in ratios], DIFFERENCE_ERROR)
    comparisons = []
    for pair, differs in zip(ratios, different, strict=True):
        within = margin(pair, EQUIVALENCE_ERROR / len(ratios))
        if differs:
            comparisons.append(Comparison(pair, FASTER if pair.log > 0 else SLOWER))
        elif within is not None:
            comparisons.append(Comparison(pair, EQUIVALENT, within))
        else:
            comparisons.append(Comparison(pair, INCONCLUSIVE))
    return comparisons


def margin(pair: Ratio, error: float) -> float | None:
    """The smallest whole percent that holds the interval, as a share; None above `WIDEST_MARGIN`.

    Each limit has the one-sided `error`, as in two one-sided tests (D. J. Schuirmann, J.
    Pharmacokinet. Biopharm. 15, 1987): a ratio beyond the margin lies beyond one side only.
    """
    half = pair.half_width(1 - 2 * error)
    if half is None:
        return None
    percent = max(1, math.ceil(100 * math.expm1(abs(pair.log) + half) - 1e-9))
    return percent / 100 if percent <= 100 * WIDEST_MARGIN else None


def _ranked(
    members: Mapping[str, Sweeps], comparisons: Mapping[tuple[str, str], Comparison]
) -> GroupVerdict:
    """Order and front of a group."""
    slowness = dict.fromkeys(members, 0.0)
    beaten = set()
    for (first, second), comparison in comparisons.items():
        log = comparison.ratio.log if comparison.ratio else _level_log(members, first, second)
        slowness[first] += log
        slowness[second] -= log
        if comparison.word in (FASTER, SLOWER):
            beaten.add(first if comparison.word == FASTER else second)
    order = tuple(sorted(members, key=lambda member: slowness[member]))
    front = tuple(member for member in order if member not in beaten)
    return GroupVerdict(comparisons, front or order, order)


def _level_log(members: Mapping[str, Sweeps], first: str, second: str) -> float:
    """The log ratio of levels, for members without a round in common; 0 without a block."""
    levels = level(members[first]), level(members[second])
    if levels[0] is None or levels[1] is None:
        return 0.0
    return math.log(levels[0].value / levels[1].value)

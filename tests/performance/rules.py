"""What other tools would have said about the very laps that the gate judged, each by its own rule
with its own code where it has some.

A comparison's samples are two lists of processes, base and head, of seconds per sample. They were
measured alternately, which none of these tools does itself: slow drift of the machine cancels for
them here, and what they are shown to get wrong is the least they would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

Samples = Sequence[Sequence[float]]
"""Per process, in the order taken: seconds per sample."""

ASV_PROCESSES = 2
"""asv's default `rounds`."""


def asv(base: Samples, head: Samples) -> bool:
    """`asv continuous` with its defaults: two processes each, its own test of difference, and a
    factor of 1.1.
    """
    from asv.commands.compare import _is_result_better
    from asv_runner.statistics import compute_stats

    pooled = [list(chain.from_iterable(side[:ASV_PROCESSES])) for side in (base, head)]
    (base_level, base_stats), (head_level, head_stats) = (
        compute_stats(values, 1) for values in pooled
    )
    return bool(
        _is_result_better(
            base_level, head_level, (base_stats, pooled[0]), (head_stats, pooled[1]), 1.1
        )
    )


def pytest_benchmark(base: Samples, head: Samples) -> bool:
    """`--benchmark-compare-fail=mean:5%`: one process each."""
    from pytest_benchmark.utils import parse_compare_fail

    return bool(
        parse_compare_fail("mean:5%").fails({"mean": _mean(head[0])}, {"mean": _mean(base[0])})
    )


def t_test(base: Samples, head: Samples) -> bool:
    """Welch's t-test at 5 % over all laps of all processes, as in a script; slower only."""
    from scipy import stats

    pooled = [list(chain.from_iterable(side)) for side in (base, head)]
    found = stats.ttest_ind(pooled[1], pooled[0], equal_var=False)
    return bool(found.pvalue < 0.05 and found.statistic > 0)


def github_action(percent: int) -> Callable[[Samples, Samples], bool]:
    """github-action-benchmark's `alert-threshold`: the ratio of two means, one process each."""
    return lambda base, head: _mean(head[0]) / _mean(base[0]) > percent / 100


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


RULES: Mapping[str, Callable[[Samples, Samples], bool]] = {
    "asv continuous (2 processes, U test, factor 1.1)": asv,
    "pytest-benchmark `mean:5%`": pytest_benchmark,
    "Welch's t-test at 5 %, all laps pooled": t_test,
    "github-action-benchmark `110%`": github_action(110),
    "github-action-benchmark `200%` (its default)": github_action(200),
}
"""Whether the head is called slower, by the name of the rule."""

"""The gate's verdicts: known answers, what is refused, and its error rates, simulated through the
very code that judges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from evenbench.harness.core.errors import UsageError
from evenbench.harness.statistics import paired_intervals, paired_test, ratios, words
from evenbench.harness.statistics.paired_test import Rule

DRAWS = 10_000
PAIRS = 30
Array = np.ndarray[Any, Any]


def normal(rng: np.random.Generator, spread: float) -> Array:
    return rng.normal(0, spread, (DRAWS, PAIRS))


def heavy_tailed(rng: np.random.Generator, spread: float) -> Array:
    """Student's t with three degrees of freedom, scaled to the same standard deviation."""
    return rng.standard_t(3, (DRAWS, PAIRS)) * spread / math.sqrt(3)


def contaminated(rng: np.random.Generator, spread: float) -> Array:
    """One pair in ten is disturbed fivefold."""
    return normal(rng, spread) * np.where(rng.random((DRAWS, PAIRS)) < 0.1, 5, 1)


def autocorrelated(rng: np.random.Generator, spread: float) -> Array:
    """Each pair of processes is the median of 24 paired laps that follow AR(1) with rho 0.4, around
    its own level.
    """
    noise = rng.normal(0, 2 * spread, (DRAWS, PAIRS, 24)).astype(np.float32)
    for lap in range(1, 24):
        noise[..., lap] = 0.4 * noise[..., lap - 1] + math.sqrt(1 - 0.4**2) * noise[..., lap]
    return np.asarray(np.median(noise, axis=-1) + normal(rng, spread))


def two_mode(rng: np.random.Generator, spread: float) -> Array:
    """Each process of a pair lands in one of two modes by itself, as memory layout makes them."""
    slow = [np.where(rng.random((DRAWS, PAIRS)) < 0.3, 2 * spread, 0) for _ in range(2)]
    return normal(rng, spread / 2) + slow[0] - slow[1]


def judge(pairs: Iterable[float]) -> paired_test.Judgement:
    """The verdict on log ratios by the default rule."""
    return paired_test.judge(ratios.of_values(list(pairs)), Rule())


SHAPES = (normal, heavy_tailed, contaminated, autocorrelated, two_mode)


def stops_at(pairs: Array, rule: Rule) -> Array:
    """The number of pairs (last axis, in order) each session takes before stopping.

    The first count from `rule.least` on with precise pairs; else `rule.most`, or all pairs.
    """
    available = min(rule.most, pairs.shape[-1])
    stopped = np.full(pairs.shape[:-1], available)
    for count in range(available, rule.least - 1, -1):
        stopped = np.where(paired_test.precise(pairs[..., :count], rule), count, stopped)
    return stopped


def rates(pairs: Array, rule: Rule, truth: float = 0.0) -> tuple[float, float, float]:
    """Shares of sessions that call slower, that call faster, and whose interval covers the truth;
    each stops by itself.
    """
    stopped = stops_at(pairs, rule)
    slower = faster = covered = 0
    for count in np.unique(stopped):
        taken = pairs[stopped == count][:, :count]
        found = paired_test.verdicts(taken, rule)
        half = paired_intervals.half_width(taken, rule.confidence)
        slower += np.sum(found == "slower")
        faster += np.sum(found == "faster")
        covered += np.sum(np.abs(taken.mean(axis=-1) - truth) <= half)
    return float(slower / len(pairs)), float(faster / len(pairs)), float(covered / len(pairs))


@pytest.mark.parametrize("spread", [0.01, 0.02, 0.04])
@pytest.mark.parametrize("shape", SHAPES)
def test_false_alarms_and_coverage_of_ten_thousand_sessions(
    shape: Callable[..., Array], spread: float
) -> None:
    pairs = shape(np.random.default_rng(1), spread)
    slower, faster, covered = rates(pairs, Rule(margin=0.0))
    assert slower + faster <= 0.012
    assert covered >= 0.985
    slower, faster, covered = rates(pairs, Rule())
    assert slower + faster <= 0.001
    assert covered >= 0.985


@pytest.mark.parametrize("shape", SHAPES)
def test_five_percent_is_found_where_pairs_spread_by_one(shape: Callable[..., Array]) -> None:
    slower, faster, covered = rates(
        shape(np.random.default_rng(2), 0.01) + math.log(1.05), Rule(), math.log(1.05)
    )
    assert slower >= 0.9
    assert faster == 0
    assert covered >= 0.985


def test_stopping_when_significant_would_alarm_more_than_twice_as_often() -> None:
    """Why the rule looks at the width: the rule that it is not."""
    pairs, rule = normal(np.random.default_rng(3), 0.02), Rule(margin=0.0)
    peeking = np.zeros(DRAWS, bool)
    for count in range(rule.least, rule.most + 1):
        found = paired_test.verdicts(pairs[:, :count], rule)
        peeking |= (found == "slower") | (found == "faster")
    slower, faster, _ = rates(pairs, rule)
    assert peeking.mean() > 2 * (slower + faster)


@pytest.mark.parametrize("count", [8, 9, 12, 20, 30])
def test_the_interval_of_many_sessions_is_that_of_one_and_of_a_run(count: int) -> None:
    """One estimator: what is simulated is what judges, and what `evenbench run` reports."""
    sessions = np.random.default_rng(count).standard_t(3, (5, count)) / 50
    halves = paired_intervals.half_width(sessions, 0.99)
    for pairs, half in zip(sessions, halves, strict=True):
        base = {str(number): {0: 1.0} for number in range(count)}
        head = {str(number): {0: math.exp(value)} for number, value in enumerate(pairs)}
        ratio = ratios.ratio(head, base)
        assert ratio is not None
        assert not ratio.apart
        assert ratio.half_width(0.99) == pytest.approx(float(half), rel=1e-9)
        assert ratio.values == pytest.approx(tuple(pairs))
        expected = stats.t.interval(0.99, count - 1, pairs.mean(), stats.sem(pairs))
        assert half / ratios.INFLATION == pytest.approx((expected[1] - expected[0]) / 2)


@pytest.mark.parametrize("count", range(8, 31))
def test_the_sign_interval_is_exact(count: int) -> None:
    rank = int(paired_intervals.sign_rank(count, 0.99))
    assert 2 * stats.binom.cdf(rank - 1, count, 0.5) <= 0.01 < 2 * stats.binom.cdf(rank, count, 0.5)


def test_too_few_pairs_have_no_sign_interval() -> None:
    assert math.isinf(paired_intervals.sign_rank(7, 0.99))
    assert paired_intervals.sign_interval(np.zeros((3, 7)), 0.99)[1].tolist() == [math.inf] * 3


STEADY = np.linspace(-0.004, 0.004, 12)


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [
        (math.log(1.06), "slower"),
        (-math.log(1.06), "faster"),
        (0.0, "equivalent"),
        (math.log(1.02), "inconclusive"),
    ],
)
def test_four_verdicts(shift: float, verdict: str) -> None:
    found = judge(STEADY + shift)
    assert found.verdict == verdict
    assert found.low < found.ratio < found.high
    assert found.ratio == pytest.approx(math.exp(shift))
    assert (found.needed_pairs is not None) <= (verdict == "inconclusive")


@pytest.mark.parametrize(("stalled", "verdict"), [(3.0, "equivalent"), (-3.0, "equivalent")])
def test_a_stalled_process_of_either_side_changes_no_verdict(stalled: float, verdict: str) -> None:
    logs = np.zeros((2, 12)) + STEADY
    logs[int(stalled > 0), 3] = 3.0  # head or base
    head, base = (
        {str(number): {0: math.exp(value)} for number, value in enumerate(side)} for side in logs
    )
    ratio = ratios.ratio(head, base)
    assert ratio is not None
    assert list(ratio.apart) == ["3"]
    assert paired_test.judge(ratio, Rule()).verdict == verdict


def test_too_few_pairs_without_a_stalled_process_never_alarm() -> None:
    kept = replace(ratios.of_values([math.log(1.5)] * 7), apart={"7": "slower"})
    assert paired_test.judge(kept, Rule()).verdict == "inconclusive"


def test_where_the_exact_interval_reaches_the_far_side_nobody_is_called_slower() -> None:
    pairs = np.full(9, math.log(1.10)) + STEADY[:9]
    pairs[0] = -0.021
    bounds = paired_test.Bounds.of(pairs, Rule())
    assert bounds.low > Rule().log_margin, "the interval of the mean alone would alarm"
    assert judge(pairs).verdict == "inconclusive"


def test_an_inconclusive_session_says_how_many_pairs_would_decide_it() -> None:
    rng = np.random.default_rng(7)
    pairs = list(rng.normal(math.log(1.045), 0.04, 12))
    found = judge(pairs)
    assert found.verdict == "inconclusive"
    assert found.needed_pairs is not None
    more = judge([*pairs * (found.needed_pairs // 12 + 1)][: found.needed_pairs])
    assert more.verdict == "slower"


def test_a_judgement_is_finite_however_wild_the_pairs() -> None:
    """A busy machine makes intervals of more than a factor of ten; a file has no infinity."""
    wild = judge([4.0, -4.0, 5.0, -5.0, 3.0, -3.0, 60.0, -60.0])
    assert wild.verdict == "inconclusive"
    numbers = (wild.ratio, wild.low, wild.high, wild.sign_low, wild.sign_high, wild.p)
    assert all(map(math.isfinite, numbers))
    few = judge([0.0] * 8)
    assert math.isfinite(few.sign_high)


def test_identical_pairs_need_no_spread() -> None:
    assert judge([0.0] * 8).verdict == "equivalent"
    same = judge([math.log(1.1)] * 8)
    assert (same.verdict, same.p) == ("slower", pytest.approx(0.0, abs=1e-9))


def test_sessions_stop_on_precision() -> None:
    wide, narrow = np.linspace(-0.3, 0.3, 30), np.linspace(-0.004, 0.004, 30)
    shifted = narrow + math.log(1.06)
    assert stops_at(np.stack([wide, narrow, shifted]), Rule()).tolist() == [30, 8, 8]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"most": 7, "least": 6}, "7 pairs can never alarm at 99% confidence.*allow 8 or more"),
        ({"confidence": 0.9999, "most": 12}, "12 pairs can never alarm.*allow 15 or more"),
        ({"least": 20, "most": 10}, "at least 20 and at most 10"),
        ({"margin": -0.1}, "margin -0.1"),
        ({"precision": 0.0}, "precision 0"),
    ],
)
def test_a_rule_that_can_never_alarm_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Rule(**wrong)


def test_seven_pairs_are_not_judged() -> None:
    with pytest.raises(UsageError, match="7 pairs cannot be judged"):
        judge([0.0] * 7)


def test_holm_against_a_naive_reading() -> None:
    p_values = [0.004, 0.03, 0.0001, 0.02, 0.0033]
    assert words.holm(p_values, 0.01) == [False, False, True, False, False]
    assert words.holm([0.004, 0.0001, 0.0033], 0.01) == [True, True, True]
    assert words.holm([], 0.01) == []


@pytest.mark.parametrize(("spread", "pairs"), [(0.01, 12), (0.02, 12), (0.02, 30), (0.04, 20)])
def test_the_detectable_slowdown_is_found_as_often_as_promised(spread: float, pairs: int) -> None:
    rule = Rule()
    least = math.log1p(paired_test.detectable(spread, pairs, rule))
    drawn = np.random.default_rng(6).normal(least, spread, (20_000, pairs))
    assert np.mean(paired_test.verdicts(drawn, rule) == "slower") == pytest.approx(0.8, abs=0.02)

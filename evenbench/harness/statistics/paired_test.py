"""Two sides measured in pairs: log ratios of process pairs yield a verdict out of four.

Independent of benchmarks. The unit is a *pair of processes*, one per side, measured alternately.
A pair's number is the median of ln(head / base) over paired samples; a sample is a mean lap. Over
K pairs the estimate is the 20 % trimmed mean with Yuen's interval (K. K. Yuen, "The two-sample
trimmed t for unequal population variances", Biometrika 61, 1974, in the one-sample form), robust
against a single disturbed pair.
Sampling stops on precision and never on significance, so looking does not raise false alarms; a
single test follows.

All functions take arrays with pairs on the last axis, so simulations run ten thousand sessions
through the same code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evenbench.harness.core.errors import UsageError
from evenbench.harness.statistics.paired_intervals import (
    Interval,
    sign_interval,
    sign_rank,
    t_quantile,
    yuen,
)

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

Verdict = Literal["slower", "faster", "equivalent", "inconclusive"]
VERDICTS: tuple[Verdict, ...] = ("slower", "faster", "equivalent", "inconclusive")

FEWEST_PAIRS = 8
"""With fewer pairs the exact 99 % sign interval is infinite, and no alarm is possible."""

SIGN_WIDTH = 3
"""The largest half-width of the sign interval at a stop, in multiples of the precision."""


@dataclass(frozen=True)
class Rule:
    """Limits for stopping and for verdicts. Raises UsageError for a rule without possible alarms.

    `margin` and `precision` are relative: 0.02 is 2 %. `precision` is the half-width of Yuen's
    interval at a stop. `least` and `most` count pairs; `trim` is the share cut from each end.
    """

    margin: float = 0.02
    precision: float = 0.02
    confidence: float = 0.99
    least: int = FEWEST_PAIRS
    most: int = 30
    trim: float = 0.2

    @classmethod
    def of_at_most(cls, pairs: int, margin: float) -> Rule:
        """The rule for sessions of at most `pairs` pairs, with as few as that if there are few."""
        return cls(margin=margin, most=pairs, least=min(FEWEST_PAIRS, pairs))

    def __post_init__(self) -> None:
        if (
            not 0 <= self.margin < 1
            or not 0 < self.precision < 1
            or not 0.5 <= self.confidence < 1
            or not 0 <= self.trim < 0.5
        ):
            raise UsageError(
                f"gate: margin {self.margin:g} must lie in [0, 1), precision {self.precision:g} "
                "in (0, 1), confidence "
                f"{self.confidence:g} in [0.5, 1) and trim {self.trim:g} in [0, 0.5)"
            )
        if self.least > self.most:
            raise UsageError(
                f"gate: at least {self.least} and at most {self.most} pairs leave none; raise "
                "the second"
            )
        if not math.isfinite(sign_rank(self.most, self.confidence)):
            fewest = next(
                pairs
                for pairs in range(1, 1000)
                if math.isfinite(sign_rank(pairs, self.confidence))
            )
            raise UsageError(
                f"gate: {self.most} pairs can never alarm at {self.confidence:.0%} confidence, "
                "however large the slowdown; "
                f"allow {fewest} or more"
            )

    @property
    def nominal(self) -> float:
        """The confidence of Yuen's interval for a final coverage of `confidence`.

        Stopping at the first narrow interval favours intervals with too little width: simulated, a
        nominal 99 % then covers 97.5 to 99.6 %, and half the error, 99.5 %, covers 98.7 % or better
        (tests/unit/statistics/test_paired_test.py).
        """
        return 1 - (1 - self.confidence) / 2

    @property
    def log_margin(self) -> float:
        """The margin on the scale of log ratios; faster by the margin is 1 / (1 + margin)."""
        return math.log1p(self.margin)


def precise(pairs: Array, rule: Rule) -> Array:
    """Whether each session may stop: both intervals are narrow, or Yuen's lies in the margin.

    The direction of a difference plays no part. A narrow Yuen's interval is not enough: with eight
    pairs the sign interval is the whole range, too wide for a verdict after a single disturbed
    pair. `pairs` has shape [..., K], and the result the shape [...].
    """
    interval = yuen(pairs, rule.nominal, rule.trim)
    sign_low, sign_high = sign_interval(pairs, rule.confidence)
    backed = (sign_high - sign_low) / 2 <= SIGN_WIDTH * math.log1p(rule.precision)
    narrow = (interval.half <= math.log1p(rule.precision)) & backed
    equal = (interval.low > -rule.log_margin) & (interval.high < rule.log_margin)
    flags: Array = narrow | equal
    return flags


def is_precise(pairs: Sequence[float], rule: Rule) -> bool:
    """`precise` for the pairs of a single session."""
    return bool(precise(np.asarray(pairs, dtype=float), rule))


def verdicts(pairs: Array, rule: Rule) -> Array:
    """The verdict of each session, out of `VERDICTS`, over all pairs of shape [..., K].

    `slower` and `faster` need the whole of Yuen's interval beyond the margin, and an exact sign
    interval short of the opposite margin. `equivalent` needs Yuen's interval between both margins.
    All other sessions are `inconclusive`.
    """
    interval = yuen(pairs, rule.nominal, rule.trim)
    sign_low, sign_high = sign_interval(pairs, rule.confidence)
    margin = rule.log_margin
    conditions = [
        (interval.low > margin) & (sign_low > -margin),
        (interval.high < -margin) & (sign_high < margin),
        (interval.low > -margin) & (interval.high < margin),
    ]
    return np.select(conditions, VERDICTS[:3], VERDICTS[3])


@dataclass(frozen=True)
class Judgement:
    """The verdict of a session on head over base. Ratios: 1.05 is 5 % slower."""

    verdict: Verdict
    ratio: float
    low: float
    high: float
    sign_low: float
    sign_high: float
    pairs: int
    p: float
    """One-sided p-value of "the change is within the margin", in the estimate's direction."""
    needed_pairs: int | None
    """For an inconclusive session: pairs needed for a verdict (estimate); None for 1000 or more."""


def judge(pairs: Sequence[float], rule: Rule) -> Judgement:
    """The verdict over log ratios of process pairs, head over base.

    Raises UsageError for fewer than `FEWEST_PAIRS` pairs.
    """
    if len(pairs) < FEWEST_PAIRS:
        raise UsageError(
            f"gate: {len(pairs)} pairs cannot be judged at {rule.confidence:.0%} confidence; "
            f"{FEWEST_PAIRS} are the least"
        )
    values = np.asarray(pairs, dtype=float)
    interval = yuen(values, rule.nominal, rule.trim)
    sign = sign_interval(values, rule.confidence)
    verdict: Verdict = verdicts(values, rule).item()
    return Judgement(
        verdict=verdict,
        ratio=math.exp(interval.centre),
        low=math.exp(interval.low),
        high=math.exp(interval.high),
        sign_low=math.exp(sign[0]),
        sign_high=math.exp(sign[1]),
        pairs=len(values),
        p=p_value(interval, rule),
        needed_pairs=needed_pairs(interval, len(values), rule)
        if verdict == "inconclusive"
        else None,
    )


def p_value(interval: Interval, rule: Rule) -> float:
    """The one-sided p-value of "the change is within the margin", by the trimmed t test."""
    from scipy.special import stdtr  # scipy.special alone: scipy.stats takes a second to import

    beyond = abs(float(interval.centre)) - rule.log_margin
    if not interval.error:
        return 0.0 if beyond > 0 else 1.0
    return float(stdtr(interval.freedom, -beyond / float(interval.error)))


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Hypotheses rejected at a family-wise `alpha` (S. Holm, Scand. J. Statistics 6, 1979)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    rejected = [False] * len(p_values)
    for step, index in enumerate(order):
        if p_values[index] > alpha / (len(p_values) - step):
            break
        rejected[index] = True
    return rejected


def needed_pairs(interval: Interval, pairs: int, rule: Rule) -> int | None:
    """Pairs needed to clear the margin, for a constant centre; None for 1000 or more."""
    distance = abs(abs(float(interval.centre)) - rule.log_margin)
    spread = float(interval.error) * math.sqrt(
        pairs
    )  # the standard error shrinks with the root of the number of pairs
    for count in range(max(pairs + 1, FEWEST_PAIRS), 1000):
        freedom = count - 2 * int(rule.trim * count) - 1
        if t_quantile(0.5 + rule.nominal / 2, freedom) * spread / math.sqrt(count) < distance:
            return count
    return None


def detectable(spread: float, pairs: int, rule: Rule, power: float = 0.8) -> float:
    """The smallest slowdown (0.05 is 5 %) found by K pairs with `power`.

    `spread` is the standard deviation of a pair's log ratio. Bisection over 4000 sessions of normal
    log ratios, judged by `verdicts` itself, because textbook approximations of the power of a
    trimmed t promise up to 15 points too much at eight pairs. Raises UsageError for too few pairs.
    """
    if pairs < FEWEST_PAIRS:
        raise UsageError(f"gate: {pairs} pairs cannot find anything; {FEWEST_PAIRS} are the least")
    noise = np.random.default_rng(0).normal(0, spread, (4000, pairs))
    low, high = rule.log_margin, rule.log_margin + 20 * spread
    for _ in range(20):
        middle = (low + high) / 2
        share = float(np.mean(verdicts(noise + middle, rule) == "slower"))
        low, high = (middle, high) if share < power else (low, middle)
    return math.expm1(high)

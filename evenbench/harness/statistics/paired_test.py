"""Two sides measured in pairs: log ratios of process pairs yield a verdict out of four.

Independent of benchmarks. The unit is a *pair of processes*, one per side, measured alternately: a
sweep of two members. The estimate over pairs is that of `ratios`, which `evenbench run` uses too:
the mean without stalled processes, with Student's t interval. A gate has no other ratios to learn a
variance from, and 8 pairs or more, so no prior takes part. An exact sign interval, free of
assumptions, must agree before a verdict of a difference.
Sampling stops on precision and never on significance, so looking does not raise false alarms; a
single test follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.core.errors import UsageError
from evenbench.harness.statistics.paired_intervals import (
    half_width,
    sign_interval,
    sign_rank,
    t_quantile,
)
from evenbench.harness.statistics.ratios import Ratio
from evenbench.harness.statistics.words import EQUIVALENT, FASTER, INCONCLUSIVE, SLOWER, Word

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

FEWEST_PAIRS = 8
"""With fewer pairs the exact 99 % sign interval is infinite, and no alarm is possible."""

LARGEST = 50.0
"""The largest log ratio in a judgement: JSON has no infinity."""

SIGN_WIDTH = 3
"""The largest half-width of the sign interval at a stop, in multiples of the precision."""


@dataclass(frozen=True)
class Rule:
    """Limits for stopping and for verdicts. Raises UsageError for a rule without possible alarms.

    `margin` and `precision` are relative: 0.02 is 2 %. `precision` is the half-width of the
    mean's interval at a stop. `least` and `most` count pairs.
    """

    margin: float = 0.02
    precision: float = 0.02
    confidence: float = 0.99
    least: int = FEWEST_PAIRS
    most: int = 30

    @classmethod
    def of_at_most(cls, pairs: int, margin: float) -> Rule:
        """The rule for sessions of at most `pairs` pairs, with as few as that if there are few."""
        return cls(margin=margin, most=pairs, least=min(FEWEST_PAIRS, pairs))

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 1 or not 0 < self.precision < 1 or not 0.5 <= self.confidence < 1:
            raise UsageError(
                f"gate: margin {self.margin:g} must lie in [0, 1), precision {self.precision:g} "
                f"in (0, 1) and confidence {self.confidence:g} in [0.5, 1)"
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
    def log_margin(self) -> float:
        """The margin on the scale of log ratios; faster by the margin is 1 / (1 + margin)."""
        return math.log1p(self.margin)


@dataclass(frozen=True)
class Bounds:
    """The ends of the mean's interval and of the sign interval, as arrays of equal shape."""

    low: Array
    high: Array
    sign_low: Array
    sign_high: Array

    @classmethod
    def of(cls, pairs: Array, rule: Rule) -> Bounds:
        """The bounds of sessions with log ratios of shape [..., K]."""
        centre, half = pairs.mean(axis=-1), half_width(pairs, rule.confidence)
        return cls(centre - half, centre + half, *sign_interval(pairs, rule.confidence))

    @classmethod
    def of_ratio(cls, ratio: Ratio, rule: Rule) -> Bounds:
        """The bounds of a session, however wide; infinite without an error."""
        quantile = t_quantile(0.5 + rule.confidence / 2, ratio.freedom)
        half = math.inf if ratio.error is None else quantile * ratio.error
        centre = np.asarray(ratio.log)
        sign = sign_interval(np.asarray(ratio.values), rule.confidence)
        return cls(centre - half, centre + half, *sign)

    def precise(self, rule: Rule) -> Array:
        """Whether a session may stop: both intervals are narrow, or the mean's lies in the margin.

        The direction of a difference plays no part. A narrow interval of the mean is not enough:
        with eight pairs the sign interval is the whole range, too wide for a verdict after a single
        disturbed pair.
        """
        precision, margin = math.log1p(rule.precision), rule.log_margin
        backed = (self.sign_high - self.sign_low) / 2 <= SIGN_WIDTH * precision
        narrow = ((self.high - self.low) / 2 <= precision) & backed
        equal = (self.low > -margin) & (self.high < margin)
        flags: Array = narrow | equal
        return flags

    def words(self, rule: Rule) -> Array:
        """The verdict of each session.

        `slower` and `faster` need the whole of the mean's interval beyond the margin, and an exact
        sign interval short of the opposite margin. `equivalent` needs the mean's interval between
        both margins. All other sessions are `inconclusive`.
        """
        margin = rule.log_margin
        conditions = [
            (self.low > margin) & (self.sign_low > -margin),
            (self.high < -margin) & (self.sign_high < margin),
            (self.low > -margin) & (self.high < margin),
        ]
        return np.select(conditions, (SLOWER, FASTER, EQUIVALENT), INCONCLUSIVE)


def precise(pairs: Array, rule: Rule) -> Array:
    """Whether each of many sessions may stop: `Bounds.precise` over pairs of shape [..., K]."""
    return Bounds.of(pairs, rule).precise(rule)


def verdicts(pairs: Array, rule: Rule) -> Array:
    """The verdict of each of many sessions: `Bounds.words` over pairs of shape [..., K]."""
    return Bounds.of(pairs, rule).words(rule)


def is_precise(ratio: Ratio, rule: Rule) -> bool:
    """Whether a single session may stop."""
    return bool(Bounds.of_ratio(ratio, rule).precise(rule))


@dataclass(frozen=True)
class Judgement:
    """The verdict of a session on head over base. Ratios: 1.05 is 5 % slower."""

    verdict: Word
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


def judge(ratio: Ratio, rule: Rule) -> Judgement:
    """The verdict on a ratio of head over base, a sweep per pair of processes.

    Raises UsageError for fewer than `FEWEST_PAIRS` pairs, those with a stalled process included: if
    too few are left without these, the sign interval is infinite, and no alarm is possible.
    """
    pairs = ratio.sweeps + len(ratio.apart)
    if pairs < FEWEST_PAIRS:
        raise UsageError(
            f"gate: {pairs} pairs cannot be judged at {rule.confidence:.0%} confidence; "
            f"{FEWEST_PAIRS} are the least"
        )
    bounds = Bounds.of_ratio(ratio, rule)
    verdict: Word = bounds.words(rule).item()
    low, high, sign_low, sign_high = (
        float(np.exp(np.clip(bound, -LARGEST, LARGEST)))
        for bound in (bounds.low, bounds.high, bounds.sign_low, bounds.sign_high)
    )
    return Judgement(
        verdict=verdict,
        ratio=math.exp(ratio.log),
        low=low,
        high=high,
        sign_low=sign_low,
        sign_high=sign_high,
        pairs=ratio.sweeps,
        p=p_value(ratio, rule),
        needed_pairs=needed_pairs(ratio, rule) if verdict == INCONCLUSIVE else None,
    )


def p_value(ratio: Ratio, rule: Rule) -> float:
    """The one-sided p-value of "the change is within the margin", by the t test."""
    from scipy.special import stdtr  # scipy.special alone: scipy.stats takes a second to import

    beyond = abs(ratio.log) - rule.log_margin
    return 1.0 if ratio.error is None else float(stdtr(ratio.freedom, -beyond / ratio.error))


def needed_pairs(ratio: Ratio, rule: Rule) -> int | None:
    """Pairs needed to clear the margin, for a constant centre; None for 1000 or more."""
    distance = abs(abs(ratio.log) - rule.log_margin)
    # The standard error shrinks with the root of the number of pairs.
    spread = (ratio.error or math.inf) * math.sqrt(ratio.sweeps)
    for count in range(max(ratio.sweeps + 1, FEWEST_PAIRS), 1000):
        quantile = t_quantile(0.5 + rule.confidence / 2, count - 1)
        if quantile * spread / math.sqrt(count) < distance:
            return count
    return None


def detectable(spread: float, pairs: int, rule: Rule, power: float = 0.8) -> float:
    """The smallest slowdown (0.05 is 5 %) found by K pairs with `power`.

    `spread` is the standard deviation of a pair's log ratio. Bisection over 4000 sessions of normal
    log ratios, judged by `verdicts` itself, so the sign interval counts. Raises UsageError for too
    few pairs.
    """
    if pairs < FEWEST_PAIRS:
        raise UsageError(f"gate: {pairs} pairs cannot find anything; {FEWEST_PAIRS} are the least")
    noise = np.random.default_rng(0).normal(0, spread, (4000, pairs))
    low, high = rule.log_margin, rule.log_margin + 20 * spread
    for _ in range(20):
        middle = (low + high) / 2
        share = float(np.mean(verdicts(noise + middle, rule) == SLOWER))
        low, high = (middle, high) if share < power else (low, middle)
    return math.expm1(high)

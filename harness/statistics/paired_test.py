"""Two arms measured in pairs: log ratios of process pairs become one of four verdicts. Knows
nothing of benchmarks.

The unit is a *pair of processes*, one per arm, that were measured alternately: its number is the
median of the log ratios of its paired laps. Over K pairs the estimate is the 20 % trimmed mean with
Yuen's interval (K. K. Yuen, "The two-sample trimmed t for unequal population variances", Biometrika
61, 1974, in its one-sample form), which one disturbed pair cannot move. Sampling stops on precision
and never on significance, so that looking does not raise false alarms; then there is one test.

All functions take arrays whose last axis is the pairs, so that a simulation runs ten thousand
sessions through the very code that judges one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.core.errors import UsageError
from harness.statistics.robust_intervals import Interval, sign_interval, sign_rank, t_quantile, yuen

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

Verdict = Literal["slower", "faster", "equivalent", "inconclusive"]
VERDICTS: tuple[Verdict, ...] = ("slower", "faster", "equivalent", "inconclusive")

FEWEST_PAIRS = 8
"""Below this the exact 99 % sign interval is infinite, so that no alarm could ever be backed by it.
"""

SIGN_WIDTH = 3
"""How many times wider than the precision the sign interval may be where a session stops."""


@dataclass(frozen=True)
class Rule:
    """When to stop and what to call it. `margin` and `precision` are relative: 0.02 is 2 %. `least`
    and `most` count pairs.

    Raises UsageError for a rule that could never alarm.
    """

    margin: float = 0.02
    precision: float = 0.02
    confidence: float = 0.99
    least: int = FEWEST_PAIRS
    most: int = 30
    trim: float = 0.2

    def __post_init__(self) -> None:
        if (
            not 0 <= self.margin < 1
            or not 0 < self.precision < 1
            or not 0.5 <= self.confidence < 1
            or not 0 <= self.trim < 0.5
        ):
            raise UsageError(
                f"gate: margin {self.margin:g} must lie in [0, 1), precision {self.precision:g} in (0, 1), confidence "
                f"{self.confidence:g} in [0.5, 1) and trim {self.trim:g} in [0, 0.5)"
            )
        if self.least > self.most:
            raise UsageError(
                f"gate: at least {self.least} and at most {self.most} pairs leave none; raise the second"
            )
        if not math.isfinite(sign_rank(self.most, self.confidence)):
            fewest = next(
                pairs
                for pairs in range(1, 1000)
                if math.isfinite(sign_rank(pairs, self.confidence))
            )
            raise UsageError(
                f"gate: {self.most} pairs can never alarm at {self.confidence:.0%} confidence, however large the slowdown; "
                f"allow {fewest} or more"
            )

    @property
    def nominal(self) -> float:
        """The confidence at which Yuen's interval is computed so that it covers with `confidence`
        in the end.

        Stopping at the first interval that is narrow enough favours those that are too narrow:
        simulated, a nominal 99 % covers
        97.5 to 99.6 % then, and half the error, 99.5 %, covers 98.7 % or better (tests/unit/statistics/test_paired_test.py).
        """
        return 1 - (1 - self.confidence) / 2

    @property
    def log_margin(self) -> float:
        """The margin on the scale of log ratios; faster by it is 1 / (1 + margin)."""
        return math.log1p(self.margin)


def precise(pairs: Array, rule: Rule) -> Array:
    """Whether a session with these pairs may stop. Looks at the widths, and at equality, never at
    which arm is ahead.

    The exact interval has to be narrow too: eight pairs of which one was disturbed are precise by
    the trimmed mean, and by the sign interval, which is their whole range then, they could back no
    verdict.
    """
    found = yuen(pairs, rule.nominal, rule.trim)
    sign_low, sign_high = sign_interval(pairs, rule.confidence)
    backed = (sign_high - sign_low) / 2 <= SIGN_WIDTH * math.log1p(rule.precision)
    narrow = (found.half <= math.log1p(rule.precision)) & backed
    equal = (found.low > -rule.log_margin) & (found.high < rule.log_margin)
    made: Array = narrow | equal
    return made


def is_precise(pairs: Sequence[float], rule: Rule) -> bool:
    """`precise` for one session's pairs."""
    return bool(precise(np.asarray(pairs, dtype=float), rule))


def verdicts(pairs: Array, rule: Rule) -> Array:
    """One of `VERDICTS` per session, over all its pairs.

    `slower` and `faster` need the whole interval beyond the margin, and an exact sign interval that
    does not reach the margin's far side; where the two disagree the session is inconclusive.
    """
    found = yuen(pairs, rule.nominal, rule.trim)
    sign_low, sign_high = sign_interval(pairs, rule.confidence)
    margin = rule.log_margin
    conditions = [
        (found.low > margin) & (sign_low > -margin),
        (found.high < -margin) & (sign_high < margin),
        (found.low > -margin) & (found.high < margin),
    ]
    return np.select(conditions, VERDICTS[:3], VERDICTS[3])


@dataclass(frozen=True)
class Judgement:
    """What one session's pairs say of head over base. Ratios: 1.05 is 5 % slower."""

    verdict: Verdict
    ratio: float
    low: float
    high: float
    sign_low: float
    sign_high: float
    pairs: int
    p: float
    """One-sided, of "no further off than the margin", in the direction of the estimate."""
    needed_pairs: int | None
    """For an inconclusive session: about how many pairs would decide it; None where no number below
    1000 would.
    """


def judge(pairs: Sequence[float], rule: Rule) -> Judgement:
    """The verdict over the log ratios of K pairs of processes, head over base. Raises UsageError
    below `FEWEST_PAIRS`.
    """
    if len(pairs) < FEWEST_PAIRS:
        raise UsageError(
            f"gate: {len(pairs)} pairs cannot be judged at {rule.confidence:.0%} confidence; {FEWEST_PAIRS} are the least"
        )
    values = np.asarray(pairs, dtype=float)
    found = yuen(values, rule.nominal, rule.trim)
    sign = sign_interval(values, rule.confidence)
    verdict: Verdict = verdicts(values, rule).item()
    return Judgement(
        verdict=verdict,
        ratio=math.exp(found.centre),
        low=math.exp(found.low),
        high=math.exp(found.high),
        sign_low=math.exp(sign[0]),
        sign_high=math.exp(sign[1]),
        pairs=len(values),
        p=p_value(found, rule),
        needed_pairs=needed_pairs(found, len(values), rule) if verdict == "inconclusive" else None,
    )


def p_value(found: Interval, rule: Rule) -> float:
    """One-sided p of "no further off than the margin" in the direction of the estimate, by Yuen's
    trimmed t.
    """
    from scipy.special import stdtr  # scipy.special alone: scipy.stats takes a second to import

    beyond = abs(float(found.centre)) - rule.log_margin
    if not found.error:
        return 0.0 if beyond > 0 else 1.0
    return float(stdtr(found.freedom, -beyond / float(found.error)))


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses are rejected at a family-wise `alpha` (S. Holm, Scandinavian Journal of
    Statistics 6, 1979).
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    rejected = [False] * len(p_values)
    for step, index in enumerate(order):
        if p_values[index] > alpha / (len(p_values) - step):
            break
        rejected[index] = True
    return rejected


def needed_pairs(found: Interval, pairs: int, rule: Rule) -> int | None:
    """How many pairs would bring the nearer side of the interval off the margin, if the centre
    stays; None for 1000 or more.
    """
    distance = abs(abs(float(found.centre)) - rule.log_margin)
    spread = float(found.error) * math.sqrt(
        pairs
    )  # the standard error shrinks with the root of the number of pairs
    for count in range(max(pairs + 1, FEWEST_PAIRS), 1000):
        freedom = count - 2 * int(rule.trim * count) - 1
        if t_quantile(0.5 + rule.nominal / 2, freedom) * spread / math.sqrt(count) < distance:
            return count
    return None


def detectable(spread: float, pairs: int, rule: Rule, power: float = 0.8) -> float:
    """The smallest slowdown (0.05 is 5 %) that K pairs find with `power`, where a pair's log ratio
    has this standard deviation.

    Found by bisection over 4000 sessions of normal log ratios, judged by `verdicts` itself:
    textbook approximations of the power of a trimmed t promise up to 15 points too much at eight
    pairs. Raises UsageError where the pairs are too few to be judged.
    """
    if pairs < FEWEST_PAIRS:
        raise UsageError(f"gate: {pairs} pairs cannot find anything; {FEWEST_PAIRS} are the least")
    noise = np.random.default_rng(0).normal(0, spread, (4000, pairs))
    low, high = rule.log_margin, rule.log_margin + 20 * spread
    for _ in range(20):
        middle = (low + high) / 2
        found = float(np.mean(verdicts(noise + middle, rule) == "slower"))
        low, high = (middle, high) if found < power else (low, middle)
    return math.expm1(high)

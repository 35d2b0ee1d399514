"""Intervals robust against a single disturbed pair: trimmed mean and sign interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Interval:
    """Trimmed means of log ratios with intervals: arrays of the leading axes' shape."""

    centre: Array
    low: Array
    high: Array
    error: Array
    freedom: int

    @property
    def half(self) -> Array:
        """Half the width, in log ratio."""
        half: Array = (self.high - self.low) / 2
        return half


def yuen(pairs: Array, confidence: float, trim: float) -> Interval:
    """Trimmed mean, Winsorised standard error and t interval over the last axis (K pairs, K >= 2).

    With g = floor(trim * K) cut from each end and s_w the Winsorised standard deviation, the
    standard error is s_w / ((1 - 2 trim) sqrt(K)) on K - 2g - 1 degrees of freedom, as in
    `scipy.stats.mstats.trimmed_mean_ci`.
    """
    count = pairs.shape[-1]
    cut = int(trim * count)
    ordered = np.sort(pairs, axis=-1)
    kept = ordered[..., cut : count - cut]
    centre = kept.mean(axis=-1)
    winsorised = np.clip(ordered, kept[..., :1], kept[..., -1:])
    error = winsorised.std(axis=-1, ddof=1) / ((1 - 2 * trim) * math.sqrt(count))
    freedom = kept.shape[-1] - 1
    half = t_quantile(0.5 + confidence / 2, freedom) * error
    return Interval(centre, centre - half, centre + half, error, freedom)


def sign_rank(pairs: int, confidence: float) -> float:
    """The rank r with [r-th smallest, r-th largest] covering the median; infinite if impossible.

    Exact for any continuous distribution: 2 P(Binomial(K, 1/2) < r) <= 1 - confidence.
    """
    tail, rank = 0.0, 0
    while rank < pairs:
        tail += math.comb(pairs, rank) / 2**pairs
        if 2 * tail > 1 - confidence:
            break
        rank += 1
    return rank if rank else math.inf


def sign_interval(pairs: Array, confidence: float) -> tuple[Array, Array]:
    """The exact interval of the median over the last axis; infinite for too few pairs."""
    rank = sign_rank(pairs.shape[-1], confidence)
    if not math.isfinite(rank):
        shape = pairs.shape[:-1]
        return np.full(shape, -np.inf), np.full(shape, np.inf)
    ordered = np.sort(pairs, axis=-1)
    return ordered[..., int(rank) - 1], ordered[..., -int(rank)]


def t_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t; infinite without degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability)) if freedom >= 1 else math.inf

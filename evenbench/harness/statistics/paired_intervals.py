"""Intervals of many sessions at once: the mean interval of `ratios`, and the exact sign interval.

All functions take arrays with the log ratios of pairs on the last axis, so simulations run ten
thousand sessions through the rule that judges one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.statistics.ratios import CLOCK, INFLATION

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]


def half_width(pairs: Array, confidence: float) -> Array:
    """Half of Student's t interval of the mean, as `ratios.Ratio.half_width` without a prior."""
    count = pairs.shape[-1]
    variance = np.maximum(pairs.var(axis=-1, ddof=1), CLOCK**2)
    error: Array = INFLATION * np.sqrt(variance / count)
    return t_quantile(0.5 + confidence / 2, count - 1) * error


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


def t_quantile(probability: float, freedom: float) -> float:
    """The quantile of Student's t; infinite without degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability)) if freedom >= 1 else math.inf

"""The error of one output against its golden, in absolute measures and in units of a tolerance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.accuracy import flips, output_values
from evenbench.harness.core.measurements import OutputError

if TYPE_CHECKING:
    from evenbench.harness.accuracy.tolerances import Tolerance

    Array = np.ndarray[Any, Any]

INCOMPARABLE = 1e9
"""Stands for an infinite error (non-finite values, wrong shape), since JSON has no infinity."""


def measure(
    name: str,
    output: Array,
    golden: Array,
    own_rmse: float | None,
    tolerance: Tolerance,
    classes: bool,
    own_share: float | None = None,
) -> OutputError:
    """Every measure of one output's error. Values without a number need `INCOMPARABLE` tolerances,
    except in places where the golden has the same infinity or NaN.

    `own_rmse` is the yardstick's error, `own_share` its share of such places that differ; None
    without a yardstick. `classes` marks class scores along the last axis.
    """
    misplaced = int(np.count_nonzero(output_values.misplaced(output, golden)))
    exact, expected = output_values.numbers(output, golden)
    largest = scale(expected)
    if misplaced > _allowed_misplaced(golden, own_share):
        return OutputError(
            name, largest, INCOMPARABLE, INCOMPARABLE, own_rmse, 0.0, misplaced, INCOMPARABLE, None
        )
    error = np.abs(exact - expected)
    root = rmse(exact, expected)
    allowed = tolerance.rtol * np.abs(expected) + tolerance.atol * largest
    limit = None if own_rmse is None else _rmse_limit(own_rmse, expected, tolerance)
    is_scores = classes and output.dtype.kind == "f" and not np.isnan(output).any()
    return OutputError(
        name=name,
        scale=largest,
        max_abs=float(np.max(error, initial=0.0)),
        rmse=root,
        rmse_own=own_rmse,
        cosine=_cosine(exact, expected),
        nonfinite=0,
        needed_elementwise=_worst_ratio(error, allowed),
        needed_rmse=None if limit is None else root / max(limit, 1e-300),
        top1_agreement=_top1_agreement(output, golden) if is_scores else None,
    )


def _allowed_misplaced(golden: Array, own_share: float | None) -> float:
    """The number of places without a number that may differ; none if the golden has numbers
    everywhere.
    """
    if not output_values.kinds(golden).any():
        return 0.0
    return flips.allowed(golden.size, own_share)


def _rmse_limit(own_rmse: float, golden: Array, tolerance: Tolerance) -> float:
    root_mean_square = float(np.sqrt(np.mean(np.square(golden)))) if golden.size else 0.0
    limit = tolerance.rmse_factor * own_rmse + 1e-7 * scale(golden)
    limit = max(limit, tolerance.least * root_mean_square)
    return min(limit, tolerance.ceiling * root_mean_square)


def _worst_ratio(error: Array, allowed: Array) -> float:
    """The largest ratio of error to allowed error; `INCOMPARABLE` without any allowance."""
    ratios = np.divide(
        error, allowed, out=np.where(error > 0, INCOMPARABLE, 0.0), where=allowed > 0
    )
    return min(INCOMPARABLE, float(np.max(ratios, initial=0.0)))


def _top1_agreement(output: Array, golden: Array) -> float:
    return float(np.mean(output.argmax(-1) == golden.argmax(-1)))


def needed_of(error: OutputError) -> float:
    """The smaller ratio of error to limit of the two rules."""
    rules = [error.needed_elementwise] + ([] if error.needed_rmse is None else [error.needed_rmse])
    return min(rules)


def rmse(output: Array, golden: Array) -> float:
    """Root of the mean squared difference, in float64; 0 for empty arrays."""
    squares = np.square(output.astype(np.float64) - golden)
    return float(np.sqrt(np.mean(squares))) if squares.size else 0.0


def scale(values: Array) -> float:
    """The largest magnitude; 0 for an empty array."""
    return float(np.max(np.abs(values), initial=0.0))


def _cosine(output: Array, golden: Array) -> float:
    norms = float(np.linalg.norm(output) * np.linalg.norm(golden))
    return float(np.vdot(output, golden)) / norms if norms else 0.0

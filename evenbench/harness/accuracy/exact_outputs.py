"""The rule for discrete outputs: integers, booleans and strings are equal or not.

A runtime that rounds differently within the precision of a number may flip a discrete value made
from this number: a pixel by a level, a mask at the threshold, a class among equals. So a few
values may differ: as many as three times the yardstick's, a ten-thousandth of many, and a
thousandth by a single level. Indices of equal scores may change places (`ties`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.accuracy import flips, output_values
from evenbench.harness.accuracy.output_errors import INCOMPARABLE, rmse
from evenbench.harness.core.measurements import OutputError

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]


def measure(
    name: str,
    output: Array,
    golden: Array,
    own_share: float | None,
    excused: Array | None,
    steps: float = flips.STEPPED,
) -> tuple[OutputError, str]:
    """The error of a discrete output, and the reason for a failure.

    `own_share` is the yardstick's share of differing values, None without a yardstick. `excused`
    marks values that differ within a tie. `steps` is the allowed share of differences of 1.
    """
    differs = output_values.unequal(output, golden)
    if excused is not None:
        differs = differs & ~excused
    count, size = int(np.count_nonzero(differs)), differs.size
    distances = _distances(output, golden)
    steps_alone = not output_values.is_text(golden) and golden.dtype.kind != "b"
    steps_alone = bool(steps_alone and np.all(distances[differs] <= 1))
    may_differ = flips.allowed(size, own_share, steps if steps_alone else 0.0)
    needed = min(INCOMPARABLE, count / may_differ if may_differ else count * INCOMPARABLE)
    kept = np.where(differs, distances, 0.0)
    error = OutputError(
        name=name,
        scale=_scale(golden),
        max_abs=float(np.max(kept, initial=0.0)),
        rmse=rmse(kept, np.zeros_like(kept)),
        rmse_own=None,
        cosine=_cosine(output, golden, count),
        nonfinite=0,
        needed_elementwise=needed,
        needed_rmse=None,
        top1_agreement=None,
    )
    far = "" if output_values.is_text(golden) else f" by up to {error.max_abs:.4g}"
    reason = f"{name}: {count} of {size} {_noun(golden)} differ{far}, {may_differ:.4g} may"
    return error, reason


def _noun(golden: Array) -> str:
    return {"b": "booleans", "i": "integers", "u": "integers"}.get(golden.dtype.kind, "strings")


def _distances(output: Array, golden: Array) -> Array:
    """How far values are apart, in float64; 1 for unequal strings."""
    if output_values.is_text(golden) or golden.dtype.kind == "b":
        return output_values.unequal(output, golden).astype(np.float64)
    larger = np.maximum(output, golden)
    smaller = np.minimum(output, golden)
    # Differences of large integers are exact in 64 bits without a sign.
    return (larger.astype(np.uint64) - smaller.astype(np.uint64)).astype(np.float64)


def _scale(golden: Array) -> float:
    if output_values.is_text(golden):
        return 0.0
    return float(np.max(np.abs(golden.astype(np.float64)), initial=0.0))


def _cosine(output: Array, golden: Array, count: int) -> float:
    """The cosine of the numbers; for strings the share of equal values."""
    if output_values.is_text(golden):
        return 1.0 - count / max(golden.size, 1)
    one, other = output.astype(np.float64).ravel(), golden.astype(np.float64).ravel()
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.dot(one, other)) / norms if norms else float(count == 0)

"""Ties: places in an output of indices where another index is as right, because scores are equal.

Top-k, sorting and argmax leave the order of equal scores to the implementation. A tie is seen if
the model returns the scores, or the best values, beside the indices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.core.tensor_specs import TensorSpec

if TYPE_CHECKING:
    from evenbench.harness.accuracy.tolerances import Tolerance

    Array = np.ndarray[Any, Any]


def excused(
    name: str,
    outputs: Mapping[str, Any],
    golden: Mapping[str, Any],
    specs: Sequence[TensorSpec],
    tolerance: Tolerance,
) -> Array | None:
    """The places where an output's index differs within a tie, or None without scores.

    All arrays are [batches, ...]. `tolerance` is the distance of scores that count as equal.
    """
    indices, wanted = np.asarray(outputs[name]), np.asarray(golden[name])
    if wanted.dtype.kind not in "iu" or not wanted.size or np.array_equal(indices, wanted):
        return None
    ties: Array | None = None
    for spec in specs:
        scores = golden[spec.name]
        if isinstance(scores, list) or scores.dtype.kind != "f" or spec.name == name:
            continue
        by_scores = _by_scores(indices, wanted, scores, tolerance)
        by_values = _by_values(indices, wanted, scores, tolerance)
        for tied in (by_scores, by_values):
            if tied is not None:
                ties = tied if ties is None else ties | tied
    return ties


def _width(scores: Array, tolerance: Tolerance) -> float:
    finite = scores[np.isfinite(scores)]
    largest = float(np.max(np.abs(finite), initial=0.0))
    return 2 * (tolerance.rtol + tolerance.atol) * largest


def _by_scores(indices: Array, wanted: Array, scores: Array, tolerance: Tolerance) -> Array | None:
    """Ties by the scores of every index: equal scores at both indices; None for other arrays.

    The scores have the indices' axes, or one more: argmax drops the last axis or the second.
    """
    for axis in range(1, scores.ndim):
        aligned = wanted.ndim == scores.ndim and axis == scores.ndim - 1
        dropped = wanted.shape == scores.shape[:axis] + scores.shape[axis + 1 :]
        if not dropped and not (aligned and wanted.shape[:-1] == scores.shape[:-1]):
            continue
        if wanted.min() < 0 or wanted.max() >= scores.shape[axis]:
            continue
        at = np.expand_dims(wanted, axis) if dropped else wanted
        best = np.take_along_axis(scores, at, axis)
        if not _are_best(best, scores, axis):
            continue
        clipped = np.clip(indices, 0, scores.shape[axis] - 1).astype(wanted.dtype)
        near = np.take_along_axis(
            scores, np.expand_dims(clipped, axis) if dropped else clipped, axis
        )
        with np.errstate(invalid="ignore"):
            equal = np.abs(near - best) <= _width(scores, tolerance)
        equal |= near == best
        tied: Array = np.squeeze(equal, axis) if dropped else equal & _distinct(indices)[..., None]
        valid: Array = tied & (indices == clipped)
        return valid
    return None


def _are_best(best: Array, scores: Array, axis: int) -> bool:
    """Whether the scores at the golden's indices are the largest or smallest, in order."""
    first = np.take(best, [0], axis)
    return bool(
        np.array_equal(first, np.max(scores, axis, keepdims=True))
        or np.array_equal(first, np.min(scores, axis, keepdims=True))
    )


def _by_values(indices: Array, wanted: Array, values: Array, tolerance: Tolerance) -> Array | None:
    """Ties by the best values alone, as returned by top-k; None for other arrays.

    An index may change places with the indices of equal values. At the end of the list, an index
    beyond the list may be as good.
    """
    if values.shape != wanted.shape or values.ndim < 2 or values.shape[-1] < 2:
        return None
    steps = np.diff(values, axis=-1)
    is_ordered = bool(np.all(steps <= 0) or np.all(steps >= 0))
    if not is_ordered or wanted.min() < 0 or not _distinct(wanted).all():
        return None
    width = _width(values, tolerance)
    with np.errstate(invalid="ignore"):
        apart = np.concatenate([np.zeros((*steps.shape[:-1], 1), bool), np.abs(steps) > width], -1)
    group = np.cumsum(apart, axis=-1)
    same_group = group[..., :, None] == group[..., None, :]
    same_index = indices[..., :, None] == wanted[..., None, :]
    swapped = np.any(same_group & same_index, axis=-1)
    unlisted = ~np.any(same_index, axis=-1) & (group == group[..., -1:])
    tied: Array = (swapped | unlisted) & _distinct(indices)[..., None]
    return tied


def _distinct(indices: Array) -> Array:
    """Whether the indices of each list are all different."""
    ordered = np.sort(indices, axis=-1)
    distinct: Array = np.all(np.diff(ordered, axis=-1) != 0, axis=-1)
    return distinct

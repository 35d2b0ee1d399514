"""Agreement among the judges of a golden: which of several opinions on the right outputs counts.

An opinion counts by the number of independent sources behind it, two implementations of one source
are one voice. Without a majority there is no golden, and the reference is suspect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

AGREEMENT = {"fp64": 5e-4, "fp32": 5e-4, "tf32": 5e-3, "fp16": 2e-2, "bf16": 5e-2, "int8": 5e-2}
"""The largest difference between agreeing judges by the coarser precision, as a share of magnitude
plus scale. An operator computed by another definition differs by more; rounding does not.
"""

UNEQUAL = 0.01
"""The largest share of integers that may differ between agreeing judges: ties and rounded halves
fall either way in two precisions.
"""


@dataclass(frozen=True)
class Opinion:
    """The outputs of a judge by name: arrays [batches, ...], or lists for data-dependent sizes.

    `source` is the implementation behind the judge; `precision` names the arithmetic.
    """

    judge: str
    source: str
    precision: str
    outputs: Mapping[str, Any]


@dataclass(frozen=True)
class Consensus:
    """The chosen opinion, the agreeing opinions, and the dissenting opinions."""

    chosen: Opinion
    agreeing: tuple[Opinion, ...]
    dissenting: tuple[Opinion, ...]


def decide(opinions: Sequence[Opinion]) -> Consensus | None:
    """The consensus of opinions in order of preference; None without a majority.

    The opinion behind most sources counts, and of equals the first, if all of them agree. A lone
    opinion is a consensus of its own.
    """
    behind = [[other for other in opinions if agree(opinion, other)] for opinion in opinions]
    voices = [len({other.source for other in group}) for group in behind]
    most = max(voices)
    leading = [index for index, count in enumerate(voices) if count == most]
    first = leading[0]
    if any(opinions[index] not in behind[first] for index in leading):
        return None
    chosen = opinions[first]
    agreeing = tuple(other for other in behind[first] if other is not chosen)
    dissenting = tuple(other for other in opinions if other not in behind[first])
    return Consensus(chosen, agreeing, dissenting)


def agree(one: Opinion, other: Opinion) -> bool:
    """Whether two opinions are the same but for rounding."""
    return one is other or not difference(one, other)


def difference(one: Opinion, other: Opinion) -> str:
    """The name of the first output that differs beyond rounding, or an empty string.

    An output unknown to either opinion is not compared, nor is a batch.
    """
    share = max(_share(one.precision), _share(other.precision))
    for name in one.outputs:
        if name not in other.outputs:
            continue
        first, second = one.outputs[name], other.outputs[name]
        known = min(len(first), len(second))
        if not alike(first[:known], second[:known], share):
            return name
    return ""


def _share(precision: str) -> float:
    """The allowance of the coarsest precision in a list such as `fp16,fp32`."""
    parts = [part.partition("-")[0] for part in precision.split(",")]
    return max(AGREEMENT.get(part, AGREEMENT["fp32"]) for part in parts)


def alike(one: Any, other: Any, share: float) -> bool:
    """Whether two outputs are equal up to `share` of magnitude plus scale.

    Shapes, and places of non-finite values, are equal. Integers may differ in few places; text
    and booleans may not.
    """
    if isinstance(one, list) or isinstance(other, list):
        return len(one) == len(other) and all(
            alike(first, second, share) for first, second in zip(one, other, strict=True)
        )
    first, second = _widened(np.asarray(one)), _widened(np.asarray(other))
    if first.shape != second.shape:
        return False
    if first.dtype.kind not in "fciu" or second.dtype.kind not in "fciu":
        return bool(np.array_equal(first, second))
    if first.dtype.kind in "iu" and second.dtype.kind in "iu":
        return (
            bool(np.count_nonzero(first != second) <= UNEQUAL * first.size)
            if first.size > 1
            else bool(np.array_equal(first, second))
        )
    return _close(first, second, share)


def _widened(values: Array) -> Array:
    """Values of a narrow type, for which numpy knows no NaN, in float64."""
    return values.astype(np.float64) if values.dtype.isbuiltin == 2 else values


def _close(one: Array, other: Array, share: float) -> bool:
    kind = np.complex128 if "c" in (one.dtype.kind, other.dtype.kind) else np.float64
    first, second = one.astype(kind), other.astype(kind)
    finite = np.isfinite(first)
    if not np.array_equal(finite, np.isfinite(second)):
        return False
    if not np.array_equal(first[~finite], second[~finite], equal_nan=True):
        return False
    first, second = first[finite], second[finite]
    largest = float(np.max(np.abs(second), initial=0.0))
    allowed = share * (np.abs(second) + largest)
    return bool(np.all(np.abs(first - second) <= allowed))

"""The precision that an output's error belongs to, by the errors of yardsticks at all precisions.

Rounding weights and inputs to a type makes the same error in every runtime, so the error of a
runtime in bf16 correlates with the error of eager PyTorch in bf16, and not with its error in fp16.
The size of the error alone cannot tell: a runtime may keep sums or activations in wider numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.core.golden import TOLD_APART

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
    Spectrum = Mapping[str, Mapping[str, Array]]
    """By output and precision: the yardstick's error at `positions`, in float64."""

FILE = "spectrum.npz"
"""The file of a golden's folder with the errors of its yardsticks."""

MOST_POSITIONS, LEAST_POSITIONS = 4096, 64
"""Compared elements of an output. With fewer, a correlation may be chance."""

CLEAR, AHEAD, CHANCE = 0.25, 0.25, 5.0
"""The least correlation with another precision's error, the least distance to the requested
precision's correlation, and the least correlation times the root of the number of elements.

Weights alone in the other precision gave 0.32 to 0.64 on a transformer, two convolutional networks
and a perceptron; honest int8 and other precisions at most 0.12, and 0.29 with 80 elements.
"""

ROUNDED, UNROUNDED = 0.9, 0.5
"""The least share of elements equal to the rounded golden, and the largest share of the yardstick:
a network computed in that type is not the correctly rounded result of exact arithmetic.
"""


def positions(size: int) -> Array:
    """The compared positions of a flattened output: all, or `MOST_POSITIONS` drawn at random."""
    if size <= MOST_POSITIONS:
        return np.arange(size)
    generator = np.random.default_rng(0)
    return np.sort(generator.choice(size, MOST_POSITIONS, replace=False))


def errors(outputs: Any, golden: Any) -> Array:
    """The error of a fixed-size output, [batches, ...], at `positions`, in float64."""
    chosen = positions(np.size(golden))
    exact = np.asarray(outputs).reshape(-1)[chosen].astype(np.float64)
    error: Array = exact - np.asarray(golden).reshape(-1)[chosen]
    return error


def other_precision(
    outputs: Mapping[str, Any], golden: Mapping[str, Any], spectrum: Spectrum, request: str
) -> str:
    """The reason for another precision than the `request`, or an empty string.

    Every output with enough elements must speak for the same other precision.
    """
    verdicts: dict[str, str] = {}
    for name, known in spectrum.items():
        output, exact = outputs.get(name), golden.get(name)
        if not isinstance(output, np.ndarray) or not isinstance(exact, np.ndarray):
            continue
        if output.dtype.kind != "f" or output.shape != exact.shape or not np.isfinite(output).all():
            continue
        if positions(exact.size).size < LEAST_POSITIONS:
            continue
        error = errors(output, exact)
        verdicts[name] = _closest(error, known, request) or _rounded(error, exact, known, request)
    reasons = list(verdicts.values())
    if not reasons or not all(reasons):
        return ""
    name, reason = next(iter(verdicts.items()))
    return f"{name} {reason}: this was not computed at the requested precision"


def _closest(error: Array, known: Mapping[str, Array], request: str) -> str:
    """The precision whose error is alike in size and place, if not the requested one."""
    own = _correlation(error, known[request]) if request in known else 0.0
    distance = _distance(error, known[request]) if request in known else math.inf
    for precision in TOLD_APART.get(request, ()):
        other = known.get(precision)
        if other is None:
            continue
        alike = _correlation(error, other)
        nearer = _distance(error, other) < distance
        clear = max(CLEAR, CHANCE / math.sqrt(error.size))
        if alike >= clear and alike - own >= AHEAD and nearer:
            return (
                f"has the error of {precision} (correlation {alike:.2f}), not of {request} "
                f"({own:.2f})"
            )
    return ""


def _rounded(error: Array, golden: Array, known: Mapping[str, Array], request: str) -> str:
    """Whether the output is the exact result rounded to a narrow type at the end."""
    exact = golden.reshape(-1)[positions(golden.size)]
    for precision, narrow in ROUND.items():
        target = narrow(exact)
        if _share(exact + error, target) < ROUNDED:
            continue
        own = known.get(request)
        if own is None or _share(exact + own, target) <= UNROUNDED:
            return f"is the result of wider arithmetic, rounded to {precision} at the end"
    return ""


def _share(values: Array, target: Array) -> float:
    """The share of values equal to the target as fp32 numbers, of values other than 0."""
    counted = target != 0
    same = (values.astype(np.float32) == target) & counted
    return int(np.count_nonzero(same)) / max(1, int(np.count_nonzero(counted)))


def _correlation(left: Array, right: Array) -> float:
    """The cosine between two errors. A bias is part of an error, so means are not subtracted."""
    norms = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / norms if norms else 0.0


def _distance(left: Array, right: Array) -> float:
    """The distance of two sizes of errors, as a logarithm."""
    sizes = [float(np.linalg.norm(values)) for values in (left, right)]
    return abs(math.log(sizes[0] / sizes[1])) if all(sizes) else math.inf


def _bf16(values: Array) -> Array:
    """Values rounded to bf16, half to even, as fp32 numbers."""
    bits = values.astype(np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)


def _fp16(values: Array) -> Array:
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


ROUND = {"bf16": _bf16, "fp16": _fp16}

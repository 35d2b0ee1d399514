"""Values of outputs by kind: floats, complex numbers, discrete values, and values without a number.

Discrete are integers, booleans and strings. A golden keeps discrete values as they are and widens
the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

LARGEST = float(np.finfo(np.float32).max)
"""Magnitudes from here on count as infinite: masks add -inf or the lowest number of a type."""

LARGEST_NARROW = float(np.finfo(np.float16).max)
"""The same for outputs where the golden is infinite, since fp16 ends here."""

TEXTS = ("object", "str", "string")
"""Names of the dtype of strings in declarations."""


def is_discrete(values: Array) -> bool:
    """Whether an array holds integers, booleans or strings."""
    return values.dtype.kind in "iubUSO"


def is_text(values: Array) -> bool:
    """Whether an array holds strings."""
    return values.dtype.kind in "USO"


def real(values: Any) -> Any:
    """Complex numbers as real ones, with another last axis of 2; other arrays as given."""
    if isinstance(values, list):
        return [real(array) for array in values]
    if values.dtype.kind != "c":
        return values
    return np.stack([values.real, values.imag], axis=-1)


def widened(values: Any) -> Any:
    """The values as kept in a golden: float64, complex128, or discrete as given.

    Strings become fixed-width text, because pickled objects are not read again. A list has an array
    per batch.
    """
    if isinstance(values, list):
        return [widened(array) for array in values]
    array = np.asarray(values)
    if array.dtype.kind == "O":
        return array.astype(str)
    if is_discrete(array):
        return array
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def kinds(values: Array, limit: float = LARGEST) -> Array:
    """0 for numbers, 1 and -1 for infinities of each sign, 2 for NaN."""
    values = values.astype(np.float64, copy=False)
    kind: Array = np.zeros(values.shape, np.int8)
    with np.errstate(invalid="ignore"):
        kind[values >= limit] = 1
        kind[values <= -limit] = -1
    kind[np.isnan(values)] = 2
    return kind


def misplaced(output: Array, golden: Array) -> Array:
    """Where exactly one side is a number, or the sides are different infinities. Booleans."""
    expected = kinds(golden)
    narrow = kinds(output, LARGEST_NARROW)
    actual = np.where((expected != 0) & (narrow == expected), expected, kinds(output))
    different: Array = actual != expected
    return different


def numbers(output: Array, golden: Array) -> tuple[Array, Array]:
    """Both sides in float64, without the places where either side is no number.

    Keeps the shape if every place has a number.
    """
    exact = output.astype(np.float64)
    both = (kinds(golden) == 0) & np.isfinite(exact)
    if both.all():
        return exact, golden
    return exact[both], golden[both]


def differing(output: Any, golden: Any) -> float:
    """The share of discrete values that differ, or of places without a number that differ."""
    if isinstance(golden, list):
        if len(output) != len(golden):
            return 1.0
        pairs = list(zip(output, golden, strict=True))
        if any(np.shape(one) != np.shape(other) for one, other in pairs):
            return 1.0
        return sum(differing(one, other) for one, other in pairs) / max(len(pairs), 1)
    output, golden = real(np.asarray(output)), real(np.asarray(golden))
    if not golden.size:
        return 0.0
    if is_discrete(golden):
        return float(np.count_nonzero(unequal(output, golden)) / golden.size)
    return float(np.count_nonzero(misplaced(output, golden)) / golden.size)


def unequal(output: Array, golden: Array) -> Array:
    """A mask of different discrete values. Strings compare as text."""
    if is_text(golden) or is_text(output):
        return np.asarray(output.astype(str) != golden.astype(str))
    return np.asarray(output != golden)


def drift(values: Any, again: Any) -> float:
    """The largest difference between two runs, in units of the first run's scale.

    Infinite for different sizes, discrete values, or places without a number.
    """
    if isinstance(values, list):
        pairs = list(zip(values, again, strict=True))
        if any(array.shape != other.shape for array, other in pairs):
            return math.inf
        return max((drift(array, other) for array, other in pairs), default=0.0)
    values, again = real(values), real(np.asarray(again))
    if is_discrete(values):
        return math.inf if unequal(again, values).any() else 0.0
    if misplaced(again, values).any():
        return math.inf
    second, first = numbers(again, values)
    scale = max(float(np.max(np.abs(first), initial=0.0)), 1e-300)
    return float(np.max(np.abs(first - second), initial=0.0)) / scale


def own_errors(
    outputs: Mapping[str, Any], golden: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, float]]:
    """The RMSE of a yardstick by output name, and the share of its differing values.

    Outputs of data-dependent shapes and discrete outputs have no RMSE.
    """
    rmse, shares = {}, {}
    for name, wanted in golden.items():
        if name not in outputs:
            continue
        shares[name] = differing(outputs[name], wanted)
        if not isinstance(wanted, list) and not is_discrete(wanted):
            output, expected = numbers(real(outputs[name]), real(wanted))
            squares = np.square(output - expected)
            rmse[name] = float(np.sqrt(squares.sum() / max(squares.size, 1)))
    return rmse, shares

"""Inputs that a session has never seen: a timed input with a few changed values.

A session that remembers answers, or reads answers from its artifact, must compute for these inputs.
A right runtime takes the same time as before, because the values hardly change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

    Array = np.ndarray[Any, Any]

NOISE = 2.0**-10
"""The largest relative change of a floating number. Zeros stay zero, so masks stay masks."""

LEAST_VALUES = 16
"""Smaller inputs are sizes, scales or lengths: a change might alter the work."""

SEQUENCE = 8
"""The shortest last axis of integers that counts as a sequence, with exchangeable neighbours."""

IMAGE_TYPES = ("uint8", "int8")


def fresh(batch: Arrays, random: np.random.Generator) -> dict[str, Array] | None:
    """A new batch near `batch`, read-only, or None without an input that may change.

    Floating inputs are multiplied by 1 ± `NOISE`, images of bytes change their lowest bits. A batch
    without either has two neighbours of each integer sequence exchanged, in all sequences alike.
    """
    changed = {name: _noisy(array, random) for name, array in batch.items()}
    if all(array is None for array in changed.values()):
        changed = dict(_exchanged(batch, random))
    new = {name: array for name, array in changed.items() if array is not None}
    if all(np.array_equal(array, batch[name]) for name, array in new.items()):
        return None
    for array in new.values():
        array.setflags(write=False)
    return {**batch, **new}


def _noisy(array: Array, random: np.random.Generator) -> Array | None:
    if array.size < LEAST_VALUES:
        return None
    if array.dtype.kind == "f":
        factors = 1 + NOISE * random.uniform(-1, 1, array.shape)
        return np.ascontiguousarray((array * factors).astype(array.dtype))
    if str(array.dtype) in IMAGE_TYPES and array.ndim >= 3:
        bits = random.integers(0, 2, array.shape).astype(array.dtype)
        return np.ascontiguousarray(array ^ bits)
    return None


def _exchanged(batch: Arrays, random: np.random.Generator) -> dict[str, Array]:
    """The integer sequences with two neighbours exchanged, at the same place of all sequences."""
    sequences = {
        name: array
        for name, array in batch.items()
        if array.dtype.kind in "iu" and array.ndim >= 2 and array.shape[-1] >= SEQUENCE
    }
    places = sorted({place for array in sequences.values() for place in _changes(array)})
    if not places:
        return {}
    place = places[int(random.integers(len(places)))]
    return {
        name: _with_exchanged(array, place)
        for name, array in sequences.items()
        if place + 1 < array.shape[-1]
    }


def _changes(array: Array) -> list[int]:
    """The places along the last axis where an element differs from its neighbour."""
    differ = np.diff(array, axis=-1).reshape(-1, array.shape[-1] - 1) != 0
    return [int(place) for place in np.flatnonzero(differ.any(axis=0))]


def _with_exchanged(array: Array, place: int) -> Array:
    new = array.copy()
    new[..., [place, place + 1]] = array[..., [place + 1, place]]
    return new

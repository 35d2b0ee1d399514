"""Outputs of laps drawn at random over the whole run, compared with the outputs kept at its start.

A runtime may change after its first laps: a cache fills, a tier of compilation comes in, a buffer
is reused too early. So each block has laps whose outputs are fetched without notice. Only outputs
that differ are kept, so the memory stays that of two outputs per batch.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


BLOCKS = 4
"""A session with its own loop fetches outputs in one block of so many."""


@dataclass
class SpotChecks:
    """The random laps of one boundary. `random` is seeded by the system, unknown to the session."""

    random: random.Random = field(default_factory=random.SystemRandom)
    different: dict[int, Arrays] = field(default_factory=dict)
    """By batch, the outputs that differ most from the outputs kept at the start."""
    checked: int = 0
    """Laps compared so far."""
    _waiting: list[tuple[int, Arrays]] = field(default_factory=list, init=False)
    _distances: dict[int, float] = field(default_factory=dict, init=False)

    def is_lucky(self) -> bool:
        """True for one block in `BLOCKS`: a session with its own loop is told the laps to keep, and
        transferring outputs would hide the cost of a call in all blocks.
        """
        return self.random.randrange(BLOCKS) == 0

    def draw(self, first: int, count: int) -> set[int]:
        """The number of a lap among `count` laps from `first`."""
        return {first + self.random.randrange(count)} if count else set()

    def add(self, batch: int, outputs: Arrays) -> None:
        """Keep outputs until `compare`."""
        self._waiting.append((batch, outputs))

    def compare(self, kept: Mapping[int, Arrays]) -> None:
        """Compare the waiting outputs with those kept at the start; call it outside all clocks."""
        for batch, outputs in self._waiting:
            if batch in kept:
                self.checked += 1
                distance = _distance(outputs, kept[batch])
                if distance > self._distances.get(batch, 0.0):
                    self._distances[batch], self.different[batch] = distance, outputs
        self._waiting.clear()

    def outputs(self, kept: Mapping[int, Arrays]) -> dict[int, Arrays]:
        """The outputs to judge: the kept ones, with the different ones in their places; empty
        without a difference.
        """
        return {**kept, **self.different} if self.different else {}


def _distance(left: Arrays, right: Arrays) -> float:
    """0 for equal outputs; otherwise the largest difference, infinite for other forms and NaN."""
    import numpy as np

    if left.keys() != right.keys():
        return float("inf")
    largest = 0.0
    for name, array in left.items():
        other = np.asarray(right[name])
        array = np.asarray(array)
        if array.shape != other.shape or array.dtype != other.dtype:
            return float("inf")
        if np.array_equal(array, other):
            continue
        if array.dtype.kind not in "biufc":
            return float("inf")
        exact = array.astype(complex if array.dtype.kind == "c" else float)
        difference = np.abs(exact - other)
        places = np.isnan(exact) & np.isnan(other) | (exact == other)
        difference = np.where(places, 0.0, difference)
        worst = float(np.max(difference, initial=0.0))
        largest = max(largest, float("inf") if np.isnan(worst) else worst)
    return largest

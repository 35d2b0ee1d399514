"""The number of discrete values that may differ from a golden.

Discrete values are made from numbers by rounding, comparing or sorting, and a number at the edge
may fall to either side within the precision.
"""

from __future__ import annotations

import math

FLIPPED = 1e-4
"""The share of values that may differ, if there are so many."""

MOST_FLIPPED = 8
"""The largest number of such values."""

STEPPED = 1e-3
"""The share of integers that may differ by one, if no other integer differs."""

OWN_FACTOR = 3.0
"""Times the yardstick's share of differing values, as for RMSE."""

OWN_CEILING = 0.05
"""The largest share that the factor may reach. The yardstick's own share is allowed beyond."""


def allowed(size: int, own_share: float | None, steps: float = 0.0) -> float:
    """The number of `size` values that may differ.

    `own_share` is the yardstick's share of differing values, None without a yardstick.
    `steps` is the share allowed for integers with differences of one only, otherwise 0.
    """
    few = min(MOST_FLIPPED, int(size * FLIPPED))
    stepped = math.ceil(size * steps) if steps > STEPPED else int(size * steps)
    own = 0.0 if own_share is None else own_share * size
    factored = min(OWN_FACTOR * own, max(own, OWN_CEILING * size))
    return max(few, stepped, round(factored, 6))

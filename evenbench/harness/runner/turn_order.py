"""Orders of turns in which every member follows every other member equally often."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def balanced_orders(members: Sequence[T], shuffle: random.Random) -> list[list[T]]:
    """Orders for consecutive rounds: the rows of a Williams square, in random order.

    Within the rows, each member stands once in each place, and follows each other member once (for
    an odd number of members, twice in twice as many rows), so the state that a turn leaves behind
    in caches and clocks is no bias. E. J. Williams, Australian Journal of Scientific Research A 2,
    1949. `members` are labelled at random.
    """
    labels = shuffle.sample(list(members), len(members))
    count = len(labels)
    # 0, 1, n - 1, 2, n - 2, ...: each difference of neighbours occurs once.
    first = [
        (place + 1) // 2 if place % 2 else (count - place // 2) % count for place in range(count)
    ]
    rows = [[(number + shift) % count for number in first] for shift in range(count)]
    if count % 2:
        rows += [row[::-1] for row in rows]
    shuffle.shuffle(rows)
    return [[labels[number] for number in row] for row in rows]

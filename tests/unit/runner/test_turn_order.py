"""The order of turns favours no member and no neighbour."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from evenbench.harness.runner.turn_order import balanced_orders


@pytest.mark.parametrize("count", range(1, 9))
def test_every_member_follows_every_other_equally_often(count: int) -> None:
    members = [f"m{number}" for number in range(count)]
    orders = balanced_orders(members, random.Random(count))
    assert all(sorted(order) == members for order in orders)
    for place in range(count):
        assert len(set(Counter(order[place] for order in orders).values())) == 1
    followers = Counter(pair for order in orders for pair in itertools.pairwise(order))
    assert len(followers) == count * (count - 1), "a pair never occurs"
    assert len(set(followers.values())) <= 1


def test_orders_differ_between_sweeps() -> None:
    members = list("abcdef")
    assert balanced_orders(members, random.Random(1)) != balanced_orders(members, random.Random(2))

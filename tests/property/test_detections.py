"""Matching on arbitrary detections: order is no matter, what is the same passes, and what moved by
enough does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenbench.harness.accuracy import detection_matching
from evenbench.harness.accuracy.detection_matching import LIMITS, Difference

STRICT = LIMITS["fp32"]


@st.composite
def images(draw: st.DrawFn, least: int = 0) -> dict[str, Any]:
    """Up to twelve objects of three classes, overlapping as they come, with masks of 6 x 6."""
    many = draw(st.integers(least, 12))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    corners, sides = chance.uniform(0, 200, (many, 2)), chance.uniform(8, 90, (many, 2))
    return {
        "boxes": np.concatenate([corners, corners + sides], axis=1),
        "labels": chance.integers(0, 3, many),
        "scores": chance.uniform(0.3, 1.0, many),
        "masks": chance.uniform(0, 1, (many, 1, 6, 6)),
    }


def shuffled(found: dict[str, Any], chance: Any) -> dict[str, Any]:
    order = list(range(len(found["scores"])))
    chance.shuffle(order)
    return {name: values[np.array(order, int)] for name, values in found.items()}


def close(one: Difference, other: Difference) -> bool:
    return one.facts() == pytest.approx(other.facts(), abs=1e-12)


def compare(made: Any, wanted: Any) -> Difference:
    return detection_matching.compare(made, wanted, 0.5, STRICT.margin)


CHANCE = st.randoms(use_true_random=False)


@given(images(), CHANCE)
def test_identical_detections_pass_in_any_order(found: dict[str, Any], chance: Any) -> None:
    seen = compare(shuffled(found, chance), found)
    assert detection_matching.needed(seen, STRICT)[0] == 0.0
    assert (seen.unmatched, seen.on_threshold, seen.box_pixels, seen.score, seen.mask_iou) == (
        0,
        0,
        0.0,
        0.0,
        1.0,
    )


@given(images(), images(), CHANCE, CHANCE)
def test_the_order_of_neither_side_matters(
    made: dict[str, Any], wanted: dict[str, Any], one: Any, other: Any
) -> None:
    assert close(compare(shuffled(made, one), shuffled(wanted, other)), compare(made, wanted))


@given(images(), images())
def test_both_sides_are_alike(made: dict[str, Any], wanted: dict[str, Any]) -> None:
    there, back = compare(made, wanted), compare(wanted, made)
    assert (there.matched, there.unmatched, there.on_threshold) == (
        back.matched,
        back.unmatched,
        back.on_threshold,
    )


@given(images(), images())
def test_everything_above_the_threshold_is_accounted_for(
    made: dict[str, Any], wanted: dict[str, Any]
) -> None:
    seen = compare(made, wanted)
    above = [int(np.count_nonzero(found["scores"] >= 0.5)) for found in (made, wanted)]
    assert seen.wanted == above[1]
    assert max(above) <= seen.matched + seen.unmatched + seen.on_threshold <= sum(above)


@given(images(least=1), st.integers(0, 11), st.floats(1.0, 40.0))
def test_one_box_that_moved_fails(wanted: dict[str, Any], which: int, pixels: float) -> None:
    """The smallest shift moves the largest box, of 90 pixels, by more than 1 % of its area."""
    which %= len(wanted["scores"])
    wanted = {
        **wanted,
        "scores": np.where(np.arange(len(wanted["scores"])) == which, 0.9, wanted["scores"]),
    }
    made = {**wanted, "boxes": wanted["boxes"].copy()}
    made["boxes"][which] += pixels
    assert detection_matching.needed(compare(made, wanted), STRICT)[0] > 1


@given(images(least=1), st.integers(0, 11))
def test_one_that_is_missing_fails_unless_its_score_lies_on_the_threshold(
    wanted: dict[str, Any], which: int
) -> None:
    which %= len(wanted["scores"])
    made = {name: np.delete(values, which, axis=0) for name, values in wanted.items()}
    clear = wanted["scores"][which] >= 0.5 + STRICT.margin
    assert (detection_matching.needed(compare(made, wanted), STRICT)[0] > 1) is bool(clear)

"""New inputs near the timed inputs: valid, different every time, read-only."""

from __future__ import annotations

import numpy as np
import pytest

from evenbench.harness.measurement.fresh_inputs import NOISE, fresh

TOKENS = np.array([[101, 7, 8, 9, 12, 102, 0, 0]])


def random() -> np.random.Generator:
    return np.random.default_rng(3)


def test_floats_change_a_little_and_zeros_stay() -> None:
    x = np.array([[0.0, 1.0, -3.0, 250.0] * 8], np.float32)
    new = fresh({"x": x}, random())
    assert new is not None
    assert new["x"].dtype == x.dtype
    assert not new["x"].flags.writeable
    assert np.all(np.abs(new["x"] - x) <= 1.01 * NOISE * np.abs(x))
    assert np.all((new["x"] == 0) == (x == 0))
    assert np.mean(new["x"] == x) < 0.4


def test_no_two_are_alike() -> None:
    generator, x = random(), np.ones((1, 64), np.float16)
    drawn = [fresh({"x": x}, generator) for _ in range(20)]
    assert len({new["x"].tobytes() for new in drawn if new}) == 20


def test_bytes_of_an_image_change_their_lowest_bit() -> None:
    image = np.full((1, 3, 8, 8), 200, np.uint8)
    new = fresh({"image": image}, random())
    assert new is not None
    assert set(np.unique(new["image"])) == {200, 201}


def test_sequences_exchange_the_same_neighbours_in_all_inputs() -> None:
    mask = np.array([[1, 1, 1, 1, 1, 1, 0, 0]])
    new = fresh({"ids": TOKENS, "mask": mask}, random())
    assert new is not None
    assert sorted(new["ids"][0]) == sorted(TOKENS[0])
    place = int(np.flatnonzero(new["ids"][0] != TOKENS[0])[0])
    assert list(new["ids"][0][[place, place + 1]]) == list(TOKENS[0][[place + 1, place]])
    assert list(new["mask"][0][[place, place + 1]]) == list(mask[0][[place + 1, place]])


def test_sizes_beside_an_image_stay() -> None:
    size, image = np.array([480, 640]), np.ones((3, 4, 4), np.float32)
    new = fresh({"image": image, "size": size}, random())
    assert new is not None
    assert new["size"] is size


@pytest.mark.parametrize(
    "array",
    [
        np.array([3.0]),
        np.array([[1, 2, 3]]),
        np.zeros((1, 64), np.float32),
        np.ones((2, 16), np.int64),
        np.array([[True] * 20]),
    ],
)
def test_inputs_that_may_not_change_give_none(array: np.ndarray) -> None:  # type: ignore[type-arg]
    assert fresh({"x": array}, random()) is None

"""What a task says of two answers, on answers whose agreement can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from evenbench.harness import TensorSpec
from evenbench.harness.accuracy import agreement, parity, tolerances
from evenbench.harness.accuracy.parity import Evidence


def test_best_classes_are_counted() -> None:
    wanted = np.array([[9.0, 8, 7, 6, 5, 4, 3], [9.0, 8, 7, 6, 5, 4, 3]])
    made = wanted.copy()
    made[1] = [8.0, 9, 7, 6, 1, 5, 3]  # another best class, and one of the five best is another one
    assert agreement.classification(made, wanted) == {"top1_agreement": 0.5, "top5_overlap": 0.9}


def test_of_five_classes_or_fewer_all_are_the_five_best() -> None:
    assert agreement.classification(np.eye(4), np.eye(4)) == {"top1_agreement": 1.0}


def test_pixels_and_classes_are_counted() -> None:
    """Four pixels: classes 0 0 1 1 in the golden, 0 1 1 1 made; class 2 is nowhere."""
    wanted, made = (
        np.eye(3)[np.array([kinds])].transpose(0, 2, 1)[..., None]
        for kinds in ([0, 0, 1, 1], [0, 1, 1, 1])
    )
    assert agreement.segmentation(made, wanted) == {
        "pixel_agreement": 0.75,
        "miou": pytest.approx((1 / 2 + 2 / 3) / 2),
        "classes_seen": 2,
    }
    assert agreement.segmentation(wanted, wanted)["miou"] == 1.0


SENTENCES = np.array([[1.0, 0.0, 0.0], [0.9, 0.4, 0.0], [0.2, 0.9, 0.1], [0.0, 0.1, 1.0]])


def test_neighbours_keep_their_order_under_scaling_and_lose_it_under_a_swap() -> None:
    same = agreement.text(3 * SENTENCES, SENTENCES)
    assert (same["nearest_agreement"], same["order_agreement"], same["sentences"]) == (1.0, 1.0, 4)
    assert same["worst_cosine"] == pytest.approx(1.0)
    swapped = agreement.text(SENTENCES[[3, 1, 2, 0]], SENTENCES)
    assert swapped["worst_cosine"] == pytest.approx(0.0)
    assert swapped["nearest_agreement"] < 1.0
    assert swapped["order_agreement"] < 1.0


def test_a_sentence_that_comes_again_in_another_batch_is_one_sentence() -> None:
    again = SENTENCES[[0, 1, 2, 3, 0, 1]]
    assert agreement.text(again, again)["sentences"] == 4
    assert set(agreement.text(SENTENCES[:2], SENTENCES[:2])) == {"worst_cosine", "sentences"}


@pytest.mark.parametrize(
    ("task", "shape", "axes"),
    [
        ("regression", (2, 3), 1),
        ("classification", (2, 3, 4, 4), 3),
        ("segmentation", (2, 3), 1),
        ("text", (2,), 0),
    ],
)
def test_a_task_says_nothing_of_outputs_of_another_form(
    task: str, shape: tuple[int, ...], axes: int
) -> None:
    values = np.ones(shape, np.float32)
    assert agreement.facts(task, values, values, axes) == {}


def test_of_broken_numbers_nothing_is_said() -> None:
    wanted = np.eye(3)
    assert agreement.facts("classification", np.where(wanted, np.nan, 0.0), wanted, 1) == {}
    assert agreement.facts("classification", wanted.astype(np.int64), wanted, 1) == {}


def test_facts_are_of_the_first_output_that_has_the_form_and_decide_nothing() -> None:
    """Two pixels of four change their class within the tolerance: the verdict stays what the
    numbers say.
    """
    specs = (TensorSpec("pooled", ("batch", 4)), TensorSpec("out", ("batch", 2, 1, 4)))
    pooled = np.array([[[8.0, -2.0, 1.0, 0.0]], [[1.0, 4.0, -8.0, 2.0]], [[0.5, 0.0, 2.0, 8.0]]])
    out = np.zeros((3, 1, 2, 1, 4))
    out[..., 0, :, :], out[1, ..., 1, :, 2:], out[2, ..., 1, :, :] = 1.0, 3.0, 1.0 + 1e-7
    near = out.copy()
    near[2, ..., 1, :, :2] -= 2e-7
    golden = {"pooled": pooled, "out": out}
    made = {"pooled": pooled.astype(np.float64), "out": near}
    wide = (
        TensorSpec("pooled", ("batch", 4), "float64"),
        TensorSpec("out", ("batch", 2, 1, 4), "float64"),
    )
    assert [spec.name for spec in wide] == [spec.name for spec in specs]
    found = parity.compare(
        made, golden, wide, tolerances.TOLERANCES["fp32"], "a golden", Evidence(task="segmentation")
    )
    assert found.verdict == "pass"
    assert found.agreement["pixel_agreement"] == pytest.approx(10 / 12)
    assert (
        parity.compare(made, golden, wide, tolerances.TOLERANCES["fp32"], "a golden").agreement
        == {}
    )

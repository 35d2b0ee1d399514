"""Outputs become predictions, or a refusal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evenbench.harness import BATCH, Recipe, TensorSpec, Unsupported, UsageError
from evenbench.harness.accuracy import detection_matching
from evenbench.harness.pipeline import postprocess
from evenbench.harness.preprocess import Layout, ToArray
from tests.unit.pipeline.drawable_models import CLASSIFIER, DETECTOR, detections, model


def test_a_label_has_its_share() -> None:
    answer = postprocess.reader(CLASSIFIER)({"logits": np.array([[0.0, 2.0, 0.0]], np.float32)})
    assert answer.words == ("dog  0.79",)
    assert postprocess.reader(CLASSIFIER)({"logits": np.array([[0.0, 0.0, 900.0]])}).words == (
        "class 2  1.00",
    )


def test_objects_below_the_threshold_are_left_out() -> None:
    answer = postprocess.reader(DETECTOR)(detections([0.9, 0.01], [[1, 1, 3, 3], [0, 0, 1, 1]]))
    assert answer.words == ("dog 0.90",)
    assert answer.boxes is not None
    assert answer.boxes.tolist() == [[1, 1, 3, 3]]


@pytest.mark.parametrize("task", ["text", "regression"])
def test_what_cannot_be_drawn_is_refused_in_words(task: str) -> None:
    with pytest.raises(Unsupported, match=f"its task is {task}"):
        postprocess.reader(model(task, TensorSpec("y", (BATCH, 4))))


def test_a_detector_of_raw_heads_is_refused_in_words() -> None:
    with pytest.raises(Unsupported, match="boxes, labels and scores"):
        postprocess.reader(model("detection", TensorSpec("heads", (BATCH, 100, 85))))


def test_a_model_without_a_recipe_is_refused() -> None:
    with pytest.raises(UsageError, match="has no recipe"):
        postprocess.recipe_of(CLASSIFIER)
    raw = Recipe("raw", (ToArray(), Layout("CHW")))
    with pytest.raises(UsageError, match="does not begin with Decode"):
        postprocess.recipe_of(replace(CLASSIFIER, recipe=raw))


def test_masks_are_drawn_at_the_threshold_of_the_judge() -> None:
    assert postprocess.MASK_LEVEL == detection_matching.MASK_LEVEL

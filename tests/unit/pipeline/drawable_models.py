"""Models with outputs that can be drawn: a classifier, a segmenter and a detector."""

from __future__ import annotations

from typing import Any

import numpy as np

from evenbench.harness import ANY, BATCH, Model, TensorSpec


def model(task: str, *outputs: TensorSpec, **more: Any) -> Model:
    return Model(
        "m", "nobody:build", (TensorSpec("x", (BATCH, 3, 8, 8)),), outputs, task=task, **more
    )


CLASSIFIER = model("classification", TensorSpec("logits", (BATCH, 3)), labels=("cat", "dog"))
SEGMENTER = model(
    "segmentation", TensorSpec("aux", (BATCH, 7)), TensorSpec("out", (BATCH, 3, 4, 4))
)
DETECTOR = model(
    "detection",
    TensorSpec("boxes", (ANY, 4)),
    TensorSpec("labels", (ANY,), "int64"),
    TensorSpec("scores", (ANY,)),
    labels=("cat", "dog"),
)


def detections(scores: list[float], boxes: list[list[float]]) -> dict[str, np.ndarray]:
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "labels": np.array([1] * len(scores)),
        "scores": np.array(scores),
    }

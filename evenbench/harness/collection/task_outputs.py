"""The tasks of a user's own model, and the outputs that each task expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from evenbench.harness.core import data_dependent_shapes
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.tensor_specs import BATCH, TensorSpec
from evenbench.harness.core.types import ANY

DETECTION = "detection"
TASKS = ("classification", "segmentation", DETECTION, "text", "other")
"""The values of `--task`."""

FORMS: Mapping[str, tuple[int, int, str]] = {
    "classification": (2, 2, "scores [batch, classes]"),
    "segmentation": (4, 2, "scores of every pixel [batch, classes, height, width]"),
    "text": (2, 1, "embeddings [batch, size]"),
}
"""By task, the form of one output: number of axes, least size of the second axis, description."""

OBJECTS: Mapping[str, tuple[int, ...]] = {"boxes": (4,), "labels": (), "scores": ()}
"""A detector's outputs, and the shape of each per object."""

LISTED = "boxes [n, 4], labels [n] and scores [n] of one image, and optionally masks"


def check(target: str, task: str, outputs: Sequence[TensorSpec]) -> None:
    """Raise UsageError if no output has the form of the task."""
    if task == DETECTION:
        fits = _lists_objects(task, outputs)
        expected = f"outputs {LISTED}, by these names (a module returns a dictionary of them)"
    elif task in FORMS:
        axes, least, form = FORMS[task]
        fits = any(_has_form(spec, axes, least) for spec in outputs)
        expected = f"a float output with {form}, the second size being {least} or more"
    else:
        return
    if not fits:
        raise UsageError(
            f"{target}: --task {task} expects {expected}; the model has {shown(outputs)}; "
            "docs/reference/tasks.md describes the tasks"
        )


def _lists_objects(task: str, outputs: Sequence[TensorSpec]) -> bool:
    shapes = {spec.name: spec.shape for spec in outputs}
    return bool(data_dependent_shapes.objects(task, shapes)) and all(
        name in shapes and shapes[name][1:] == rest for name, rest in OBJECTS.items()
    )


def _has_form(spec: TensorSpec, axes: int, least: int) -> bool:
    first, *others = spec.shape or (0,)
    return (
        "float" in spec.dtype
        and len(spec.shape) == axes
        and first in (BATCH, 1)
        and isinstance(others[0], int)
        and others[0] >= least
    )


def guessed(outputs: Sequence[TensorSpec]) -> str:
    """The task of a model without `--task`: classification for a single [batch, classes] output."""
    shape = outputs[0].shape if len(outputs) == 1 else ()
    is_scores = len(shape) == 2 and isinstance(shape[1], int) and shape[1] > 1
    return "classification" if is_scores else "other"


def with_open_sizes(target: str, outputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """A detector's outputs, with `ANY` for the number of objects.

    A file declares a fixed number of objects, such as queries. A module's example shows the number
    of objects in one image only.
    """
    lists = [
        spec for spec in outputs if spec.name in data_dependent_shapes.DETECTIONS and spec.shape
    ]
    if target.endswith(".onnx") and not any(spec.is_batched for spec in lists):
        return outputs
    return tuple(
        replace(spec, shape=(ANY, *spec.shape[1:])) if spec in lists else spec for spec in outputs
    )


def shown(specs: Sequence[TensorSpec]) -> str:
    """Tensors as text for messages: `x float32[batch, 4], y int64[1]`."""
    return ", ".join(
        f"{spec.name} {spec.dtype}[{', '.join(map(str, spec.shape))}]" for spec in specs
    )

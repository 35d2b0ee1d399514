"""Outputs with data-dependent shapes, such as a detector's boxes, and rules for declarations."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

ANY = "any"
"""A size of an output that depends on the data; the first of a detector's outputs."""

DETECTIONS = ("boxes", "labels", "scores", "masks")
"""Names of a detector's outputs (see `harness.accuracy.detection_matching`); masks are optional."""

SCORE_THRESHOLD = 0.5
"""Objects with a lower score are not judged. A model may set another threshold."""

MASK_LEVEL = 0.5
"""Pixels with a mask value above this level belong to the object."""


def objects(task: str, shapes: Mapping[str, Sequence[int | str]]) -> tuple[str, ...]:
    """The outputs with an image's objects, from declared shapes by name. Matched in comparisons.

    Empty for other tasks than `detection`. The outputs of open size, or outputs named like a
    detector's with an equal, fixed number of rows: some networks return a constant number of
    queries.
    """
    if task != "detection":
        return ()
    unsized = tuple(name for name, shape in shapes.items() if tuple(shape[:1]) == (ANY,))
    named = tuple(name for name in shapes if name in DETECTIONS)
    if unsized or not set(DETECTIONS[:3]) <= set(named):
        return unsized
    rows = shapes["boxes"][:1]
    return (
        named
        if rows and isinstance(rows[0], int) and all(shapes[name][:1] == rows for name in named)
        else ()
    )


def problem(task: str, threshold: float, inputs: Collection[str], outputs: Collection[str]) -> str:
    """The reason a model's declaration is invalid, or an empty string.

    `inputs` and `outputs` are the names of tensors with open sizes.
    """
    if not 0 < threshold < 1:
        return f"score_threshold is {threshold!r}; expected a number between 0 and 1"
    if inputs:
        return f"input {min(inputs)} has an open size; only outputs may, so give a number"
    if (
        outputs
        and task == "detection"
        and not (set(DETECTIONS[:3]) <= set(outputs) <= set(DETECTIONS))
    ):
        wanted = f"{', '.join(DETECTIONS[:3])} and, optionally, masks"
        return (
            f"outputs {sorted(outputs)} of task {task!r} have an open size; expected outputs "
            f"{wanted}, or another task"
        )
    return ""

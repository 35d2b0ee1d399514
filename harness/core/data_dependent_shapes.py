"""Outputs whose size only the answer tells: a detector has as many rows as it finds objects. Which
they are, and what may be so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

ANY = "any"
"""The first dimension of such an output."""

DETECTIONS = ("boxes", "labels", "scores", "masks")
"""Their names (`harness.accuracy.detection_matching` compares them); masks may be left out."""

SCORE_THRESHOLD = 0.5
"""Objects that score less are not judged, unless a model sets another threshold."""

MASK_LEVEL = 0.5
"""Pixels with a mask value above this level belong to the object."""


def objects(task: str, shapes: Mapping[str, Sequence[int | str]]) -> tuple[str, ...]:
    """Which outputs list one image's objects, of the declared shapes by name: they are matched
    before they are compared.

    Those of open size; and of task `detection`, outputs of the same names that all have one number
    of rows, as a network has that answers so many queries whatever it sees.
    """
    unsized = tuple(name for name, shape in shapes.items() if tuple(shape[:1]) == (ANY,))
    named = tuple(name for name in shapes if name in DETECTIONS)
    if unsized or task != "detection" or not set(DETECTIONS[:3]) <= set(named):
        return unsized
    rows = shapes["boxes"][:1]
    return (
        named
        if rows and isinstance(rows[0], int) and all(shapes[name][:1] == rows for name in named)
        else ()
    )


def problem(task: str, threshold: float, inputs: Collection[str], outputs: Collection[str]) -> str:
    """Why a model cannot be declared so, or an empty string. `inputs` and `outputs` are the names
    of those of open size.
    """
    if not 0 < threshold < 1:
        return f"score_threshold is a number between 0 and 1, not {threshold!r}"
    if inputs:
        return f"input {min(inputs)} has an open size, which only outputs can have; give a number"
    if outputs and not (
        task == "detection" and set(DETECTIONS[:3]) <= set(outputs) <= set(DETECTIONS)
    ):
        wanted = f"{', '.join(DETECTIONS[:3])}, and masks where there are any"
        return f"outputs {sorted(outputs)} of task {task!r} have an open size; that is for task 'detection', with outputs {wanted}"
    return ""

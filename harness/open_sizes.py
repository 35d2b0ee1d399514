"""Outputs whose size only the answer tells: a detector has as many rows as it finds objects. What may be declared so."""

from __future__ import annotations

from collections.abc import Collection

ANY = "any"
"""The first dimension of such an output."""

DETECTIONS = ("boxes", "labels", "scores", "masks")
"""Their names (`harness.detections` compares them); masks may be left out."""

SCORE_THRESHOLD = 0.5
"""Objects that score less are not judged, unless a model sets another threshold."""


def problem(task: str, threshold: float, inputs: Collection[str], outputs: Collection[str]) -> str:
    """Why a model cannot be declared so, or an empty string. `inputs` and `outputs` are the names of those of open size."""
    if not 0 < threshold < 1:
        return f"score_threshold is a number between 0 and 1, not {threshold!r}"
    if inputs:
        return f"input {min(inputs)} has an open size, which only outputs can have; give a number"
    if outputs and not (task == "detection" and set(DETECTIONS[:3]) <= set(outputs) <= set(DETECTIONS)):
        wanted = f"{', '.join(DETECTIONS[:3])}, and masks where there are any"
        return f"outputs {sorted(outputs)} of task {task!r} have an open size; that is for task 'detection', with outputs {wanted}"
    return ""

"""What a task makes of its outputs, beside the numbers themselves: do two answers mean the same?

These are facts for a reader. They decide nothing: raw outputs are judged elementwise or by RMSE
(`parity`), which is far stricter than any of them. Where an answer passes, they say what the
remaining error is worth to a user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

TOP = 5
"""Among how many best classes an answer counts as found."""

SAME = 1e-9
"""Sentences whose embeddings in the golden are closer than this are one sentence: it has no order
among itself.
"""

TIE = 1e-6
"""Neighbours whose cosines in the golden differ by less than this have no order."""


def classification(made: Array, wanted: Array) -> dict[str, float]:
    """Of scores [..., classes]: the share of samples of equal best class, and how many of the
    golden's five best are among the five.
    """
    a, b = made.reshape(-1, made.shape[-1]), wanted.reshape(-1, wanted.shape[-1])
    found = {"top1_agreement": _share(a.argmax(-1) == b.argmax(-1))}
    if a.shape[-1] > TOP:
        one, other = (np.argsort(-each, axis=-1, kind="stable")[:, :TOP] for each in (a, b))
        found["top5_overlap"] = _share(np.any(one[:, :, None] == other[:, None, :], axis=-1))
    return found


def segmentation(made: Array, wanted: Array) -> dict[str, float]:
    """Of scores [..., classes, height, width]: the share of pixels of equal class, and the mean
    over classes of their IoU.

    Classes that neither side has anywhere are left out of the mean.
    """
    a, b = made.argmax(-3), wanted.argmax(-3)
    present = np.union1d(a, b)
    overlaps = [
        np.count_nonzero((a == kind) & (b == kind)) / np.count_nonzero((a == kind) | (b == kind))
        for kind in present
    ]
    return {
        "pixel_agreement": _share(a == b),
        "miou": sum(overlaps) / len(overlaps) if overlaps else 1.0,
        "classes_seen": len(present),
    }


def text(made: Array, wanted: Array) -> dict[str, float]:
    """Of embeddings [..., size]: the worst cosine to the golden's, and whether sentences have the
    same neighbours.

    `nearest_agreement` is the share of sentences with the golden's nearest neighbour.
    `order_agreement` is the share of pairs of neighbours that stand in the golden's order, over all
    sentences (the concordant share of M. G. Kendall, "A new measure of rank correlation",
    Biometrika 30, 1938); pairs that the golden holds equal are left out.
    """
    a, b = (_unit(each.reshape(-1, each.shape[-1])) for each in (made, wanted))
    chosen = _distinct(b)
    cosines = np.sum(a * b, axis=-1)
    near, golden = a[chosen] @ a[chosen].T, b[chosen] @ b[chosen].T
    found = {"worst_cosine": float(np.min(cosines, initial=1.0)), "sentences": len(chosen)}
    if len(chosen) < 3:  # of two sentences each is the other's only neighbour
        return found
    for each in (near, golden):
        np.fill_diagonal(each, -np.inf)
    others = ~np.eye(len(chosen), dtype=bool)
    concordant, ordered = 0, 0
    for row, true, kept in zip(near, golden, others, strict=True):
        differences, right = _differences(row[kept]), _differences(true[kept])
        told = np.abs(right) > TIE
        ordered += int(np.count_nonzero(told))
        concordant += int(np.count_nonzero(np.sign(differences[told]) == np.sign(right[told])))
    found["nearest_agreement"] = _share(near.argmax(-1) == golden.argmax(-1))
    found["order_agreement"] = concordant / ordered if ordered else 1.0
    return found


RULES: Mapping[str, tuple[int, Callable[[Array, Array], dict[str, float]]]] = {
    "classification": (1, classification),
    "segmentation": (3, segmentation),
    "text": (1, text),
}
"""By task: over how many of an output's last axes its facts are taken, and the function."""


def facts(task: str, made: Array, wanted: Array, axes: int) -> dict[str, float]:
    """What `task` says of one output of `axes` axes after the batch; empty where it says nothing of
    outputs of that form.

    Only finite floating outputs have a meaning here: what is broken is the business of `parity`.
    """
    known = RULES.get(task)
    if (
        known is None
        or known[0] != axes
        or made.dtype.kind != "f"
        or not wanted.size
        or not np.all(np.isfinite(made))
    ):
        return {}
    return known[1](made.astype(np.float64), wanted)


def _share(agrees: Array) -> float:
    return np.count_nonzero(agrees) / agrees.size


def _unit(rows: Array) -> Array:
    """Rows of length one; a row of zeros stays one."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    made: Array = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return made


def _distinct(rows: Array) -> list[int]:
    """The first row of each sentence: batches rotate, so that one may come several times."""
    chosen: list[int] = []
    for index, row in enumerate(rows):
        if all(float(row @ rows[other]) < 1 - SAME for other in chosen):
            chosen.append(index)
    return chosen


def _differences(values: Array) -> Array:
    """values[i] - values[j] of every pair i < j."""
    first, second = np.triu_indices(len(values), k=1)
    made: Array = values[first] - values[second]
    return made

"""Task-level agreement with the golden: do two outputs mean the same?

Agreement is information for readers and decides no verdict: `parity` judges raw outputs elementwise
or by RMSE, far more strictly. For a passed verdict, agreement shows the effect of the remaining
error on users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

TOP = 5
"""The number of best classes compared, as in top-5 accuracy."""

SAME = 1e-9
"""Sentences with closer golden embeddings (1 - cosine) count as one sentence, without an order."""

TIE = 1e-6
"""Neighbours with a smaller difference of golden cosines have no order."""


def classification(output: Array, golden: Array) -> dict[str, float]:
    """Agreement of scores [..., classes]: samples with an equal best class, and the share of the
    golden's five best classes among the output's five best.
    """
    a, b = output.reshape(-1, output.shape[-1]), golden.reshape(-1, golden.shape[-1])
    facts = {"top1_agreement": _share(a.argmax(-1) == b.argmax(-1))}
    if a.shape[-1] > TOP:
        best_a, best_b = (np.argsort(-scores, kind="stable")[:, :TOP] for scores in (a, b))
        facts["top5_overlap"] = _share(np.any(best_a[:, :, None] == best_b[:, None, :], axis=-1))
    return facts


def segmentation(output: Array, golden: Array) -> dict[str, float]:
    """For scores [..., classes, height, width]: the share of pixels with an equal class, and the
    mean IoU over classes present on either side.
    """
    a, b = output.argmax(-3), golden.argmax(-3)
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


def text(output: Array, golden: Array) -> dict[str, float]:
    """For embeddings [..., size]: the worst cosine to the golden, and agreement on neighbours.

    `nearest_agreement` is the share of sentences with the golden's nearest neighbour.
    `order_agreement` is the share of pairs of neighbours in the golden's order, over all sentences
    (the concordant share of M. G. Kendall, "A new measure of rank correlation", Biometrika 30,
    1938), without pairs of equal distance in the golden.
    """
    a, b = (_unit(rows.reshape(-1, rows.shape[-1])) for rows in (output, golden))
    sentences = _distinct(b)
    cosines = np.sum(a * b, axis=-1)
    facts = {"worst_cosine": float(np.min(cosines, initial=1.0)), "sentences": len(sentences)}
    if len(sentences) < 3:  # two sentences are each other's only neighbours
        return facts
    similar, expected = (rows[sentences] @ rows[sentences].T for rows in (a, b))
    for matrix in (similar, expected):
        np.fill_diagonal(matrix, -np.inf)
    facts["nearest_agreement"] = _share(similar.argmax(-1) == expected.argmax(-1))
    facts["order_agreement"] = _concordance(similar, expected)
    return facts


def _concordance(similar: Array, expected: Array) -> float:
    """The share of pairs of neighbours in the expected order; both matrices are [sentences,
    sentences].
    """
    others = ~np.eye(len(expected), dtype=bool)
    concordant, ordered = 0, 0
    for row, expected_row, is_other in zip(similar, expected, others, strict=True):
        order, right = _differences(row[is_other]), _differences(expected_row[is_other])
        has_order = np.abs(right) > TIE
        ordered += int(np.count_nonzero(has_order))
        same = np.sign(order[has_order]) == np.sign(right[has_order])
        concordant += int(np.count_nonzero(same))
    return concordant / ordered if ordered else 1.0


RULES: Mapping[str, tuple[int, Callable[[Array, Array], dict[str, float]]]] = {
    "classification": (1, classification),
    "segmentation": (3, segmentation),
    "text": (1, text),
}
"""By task: the number of an output's last axes used by the facts, and the function."""


def facts(task: str, output: Array, golden: Array, axes: int) -> dict[str, float]:
    """The agreement of one output with `axes` axes after the batch; empty for an output without the
    task's form.

    Only finite float outputs have a meaning; `parity` reports broken outputs.
    """
    rule = RULES.get(task)
    if (
        rule is None
        or rule[0] != axes
        or output.dtype.kind != "f"
        or not golden.size
        or not np.all(np.isfinite(output))
    ):
        return {}
    return rule[1](output.astype(np.float64), golden)


def _share(agrees: Array) -> float:
    return np.count_nonzero(agrees) / agrees.size


def _unit(rows: Array) -> Array:
    """Rows scaled to length one; a row of zeros stays zero."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: Array = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return unit


def _distinct(rows: Array) -> list[int]:
    """The first row of each sentence; rotating batches repeat sentences."""
    first: list[int] = []
    for index, row in enumerate(rows):
        if all(float(row @ rows[other]) < 1 - SAME for other in first):
            first.append(index)
    return first


def _differences(values: Array) -> Array:
    """values[i] - values[j] for every pair i < j."""
    first, second = np.triu_indices(len(values), k=1)
    differences: Array = values[first] - values[second]
    return differences

"""Detections against a golden's: matched one to one by class and overlap, then compared, for any
number of objects in any order.

Runtimes may list equal objects in different orders, so rows are never compared by position. An
extra object with a score within a margin of the threshold does not count: rounding decides such a
case. The matching has the greatest cardinality, then the greatest overlap (scipy's
`linear_sum_assignment`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.core.data_dependent_shapes import MASK_LEVEL

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
    Detections = Mapping[str, Array]
    """One image's `boxes`, `labels`, `scores` and optionally `masks`, one row per object."""

LEAST_IOU = 0.5
"""Boxes with less overlap are different objects, as in PASCAL VOC and COCO's AP50."""

TIE = 1e-3
"""The overlap outweighed by a score difference of 1, so equal boxes are matched by score."""


@dataclass(frozen=True)
class Limits:
    """The limits of a precision: the lowest IoU of boxes and of masks, the largest difference of
    scores, the largest share of unmatched objects.

    A missing partner counts for scores above the threshold plus `margin`.
    """

    iou: float
    score: float
    unmatched: float
    mask_iou: float
    margin: float


LIMITS: Mapping[str, Limits] = {
    "fp32": Limits(iou=0.99, score=1e-3, unmatched=0.0, mask_iou=0.99, margin=0.01),
    "tf32": Limits(iou=0.97, score=1e-2, unmatched=0.01, mask_iou=0.97, margin=0.02),
    "fp16": Limits(iou=0.95, score=2e-2, unmatched=0.01, mask_iou=0.95, margin=0.02),
    "bf16": Limits(iou=0.95, score=2e-2, unmatched=0.01, mask_iou=0.95, margin=0.02),
    "int8-dynamic": Limits(iou=0.90, score=1e-1, unmatched=0.05, mask_iou=0.95, margin=0.10),
    "int8-static": Limits(iou=0.90, score=1e-1, unmatched=0.05, mask_iou=0.95, margin=0.10),
}


@dataclass(frozen=True)
class Difference:
    """The difference between detections and the golden's.

    `wanted` counts the golden's detections at or above the threshold. `unmatched` counts detections
    of both sides without a partner, `on_threshold` further ones within the margin. Of the matched
    pairs: the largest error of a box coordinate in pixels, the lowest IoU of boxes, the largest
    difference of scores, the lowest IoU of masks (None without masks).
    """

    wanted: int
    matched: int
    unmatched: int
    on_threshold: int
    box_pixels: float = 0.0
    box_iou: float = 1.0
    score: float = 0.0
    mask_iou: float | None = None

    def facts(self) -> dict[str, float]:
        """The difference as keys of an `AgreementRecord`."""
        masks = {} if self.mask_iou is None else {"worst_mask_iou": self.mask_iou}
        return {
            "detections": self.wanted,
            "matched": self.matched,
            "unmatched": self.unmatched,
            "on_threshold": self.on_threshold,
            "worst_box_pixels": self.box_pixels,
            "worst_box_iou": self.box_iou,
            "worst_score_difference": self.score,
            **masks,
        }


def form(detections: Detections) -> str:
    """The problem with the form of one image's detections, or an empty string.

    `boxes` are [n, 4] corners in pixels (x1, y1, x2, y2), `labels` and `scores` [n], optional
    `masks` [n, ..., height, width].
    """
    counts = {name: len(values) for name, values in detections.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} {name}" for name, count in counts.items())
        return f"one image has {listed}: each object needs one of each"
    if detections["boxes"].ndim != 2 or detections["boxes"].shape[1] != 4:
        return f"boxes have shape {list(detections['boxes'].shape)}, expected [n, 4]"
    broken = [
        name
        for name, values in detections.items()
        if not np.all(np.isfinite(np.asarray(values, np.float64)))
    ]
    return f"{broken[0]} have non-finite values" if broken else ""


def box_iou(first: Array, second: Array) -> Array:
    """Intersection over union [n, m] of all boxes `first` [n, 4] with all boxes `second` [m, 4].

    Boxes without an area have an IoU of 1 with an equal box, and 0 with any other.
    """
    a, b = first[:, None, :].astype(np.float64), second[None, :, :].astype(np.float64)
    sides = np.clip(
        np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0.0, None
    )
    common = sides[..., 0] * sides[..., 1]
    whole = _area(a) + _area(b) - common
    iou: Array = np.divide(
        common, whole, out=np.all(a == b, axis=-1).astype(np.float64), where=whole > 0
    )
    return iou


def _area(boxes: Array) -> Array:
    width = np.clip(boxes[..., 2] - boxes[..., 0], 0.0, None)
    area: Array = width * np.clip(boxes[..., 3] - boxes[..., 1], 0.0, None)
    return area


def match(output: Detections, golden: Detections) -> tuple[Array, Array]:
    """Matched rows of `output` and of `golden`: pairs of one class with an IoU of `LEAST_IOU` or
    more, every object in one pair at most.
    """
    # Imported late, so a measured process loads scipy only after its timed laps.
    from scipy.optimize import linear_sum_assignment

    overlap = box_iou(output["boxes"], golden["boxes"])
    allowed = (overlap >= LEAST_IOU) & (output["labels"][:, None] == golden["labels"][None, :])
    apart = np.abs(output["scores"][:, None].astype(np.float64) - golden["scores"][None, :])
    # A pair outweighs any gain in overlap, so cardinality comes first.
    most = 1 + min(allowed.shape)
    rows, columns = linear_sum_assignment(
        np.where(allowed, most + overlap - TIE * np.minimum(apart, 1.0), 0.0), maximize=True
    )
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


def compare(output: Detections, golden: Detections, threshold: float, margin: float) -> Difference:
    """Compare one image's detections with the golden's, without pairs scored below `threshold` on
    both sides.
    """
    output, golden = (_from(detections, threshold - margin) for detections in (output, golden))
    rows, columns = match(output, golden)
    counted = np.maximum(output["scores"][rows], golden["scores"][columns]) >= threshold
    rows, columns = rows[counted], columns[counted]
    alone = np.concatenate(
        [np.delete(output["scores"], rows), np.delete(golden["scores"], columns)]
    )
    pairs = {
        name: (output[name][rows].astype(np.float64), golden[name][columns].astype(np.float64))
        for name in output
        if name in golden
    }
    return Difference(
        wanted=int(np.count_nonzero(golden["scores"] >= threshold)),
        matched=len(rows),
        unmatched=int(np.count_nonzero(alone >= threshold + margin)),
        on_threshold=int(np.count_nonzero((alone >= threshold) & (alone < threshold + margin))),
        box_pixels=_furthest(*pairs["boxes"]),
        box_iou=float(np.min(np.diagonal(box_iou(*pairs["boxes"])), initial=1.0)),
        score=_furthest(*pairs["scores"]),
        mask_iou=_worst_mask(*pairs["masks"]) if "masks" in pairs else None,
    )


def _from(detections: Detections, least: float) -> dict[str, Array]:
    chosen = detections["scores"] >= least
    return {name: values[chosen] for name, values in detections.items()}


def _furthest(output: Array, golden: Array) -> float:
    return float(np.max(np.abs(output - golden), initial=0.0))


def _worst_mask(output: Array, golden: Array) -> float:
    """The lowest IoU of paired masks: 1 for two empty masks, 0 for masks of different sizes."""
    if output.shape != golden.shape:
        return 0.0
    a, b = output > MASK_LEVEL, golden > MASK_LEVEL
    pixels = tuple(range(1, a.ndim))
    common, whole = np.count_nonzero(a & b, axis=pixels), np.count_nonzero(a | b, axis=pixels)
    return float(
        np.min(np.divide(common, whole, out=np.ones(len(a)), where=whole > 0), initial=1.0)
    )


def worst(differences: Sequence[Difference]) -> Difference:
    """The difference over several images: the sums of counts and the worst errors."""
    masks = [image.mask_iou for image in differences if image.mask_iou is not None]
    return Difference(
        wanted=sum(image.wanted for image in differences),
        matched=sum(image.matched for image in differences),
        unmatched=sum(image.unmatched for image in differences),
        on_threshold=sum(image.on_threshold for image in differences),
        box_pixels=max((image.box_pixels for image in differences), default=0.0),
        box_iou=min((image.box_iou for image in differences), default=1.0),
        score=max((image.score for image in differences), default=0.0),
        mask_iou=min(masks, default=None),
    )


def needed(difference: Difference, limits: Limits) -> tuple[float, str]:
    """The largest error in units of its limit (1.0 is exactly the limit, infinity an error without
    allowance), and a text about that error.
    """
    errors = [
        (
            difference.unmatched,
            limits.unmatched * max(difference.wanted, 1),
            f"{difference.unmatched} detections have no partner",
        ),
        (
            1 - difference.box_iou,
            1 - limits.iou,
            f"a box overlaps the golden's by {difference.box_iou:.4f} only, "
            f"{difference.box_pixels:.3g} pixels off",
        ),
        (difference.score, limits.score, f"a score is off by {difference.score:.2g}"),
    ]
    if difference.mask_iou is not None:
        text = f"a mask overlaps the golden's by {difference.mask_iou:.4f} only"
        errors.append((1 - difference.mask_iou, 1 - limits.mask_iou, text))
    ratios = [(_ratio(error, allowed), text) for error, allowed, text in errors]
    most, text = max(ratios, key=lambda ratio: ratio[0])
    return most, f"{text}, of {difference.wanted} in the golden"


def _ratio(error: float, allowed: float) -> float:
    if allowed:
        return error / allowed
    return math.inf if error else 0.0


def judge(
    output: Sequence[Detections], golden: Sequence[Detections], threshold: float, limits: Limits
) -> tuple[float, str, Difference]:
    """`needed` over all images, and the difference over all images."""
    for number, detections in enumerate(output):
        problem = form(detections)
        if problem:
            return math.inf, f"input {number}: {problem}", worst([])
    pairs = zip(output, golden, strict=True)
    difference = worst([compare(*pair, threshold, limits.margin) for pair in pairs])
    return *needed(difference, limits), difference


def degenerate(golden: Sequence[Detections], threshold: float, limits: Limits) -> str:
    """The reason for goldens being unable to judge, or an empty string: no detections, or equal
    detections on every input.
    """
    for detections in golden:
        problem = form(detections)
        if problem:
            return f"degenerate reference: {problem}"
    least = threshold + limits.margin
    if not any(np.any(detections["scores"] >= least) for detections in golden):
        return (
            f"degenerate reference: nothing is found at a score of {threshold:g} or more; an empty "
            "output would pass"
        )
    differences = [compare(image, golden[0], threshold, limits.margin) for image in golden]
    if all(needed(difference, limits)[0] <= 1 for difference in differences):
        return "degenerate reference: every input has equal detections; a cached answer would pass"
    return ""

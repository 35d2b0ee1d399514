"""Detections against a golden's: matched one to one by class and overlap, then compared. Any
number, in any order, none included.

Rows are never compared by their position, since runtimes that find the same objects may list them
in another order. Nor does it count where one list has an object more whose score lies within a
margin of the threshold: the last bit of a sum decides there. The matching is that of greatest
cardinality and then of greatest overlap, found by scipy's `linear_sum_assignment`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.core.data_dependent_shapes import MASK_LEVEL

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
    Found = Mapping[str, Array]

LEAST_IOU = 0.5
"""Boxes that overlap less than this are two objects, as in the datasets of the field (PASCAL VOC,
and COCO's AP50).
"""

TIE = 1e-3
"""How much of an overlap a difference of scores outweighs, so that of two equal boxes each finds
the one of its own score.
"""


@dataclass(frozen=True)
class Limits:
    """What a precision may cost: the lowest IoU of boxes and of masks, the largest difference of
    scores, the share without a partner.

    `margin` is how far from the threshold a score must be before a missing partner counts.
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
    """How far detections are from the golden's. `wanted` counts the golden's at or above the
    threshold.

    `unmatched` counts those of both sides that have no partner; `on_threshold` those that have none
    either, but a score so near the threshold that it does not count. The worst of the matched
    pairs: the largest error of a box's coordinate in pixels, the lowest IoU of boxes, the largest
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
        """For the record: what a verdict says of detections."""
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


def form(found: Found) -> str:
    """What is wrong with one image's detections, or an empty string.

    `boxes` are [n, 4] corners in pixels (x1, y1, x2, y2), `labels` and `scores` [n], `masks` where
    there are any [n, ..., height, width].
    """
    counts = {name: len(values) for name, values in found.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{many} {name}" for name, many in counts.items())
        return f"one image has {told}: each object needs one of each"
    if found["boxes"].ndim != 2 or found["boxes"].shape[1] != 4:
        return f"boxes have shape {list(found['boxes'].shape)}, expected [n, 4]"
    broken = [
        name
        for name, values in found.items()
        if not np.all(np.isfinite(np.asarray(values, np.float64)))
    ]
    return f"{broken[0]} have non-finite values" if broken else ""


def box_iou(first: Array, second: Array) -> Array:
    """Intersection over union of every box of `first` [n, 4] with every one of `second` [m, 4], as
    [n, m].

    Two boxes without an area overlap wholly where they are the same, and not at all elsewhere.
    """
    a, b = first[:, None, :].astype(np.float64), second[None, :, :].astype(np.float64)
    sides = np.clip(
        np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0.0, None
    )
    common = sides[..., 0] * sides[..., 1]
    whole = _area(a) + _area(b) - common
    made: Array = np.divide(
        common, whole, out=np.all(a == b, axis=-1).astype(np.float64), where=whole > 0
    )
    return made


def _area(boxes: Array) -> Array:
    made: Array = np.clip(boxes[..., 2] - boxes[..., 0], 0.0, None) * np.clip(
        boxes[..., 3] - boxes[..., 1], 0.0, None
    )
    return made


def match(made: Found, wanted: Found) -> tuple[Array, Array]:
    """The pairs, as row numbers into `made` and into `wanted`: of one class, overlapping by
    `LEAST_IOU`, each object once at most.
    """
    from scipy.optimize import (
        linear_sum_assignment,
    )  # here, so that no process that is timed has it before it was timed

    overlap = box_iou(made["boxes"], wanted["boxes"])
    allowed = (overlap >= LEAST_IOU) & (made["labels"][:, None] == wanted["labels"][None, :])
    apart = np.abs(made["scores"][:, None].astype(np.float64) - wanted["scores"][None, :])
    most = 1 + min(
        allowed.shape
    )  # more than any pair can gain in overlap, so that more pairs come first
    rows, columns = linear_sum_assignment(
        np.where(allowed, most + overlap - TIE * np.minimum(apart, 1.0), 0.0), maximize=True
    )
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


def compare(made: Found, wanted: Found, threshold: float, margin: float) -> Difference:
    """One image's detections against the golden's. Objects that both sides score below `threshold`
    are left out.
    """
    made, wanted = (_from(found, threshold - margin) for found in (made, wanted))
    rows, columns = match(made, wanted)
    counted = np.maximum(made["scores"][rows], wanted["scores"][columns]) >= threshold
    rows, columns = rows[counted], columns[counted]
    alone = np.concatenate([np.delete(made["scores"], rows), np.delete(wanted["scores"], columns)])
    pairs = {
        name: (made[name][rows].astype(np.float64), wanted[name][columns].astype(np.float64))
        for name in made
        if name in wanted
    }
    return Difference(
        wanted=int(np.count_nonzero(wanted["scores"] >= threshold)),
        matched=len(rows),
        unmatched=int(np.count_nonzero(alone >= threshold + margin)),
        on_threshold=int(np.count_nonzero((alone >= threshold) & (alone < threshold + margin))),
        box_pixels=_furthest(*pairs["boxes"]),
        box_iou=float(np.min(np.diagonal(box_iou(*pairs["boxes"])), initial=1.0)),
        score=_furthest(*pairs["scores"]),
        mask_iou=_worst_mask(*pairs["masks"]) if "masks" in pairs else None,
    )


def _from(found: Found, least: float) -> dict[str, Array]:
    chosen = found["scores"] >= least
    return {name: values[chosen] for name, values in found.items()}


def _furthest(made: Array, wanted: Array) -> float:
    return float(np.max(np.abs(made - wanted), initial=0.0))


def _worst_mask(made: Array, wanted: Array) -> float:
    """The lowest IoU of paired masks; two empty ones agree. 0 where their sizes differ."""
    if made.shape != wanted.shape:
        return 0.0
    a, b = made > MASK_LEVEL, wanted > MASK_LEVEL
    pixels = tuple(range(1, a.ndim))
    common, whole = np.count_nonzero(a & b, axis=pixels), np.count_nonzero(a | b, axis=pixels)
    return float(
        np.min(np.divide(common, whole, out=np.ones(len(a)), where=whole > 0), initial=1.0)
    )


def worst(differences: Sequence[Difference]) -> Difference:
    """Several images as one: counts are added, of errors the worst is kept."""
    masks = [each.mask_iou for each in differences if each.mask_iou is not None]
    return Difference(
        wanted=sum(each.wanted for each in differences),
        matched=sum(each.matched for each in differences),
        unmatched=sum(each.unmatched for each in differences),
        on_threshold=sum(each.on_threshold for each in differences),
        box_pixels=max((each.box_pixels for each in differences), default=0.0),
        box_iou=min((each.box_iou for each in differences), default=1.0),
        score=max((each.score for each in differences), default=0.0),
        mask_iou=min(masks, default=None),
    )


def needed(found: Difference, limits: Limits) -> tuple[float, str]:
    """What was needed of what `limits` allow, 1.0 being exactly that, and in words what needed
    most. Infinite where nothing is allowed.
    """
    told = [
        (
            found.unmatched,
            limits.unmatched * max(found.wanted, 1),
            f"{found.unmatched} detections have no partner",
        ),
        (
            1 - found.box_iou,
            1 - limits.iou,
            f"a box overlaps the golden's by {found.box_iou:.4f} only, {found.box_pixels:.3g} pixels off",
        ),
        (found.score, limits.score, f"a score is off by {found.score:.2g}"),
    ]
    if found.mask_iou is not None:
        told.append(
            (
                1 - found.mask_iou,
                1 - limits.mask_iou,
                f"a mask overlaps the golden's by {found.mask_iou:.4f} only",
            )
        )
    ratios = [
        (error / allowed if allowed else math.inf if error else 0.0, words)
        for error, allowed, words in told
    ]
    most, words = max(ratios, key=lambda each: each[0])
    return most, f"{words}, of {found.wanted} that the golden has"


def judge(
    made: Sequence[Found], wanted: Sequence[Found], threshold: float, limits: Limits
) -> tuple[float, str, Difference]:
    """Every image's detections against the golden's: what was needed, what needed most in words,
    and the differences together.
    """
    for image, found in enumerate(made):
        problem = form(found)
        if problem:
            return math.inf, f"input {image}: {problem}", worst([])
    difference = worst(
        [
            compare(one, other, threshold, limits.margin)
            for one, other in zip(made, wanted, strict=True)
        ]
    )
    return *needed(difference, limits), difference


def degenerate(wanted: Sequence[Found], threshold: float, limits: Limits) -> str:
    """Why these goldens cannot judge anything, or an empty string: nothing is found, or the same on
    every input.
    """
    for found in wanted:
        problem = form(found)
        if problem:
            return f"degenerate reference: {problem}"
    if not any(np.any(found["scores"] >= threshold + limits.margin) for found in wanted):
        return f"degenerate reference: nothing is found at a score of {threshold:g} or more; an empty answer would pass"
    alike = [
        needed(compare(found, wanted[0], threshold, limits.margin), limits)[0] <= 1
        for found in wanted
    ]
    return (
        "degenerate reference: the same is found on every input; a cached answer would pass"
        if all(alike)
        else ""
    )

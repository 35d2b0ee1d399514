"""Task metrics on labelled data: top-1 and top-5, mean IoU over classes, and mean average precision
of boxes and masks.

Metrics are computed over the whole dataset, never averaged over batches. Mean average precision is
COCO's definition in COCO's code (pycocotools): precision averaged over 101 recalls and ten overlaps
from 0.50 to 0.95, for at most a hundred objects in an image.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.core.data_dependent_shapes import MASK_LEVEL
from evenbench.harness.inputs.geometry import IGNORED

if TYPE_CHECKING:
    from evenbench.harness.inputs.geometry import Place

    Array = np.ndarray[Any, Any]

TOP = 5
"""The number of classes in the second metric of classification."""

MOST_OBJECTS = 100
"""The largest number of objects per image in COCO's evaluation, by score."""


def ranks(scores: Array, labels: Array) -> Array:
    """The rank of the right class [samples], 0 being the best; the lower of classes with equal
    scores ranks first, as in argmax.
    """
    right = np.take_along_axis(scores, labels[:, None], axis=1)
    before = np.arange(scores.shape[1])[None, :] < labels[:, None]
    rank: Array = np.count_nonzero(
        (scores > right) | ((scores == right) & before) | np.isnan(right), axis=1
    )
    return rank


def of_ranks(rank: Array, classes: int) -> dict[str, float]:
    """Top-1 accuracy, and top-5 accuracy for more than five classes."""
    shares = {"top-1": float(np.count_nonzero(rank == 0) / len(rank))}
    if classes > TOP:
        shares[f"top-{TOP}"] = float(np.count_nonzero(rank < TOP) / len(rank))
    return shares


def confusion(predicted: Array, labels: Array, classes: int) -> Array:
    """Pixels by right class and predicted class, [classes, classes], without unlabelled pixels."""
    counted = labels != IGNORED
    pixels: Array = np.bincount(
        labels[counted].astype(np.int64) * classes + predicted[counted], minlength=classes**2
    )
    return pixels.reshape(classes, classes)


def of_confusion(whole: Array) -> dict[str, float]:
    """Mean IoU over the classes in labels or predictions, and the share of right pixels.

    Raises ValueError if no pixel is labelled.
    """
    common = np.diagonal(whole)
    either = whole.sum(0) + whole.sum(1) - common
    present = either > 0
    if not whole.sum():
        raise ValueError(
            f"every pixel of every mask is {IGNORED}, the value of pixels without a class; "
            "expected labelled pixels"
        )
    overlaps = common[present] / either[present]
    return {
        "mIoU": float(overlaps.sum() / len(overlaps)),
        "pixel accuracy": float(common.sum() / whole.sum()),
    }


def objects(
    detections: Mapping[str, Array], place: Place, image: int, categories: Mapping[int, int]
) -> list[dict[str, Any]]:
    """One image's detections as COCO results, in the pixels of the image file.

    `categories` maps the model's labels; other labels are left out. Masks are run lengths in
    columns, zeros first, as in COCO.
    """
    order = np.argsort(-detections["scores"], kind="stable")[:MOST_OBJECTS]
    boxes = place.boxes_in_file(detections["boxes"][order])
    results = []
    for row, (x1, y1, x2, y2) in zip(order, boxes, strict=True):
        category = categories.get(int(detections["labels"][row]))
        if category is None:
            continue
        result = {
            "image_id": image,
            "category_id": category,
            "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
            "score": float(detections["scores"][row]),
        }
        if "masks" in detections:
            mask = detections["masks"][row].reshape(detections["masks"].shape[-2:])
            result["segmentation"] = {
                "size": [place.height, place.width],
                "counts": runs(place.mask_in_file(mask) > MASK_LEVEL),
            }
        results.append(result)
    return results


def runs(mask: Array) -> list[int]:
    """Lengths of runs of equal pixels, down the columns, starting with a run of zeros (length 0 for
    a mask with a one in front).
    """
    flat = mask.T.reshape(-1)
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], ends, [flat.size]]))
    return [*([0] if flat.size and flat[0] else []), *map(int, lengths)]


def of_objects(truth: Path, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean average precision and AP50 of boxes, and of masks if labels and results have masks."""
    from pycocotools import mask as codec
    from pycocotools.coco import COCO

    labels = json.loads(truth.read_text())
    has_outlines = all(entry.get("segmentation") for entry in labels["annotations"])
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        right = COCO()
        right.dataset = labels
        right.createIndex()
        encoded = [dict(result) for result in results]
        has_masks = has_outlines and bool(encoded) and "segmentation" in encoded[0]
        for result in encoded:
            if "segmentation" in result:
                runs_of_mask = result["segmentation"]
                result["segmentation"] = codec.frPyObjects(runs_of_mask, *runs_of_mask["size"])
        scores = _precision(right, _without(encoded, "segmentation"), "bbox", "box")
        if has_masks:
            scores |= _precision(right, _without(encoded, "bbox"), "segm", "mask")
        return scores


def _without(results: Sequence[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in result.items() if name != key} for result in results]


def _precision(right: Any, results: list[dict[str, Any]], kind: str, name: str) -> dict[str, float]:
    from pycocotools.cocoeval import COCOeval

    if not results:
        return {f"{name} mAP": 0.0, f"{name} AP50": 0.0}
    judged = COCOeval(right, right.loadRes(results), kind)
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    return {
        f"{name} mAP": max(0.0, float(judged.stats[0])),
        f"{name} AP50": max(0.0, float(judged.stats[1])),
    }

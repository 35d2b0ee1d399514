"""Task metrics of answers on labelled data: top-1 and top-5, mean IoU over classes, and mean
average precision of boxes and masks.

Everything is tallied over the whole dataset, never averaged over batches. The last one is COCO's
own definition in its own code (pycocotools): precision averaged over 101 recalls and ten overlaps
from 0.50 to 0.95, of at most a hundred objects in an image.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.core.data_dependent_shapes import MASK_LEVEL
from harness.inputs.geometry import IGNORED

if TYPE_CHECKING:
    from harness.inputs.geometry import Place

    Array = np.ndarray[Any, Any]

TOP = 5

MOST_OBJECTS = 100
"""In one image, those that score highest: COCO's evaluation looks at no more."""


def ranks(scores: Array, labels: Array) -> Array:
    """How many classes score higher than the right one, [samples]; of equal scores the lower class
    comes first, as in argmax.
    """
    right = np.take_along_axis(scores, labels[:, None], axis=1)
    before = np.arange(scores.shape[1])[None, :] < labels[:, None]
    made: Array = np.count_nonzero(
        (scores > right) | ((scores == right) & before) | np.isnan(right), axis=1
    )
    return made


def of_ranks(found: Array, classes: int) -> dict[str, float]:
    """Shares of samples whose class came first, and among the five first where there are more than
    five classes.
    """
    shares = {"top-1": float(np.count_nonzero(found == 0) / len(found))}
    return shares | (
        {f"top-{TOP}": float(np.count_nonzero(found < TOP) / len(found))} if classes > TOP else {}
    )


def confusion(answers: Array, labels: Array, classes: int) -> Array:
    """Pixels by right class and answered class, [classes, classes]; those without a class are left
    out.
    """
    counted = labels != IGNORED
    made: Array = np.bincount(
        labels[counted].astype(np.int64) * classes + answers[counted], minlength=classes**2
    )
    return made.reshape(classes, classes)


def of_confusion(whole: Array) -> dict[str, float]:
    """Mean over classes of intersection over union, without those that neither labels nor answers
    have; and the share of right pixels.
    """
    common = np.diagonal(whole)
    either = whole.sum(0) + whole.sum(1) - common
    present = either > 0
    if not whole.sum():
        raise ValueError(
            f"every pixel of every mask is {IGNORED}, which means no class: there is nothing to compare with"
        )
    overlaps = common[present] / either[present]
    return {
        "mIoU": float(overlaps.sum() / len(overlaps)),
        "pixel accuracy": float(common.sum() / whole.sum()),
    }


def objects(
    found: Mapping[str, Array], place: Place, image: int, categories: Mapping[int, int]
) -> list[dict[str, Any]]:
    """One image's detections as COCO results, in the pixels of its file. `categories` maps the
    model's labels; others are left out.

    Masks are run lengths in columns, zeros first, as COCO counts them.
    """
    order = np.argsort(-found["scores"], kind="stable")[:MOST_OBJECTS]
    boxes = place.boxes_in_file(found["boxes"][order])
    made = []
    for row, (x1, y1, x2, y2) in zip(order, boxes, strict=True):
        category = categories.get(int(found["labels"][row]))
        if category is None:
            continue
        box = [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]
        each = {
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "score": float(found["scores"][row]),
        }
        if "masks" in found:
            mask = found["masks"][row].reshape(found["masks"].shape[-2:])
            each["segmentation"] = {
                "size": [place.height, place.width],
                "counts": runs(place.mask_in_file(mask) > MASK_LEVEL),
            }
        made.append(each)
    return made


def runs(mask: Array) -> list[int]:
    """Lengths of the runs of equal pixels, down the columns; the first is of zeros, and 0 long
    where the mask begins with a one.
    """
    flat = mask.T.reshape(-1)
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], ends, [flat.size]]))
    return [*([0] if flat.size and flat[0] else []), *map(int, lengths)]


def of_objects(truth: Path, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean average precision of boxes, and of masks where labels and results have them; at an
    overlap of 0.50 alone beside each.
    """
    from pycocotools import mask as codec
    from pycocotools.coco import COCO

    told = json.loads(truth.read_text())
    outlined = all(entry.get("segmentation") for entry in told["annotations"])
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        right = COCO()
        right.dataset = told
        right.createIndex()
        listed = [dict(each) for each in results]
        masks = outlined and bool(listed) and "segmentation" in listed[0]
        for each in listed:
            if "segmentation" in each:
                each["segmentation"] = codec.frPyObjects(
                    each["segmentation"], *each["segmentation"]["size"]
                )
        plain = [
            {name: value for name, value in each.items() if name != "segmentation"}
            for each in listed
        ]
        found = _precision(right, plain, "bbox", "box")
        outlines = [
            {name: value for name, value in each.items() if name != "bbox"} for each in listed
        ]
        return found | (_precision(right, outlines, "segm", "mask") if masks else {})


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

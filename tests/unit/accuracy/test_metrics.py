"""Metrics by numbers that were worked out by hand, and mean average precision of answers that are
right, shifted, or absent.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness.accuracy import metrics
from evenbench.harness.inputs.geometry import Place


def test_ranks_count_what_scores_higher() -> None:
    made = np.array(
        [[0.1, 0.9, 0.5], [0.1, 0.9, 0.5], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [np.nan, 0.0, 0.0]]
    )
    assert metrics.ranks(made, np.array([1, 0, 0, 2, 0])).tolist() == [0, 2, 0, 2, 3]


def test_top_one_and_top_five() -> None:
    assert metrics.of_ranks(np.array([0, 0, 4, 5]), 10) == {"top-1": 0.5, "top-5": 0.75}
    assert metrics.of_ranks(np.array([0, 1]), 5) == {"top-1": 0.5}, (
        "among five classes everyone is among the five first"
    )


def test_mean_iou_leaves_out_what_has_no_class_and_classes_that_nobody_has() -> None:
    labels = np.array([[0, 0, 1, 1], [1, 255, 255, 2]])
    answers = np.array([[0, 1, 1, 1], [1, 0, 3, 2]])
    found = metrics.of_confusion(metrics.confusion(answers, labels, 5))
    assert found == {
        "mIoU": pytest.approx((1 / 2 + 3 / 4 + 1) / 3),
        "pixel accuracy": pytest.approx(5 / 6),
    }


def test_masks_without_any_class_are_an_error() -> None:
    with pytest.raises(ValueError, match="255"):
        metrics.of_confusion(metrics.confusion(np.zeros((2, 2), int), np.full((2, 2), 255), 3))


@pytest.mark.parametrize("seed", range(5))
def test_runs_are_what_coco_reads(seed: int) -> None:
    codec = pytest.importorskip("pycocotools.mask")
    mask = np.random.default_rng(seed).random((7, 11)) > 0.4
    packed = codec.frPyObjects({"size": [7, 11], "counts": metrics.runs(mask)}, 7, 11)
    assert np.array_equal(codec.decode(packed), mask)


FULL = Place(100, 100, seen_width=100, seen_height=100)
BOXES = np.array([[10.0, 10.0, 40.0, 50.0], [50.0, 20.0, 90.0, 60.0], [5.0, 60.0, 45.0, 95.0]])


def outlined(boxes: Any) -> Any:
    made = np.zeros((len(boxes), 1, 100, 100), np.float32)
    for mask, (x1, y1, x2, y2) in zip(made, boxes.astype(int), strict=True):
        mask[0, y1:y2, x1:x2] = 1.0
    return made


def truth(folder: Path) -> Path:
    annotations = []
    for number, (label, (x1, y1, x2, y2)) in enumerate(
        zip((7, 7, 9), BOXES.tolist(), strict=True), 1
    ):
        corners = [x1, y1, x2, y1, x2, y2, x1, y2]
        box = [x1, y1, x2 - x1, y2 - y1]
        each = {
            "id": number,
            "image_id": 1,
            "category_id": label,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        annotations.append({**each, "segmentation": [corners]})
    whole = {"images": [{"id": 1, "width": 100, "height": 100}], "annotations": annotations}
    (folder / "truth.json").write_text(
        json.dumps({**whole, "categories": [{"id": 7, "name": "cup"}, {"id": 9, "name": "cat"}]})
    )
    return folder / "truth.json"


def found(
    boxes: Any, labels: tuple[int, ...] = (1, 1, 2), masks: bool = True
) -> list[dict[str, Any]]:
    made = {"boxes": boxes, "labels": np.array(labels), "scores": np.linspace(0.9, 0.6, len(boxes))}
    return metrics.objects(
        {**made, **({"masks": outlined(boxes)} if masks else {})}, FULL, 1, {1: 7, 2: 9}
    )


def test_what_is_right_has_a_precision_of_one(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    assert metrics.of_objects(truth(tmp_path), found(BOXES)) == {
        "box mAP": 1.0,
        "box AP50": 1.0,
        "mask mAP": 1.0,
        "mask AP50": 1.0,
    }
    assert set(metrics.of_objects(truth(tmp_path), found(BOXES, masks=False))) == {
        "box mAP",
        "box AP50",
    }


def test_shifted_boxes_lose_the_strict_overlaps_and_keep_the_loose_one(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    told = metrics.of_objects(truth(tmp_path), found(BOXES + 4.0))
    assert told["box AP50"] == 1.0
    assert 0.2 < told["box mAP"] < 0.8


def test_swapped_classes_nothing_and_labels_that_the_data_does_not_have(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    assert metrics.of_objects(truth(tmp_path), found(BOXES, (2, 2, 1)))["box mAP"] == 0.0
    assert metrics.of_objects(truth(tmp_path), [])["box mAP"] == 0.0
    assert found(BOXES, (3, 3, 3)) == []


def test_of_many_objects_those_that_score_highest_are_kept() -> None:
    boxes = np.tile(BOXES[:1], (300, 1))
    made = metrics.objects(
        {"boxes": boxes, "labels": np.ones(300, int), "scores": np.linspace(0, 1, 300)},
        FULL,
        1,
        {1: 7},
    )
    assert (len(made), made[0]["score"]) == (100, 1.0)


def test_objects_and_masks_of_a_cropped_image_are_scored_in_the_pixels_of_its_file(
    tmp_path: Path,
) -> None:
    """The network saw the middle 80 x 80 of the file at half its size: what is at x there is at 120
    + 2 x in the file.
    """
    pytest.importorskip("pycocotools")
    seen = np.array([[10.0, 10.0, 40.0, 50.0], [50.0, 20.0, 70.0, 60.0]])
    annotations = []
    for number, (x1, y1, x2, y2) in enumerate((2 * seen + [120, 20, 120, 20]).tolist(), 1):
        box = {
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
        }
        annotations.append({"id": number, "image_id": 1, "category_id": 7, "iscrowd": 0, **box})
    whole = {
        "images": [{"id": 1, "width": 400, "height": 200}],
        "categories": [{"id": 7, "name": "cup"}],
        "annotations": annotations,
    }
    (tmp_path / "truth.json").write_text(json.dumps(whole))
    found = {
        "boxes": seen,
        "labels": np.array([1, 1]),
        "scores": np.array([0.9, 0.8]),
        "masks": outlined(seen)[:, :, :80, :80],
    }
    halved = Place(400, 200, 0.5, 0.5, 60.0, 10.0, 80, 80)
    told = metrics.of_objects(tmp_path / "truth.json", metrics.objects(found, halved, 1, {1: 7}))
    assert told == {
        "box mAP": 1.0,
        "box AP50": 1.0,
        "mask mAP": pytest.approx(1.0, abs=0.11),
        "mask AP50": 1.0,
    }
    unmoved = Place(400, 200, 0.5, 0.5, 0.0, 0.0, 80, 80)
    assert (
        metrics.of_objects(tmp_path / "truth.json", metrics.objects(found, unmoved, 1, {1: 7}))[
            "box mAP"
        ]
        == 0.0
    )

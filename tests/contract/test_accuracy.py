"""Accuracy on labelled photographs, on real networks: the golden's own answers are the labels, so
what is right scores about one.

The labels are made here by other arithmetic than the harness's own, in the pixels of the files as
they lie in their packages.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import detection, segmentation
from evenbench.harness import PLANS, Cell, Model, photographs
from evenbench.harness.core.cases import Entry
from evenbench.harness.environment import cpu
from evenbench.harness.inputs import datasets
from evenbench.harness.measurement import judging
from evenbench.harness.runner.dataset_scoring import LabelledData
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.schedule import Run
from tests.contract import bright

PLAN = replace(PLANS["quick"], min_seconds=0.0, warmup_max_seconds=0.1)


def cell(model: Model, backend: str, **options: Any) -> Cell:
    return Cell(model, backend, threads=cpu.cores(), options=tuple(options.items()))


def run(data: Path, folder: Path, *cells: Cell) -> Mapping[str, Any]:
    labelled = LabelledData(datasets.find(data), 600.0)
    labelled.prepare(cells)
    session = Run([Entry(each) for each in cells], PLAN, folder, labelled=labelled)
    lines = {line["cell"]["backend"]: line for line in session.measure(session.entries)}
    session.finish()
    assert labelled.unscored == {}
    return lines


def golden(asked: Cell) -> Mapping[str, Any]:
    """The golden's outputs, one per photograph."""
    prepared = Preparer(600.0).prepare(asked)
    assert prepared.golden is not None
    return judging.golden_outputs(Path(prepared.golden.path), asked.model)


def seen(size: tuple[int, int], shorter: int, side: int) -> tuple[float, float, float, float]:
    """What a resize of the shorter side and a middle crop show of an image: left and top in the
    file, and pixels of the file per pixel.
    """
    width, height = size
    wide, high = int(shorter * width / min(size)), int(shorter * height / min(size))
    x, y = width / wide, height / high
    return round((wide - side) / 2) * x, round((high - side) / 2) * y, x, y


@pytest.mark.nightly
@pytest.mark.slow
def test_boxes_of_the_golden_score_one_and_of_a_transposed_image_less(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    model, side = detection.FASTER_RCNN, detection.SIDE
    found = golden(cell(model, "torch-eager"))
    images, annotations = [], []
    (tmp_path / "data").mkdir()
    for number, photograph in enumerate(model.images):
        source = photographs.locate(photograph)
        name = f"{photograph.name}{source.suffix}"
        shutil.copyfile(source, tmp_path / "data" / name)
        with Image.open(source) as opened:
            size = opened.size
        images.append({"id": number, "file_name": name, "width": size[0], "height": size[1]})
        left, top, x, y = seen(size, side, side)
        kept = found["scores"][number] >= model.score_threshold
        for (x1, y1, x2, y2), label in zip(
            found["boxes"][number][kept].tolist(),
            found["labels"][number][kept].tolist(),
            strict=True,
        ):
            box = [left + x1 * x, top + y1 * y, (x2 - x1) * x, (y2 - y1) * y]
            each = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": int(label),
                "bbox": box,
                "area": box[2] * box[3],
            }
            annotations.append(each)
    categories = [{"id": label, "name": f"class {label}"} for label in range(1, detection.CLASSES)]
    assert len(annotations) > 20
    (tmp_path / "data" / "labels.json").write_text(
        json.dumps({"images": images, "categories": categories, "annotations": annotations})
    )
    cells = (
        cell(model, "torch-eager"),
        cell(model, "ort", **detection.TRACED),
        cell(model, "negative-permuted", **detection.TRACED),
    )
    lines = run(tmp_path / "data", tmp_path / "results", *cells)
    for name in ("torch-eager", "ort"):
        assert lines[name]["outcome"] == "ok", lines[name]["reason"]
        assert lines[name]["accuracy"]["metric"] == "box mAP"
        assert lines[name]["accuracy"]["value"] > 0.99, lines[name]["dataset"]
    assert lines["negative-permuted"]["outcome"] == "mismatch"
    assert lines["negative-permuted"]["accuracy"]["value"] < 0.5


@pytest.mark.nightly
@pytest.mark.slow
def test_masks_of_the_golden_score_one_and_of_swapped_colours_less(tmp_path: Path) -> None:
    model, side = segmentation.LRASPP, segmentation.SIDE
    answers = golden(cell(model, "torch-eager"))["out"].argmax(-3)
    for number, photograph in enumerate(model.images):
        source = photographs.locate(photograph)
        with Image.open(source) as opened:
            image = opened.convert("RGB")
        left, top, x, y = seen(image.size, segmentation.IMAGENET_128.steps[1].size, side)
        rows, columns = (
            (np.arange(image.height) + 0.5 - top) / y,
            (np.arange(image.width) + 0.5 - left) / x,
        )
        inside = ((rows >= 0) & (rows < side))[:, None] & ((columns >= 0) & (columns < side))[
            None, :
        ]
        picked = answers[number, 0][
            np.clip(rows.astype(int), 0, side - 1)[:, None],
            np.clip(columns.astype(int), 0, side - 1)[None, :],
        ]
        for name, pixels in (
            ("images", np.asarray(image)),
            ("masks", np.where(inside, picked, 255).astype(np.uint8)),
        ):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{photograph.name}.png")
    lines = run(
        tmp_path / "data",
        tmp_path / "results",
        cell(model, "torch-eager"),
        cell(model, "negative-channels"),
    )
    assert lines["torch-eager"]["outcome"] == "ok", lines["torch-eager"]["reason"]
    assert lines["torch-eager"]["accuracy"]["metric"] == "mIoU"
    assert lines["torch-eager"]["accuracy"]["value"] > 0.97, lines["torch-eager"]["dataset"]
    assert lines["negative-channels"]["outcome"] == "mismatch"
    assert (
        lines["negative-channels"]["accuracy"]["value"]
        < lines["torch-eager"]["accuracy"]["value"] - 0.1
    )


@pytest.mark.slow
def test_masks_of_objects_score_one_and_of_a_transposed_image_less(tmp_path: Path) -> None:
    """Bright squares on grey, whose boxes, outlines and colours are known without any network."""
    pytest.importorskip("pycocotools")
    side, square, count = bright.SIDE, bright.SQUARE, 4
    (tmp_path / "data").mkdir()
    images, annotations = [], []
    for number in range(count):
        name, pixels = f"{number}.png", np.full((side, side, 3), 30, np.uint8)
        images.append({"id": number, "file_name": name, "width": side, "height": side})
        for place in range(number):  # the first image has none
            left, top, label = (
                square * place,
                square * ((place + number) % bright.ACROSS),
                1 + place % 2,
            )
            pixels[top : top + square, left : left + square] = 180
            pixels[top : top + square, left : left + square, 2 * (label - 1)] = 210
            corners = [
                left,
                top,
                left + square,
                top,
                left + square,
                top + square,
                left,
                top + square,
            ]
            box = {"bbox": [left, top, square, square], "area": square * square, "iscrowd": 0}
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label,
                    "segmentation": [corners],
                    **box,
                }
            )
        Image.fromarray(pixels).save(tmp_path / "data" / name)
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
    (tmp_path / "data" / "labels.json").write_text(
        json.dumps({"images": images, "categories": categories, "annotations": annotations})
    )
    model = bright.BRIGHT
    cells = (
        cell(model, "torch-eager"),
        cell(model, "ort", **bright.TRACED),
        cell(model, "negative-permuted", **bright.TRACED),
    )
    lines = run(tmp_path / "data", tmp_path / "results", *cells)
    for name in ("torch-eager", "ort"):
        assert lines[name]["outcome"] == "ok", lines[name]["reason"]
        scored = lines[name]["dataset"]["metrics"]
        assert {metric: scored[metric] for metric in ("box mAP", "mask mAP")} == {
            "box mAP": 1.0,
            "mask mAP": 1.0,
        }
    assert lines["negative-permuted"]["outcome"] == "mismatch"
    assert lines["negative-permuted"]["dataset"]["metrics"]["mask mAP"] < 0.5

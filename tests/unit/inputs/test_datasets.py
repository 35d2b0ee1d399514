"""Labelled folders: what is found, what each image is fed as, and every way in which a folder and a
model do not belong together.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evenbench.harness import ANY, BATCH, Model, Recipe, TensorSpec, UsageError
from evenbench.harness.inputs import dataset_batches, dataset_classes, datasets
from evenbench.harness.preprocess import CenterCrop, Decode, Layout, Resize, ToArray

SMALL = Recipe(
    "small", (Decode("RGB"), Resize(16, antialias=True), CenterCrop(16), ToArray(), Layout("CHW"))
)
IMAGE = TensorSpec("image", (BATCH, 3, 16, 16))


def model(
    task: str = "classification",
    outputs: tuple[TensorSpec, ...] = (TensorSpec("logits", (BATCH, 3)),),
    **changed: Any,
) -> Model:
    return replace(
        Model("tried", "tests.unit.builders:matrix", (IMAGE,), outputs, recipe=SMALL, task=task),
        **changed,
    )


PIXELS = model("segmentation", (TensorSpec("out", (BATCH, 4, 16, 16)),))
OBJECTS = model(
    "detection",
    (
        TensorSpec("boxes", (ANY, 4)),
        TensorSpec("labels", (ANY,), "int64"),
        TensorSpec("scores", (ANY,)),
    ),
    inputs=(TensorSpec("image", (3, 16, 16)),),
)


def picture(
    file: Path, value: int = 100, size: tuple[int, int] = (32, 24), mode: str = "RGB"
) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode in ("L", "P") else (value, 0, 255 - value)).save(file)
    return file


def folders(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        picture(root / name / "one.png", 40 * number)
        picture(root / name / "two.jpg", 40 * number)
    return root


def masks(root: Path, value: int = 1, **changed: Any) -> Path:
    picture(root / "images" / "a.jpg")
    picture(root / "masks" / "a.png", value, **{"mode": "L", **changed})
    return root


def coco(root: Path, **changed: Any) -> Path:
    picture(root / "images" / "a.jpg")
    entry = {
        "id": 1,
        "image_id": 5,
        "category_id": 2,
        "bbox": [8, 4, 10, 12],
        "area": 120,
        "iscrowd": 0,
    }
    whole = {
        "images": [{"id": 5, "file_name": "a.jpg", "width": 32, "height": 24}],
        "categories": [{"id": 2, "name": "cup"}],
        "annotations": [entry],
    }
    (root / "instances.json").write_text(json.dumps({**whole, **changed}))
    return root


def made(found: datasets.Dataset, which: Model, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    return dataset_batches.make(dataset_classes.fit(found, which), which, folder)


def test_class_folders_are_numbered_in_sorted_order(tmp_path: Path) -> None:
    found = datasets.find(folders(tmp_path / "data", "cat", "ant", "bee"))
    facts = made(found, model(), tmp_path / "made")
    assert (found.layout, facts["count"]) == ("class folders", 6)
    assert dataset_classes.fit(found, model()).classes == {"ant": 0, "bee": 1, "cat": 2}
    samples, labels = (
        np.load(tmp_path / "made" / "samples.npy"),
        np.load(tmp_path / "made" / "labels.npy"),
    )
    assert (samples.shape, samples.dtype, labels.tolist()) == (
        (6, 3, 16, 16),
        np.float32,
        [0, 0, 1, 1, 2, 2],
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "bee\ncat\nant\n"),
        ("classes.json", '["bee", "cat", "ant"]'),
        ("classes.json", '{"bee": 0, "cat": 1, "ant": 2}'),
    ],
)
def test_a_class_file_says_another_order(name: str, text: str, tmp_path: Path) -> None:
    (folders(tmp_path, "ant", "bee", "cat") / name).write_text(text)
    found = dataset_classes.fit(datasets.find(tmp_path), model())
    assert (found.classes, found.classes_from) == ({"ant": 2, "bee": 0, "cat": 1}, name)


def test_the_models_labels_say_it_where_there_is_no_file(tmp_path: Path) -> None:
    found = dataset_classes.fit(
        datasets.find(folders(tmp_path, "ant", "bee")), model(labels=("bee", "cat", "ant"))
    )
    assert (found.classes, found.classes_from) == ({"ant": 2, "bee": 0}, "the model's labels")


def test_samples_are_spread_over_the_classes_and_said(tmp_path: Path) -> None:
    found = datasets.find(folders(tmp_path, "ant", "bee", "cat"), samples=3)
    assert [item.kind for item in found.images] == ["ant", "bee", "cat"]
    assert found.notes == ("3 of 6 images, evenly spread",)


def test_masks_move_with_their_image(tmp_path: Path) -> None:
    masks(tmp_path / "data")
    mask = np.zeros((24, 32), np.uint8)
    mask[:, 16:] = 3
    mask[0] = 255
    Image.fromarray(mask).save(tmp_path / "data" / "masks" / "a.png")
    made(datasets.find(tmp_path / "data"), PIXELS, tmp_path / "made")
    labels = np.load(tmp_path / "made" / "labels.npy")[0]
    assert labels.shape == (16, 16)
    assert set(labels[2:, :8].reshape(-1)) == {0}
    assert set(labels[2:, 9:].reshape(-1)) == {3}


def test_objects_keep_the_pixels_of_their_files(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    facts = made(datasets.find(coco(tmp_path / "data")), OBJECTS, tmp_path / "made")
    told = json.loads((tmp_path / "made" / "truth.json").read_text())
    assert told["annotations"][0]["bbox"] == [8, 4, 10, 12]
    assert told["categories_by_label"] == {"2": 2}
    assert told["images"][0]["place"]["left"] == 2.0
    assert facts["count"] == 1


def test_objects_that_the_crop_cuts_off_are_counted(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    entry = {"id": 1, "image_id": 5, "category_id": 2, "bbox": [0, 0, 2, 24]}
    facts = made(
        datasets.find(coco(tmp_path / "data", annotations=[entry])), OBJECTS, tmp_path / "made"
    )
    assert "1 of 1 objects lie wholly outside" in facts["notes"][-1]


def test_one_changed_pixel_is_another_dataset(tmp_path: Path) -> None:
    data = folders(tmp_path, "ant", "bee", "cat")
    fitted = dataset_classes.fit(datasets.find(data), model())
    before = dataset_batches.key_parts(fitted, model())
    assert dataset_batches.key_parts(fitted, model()) == before
    picture(data / "ant" / "one.png", 41)
    dataset_batches._sha256.cache_clear()
    assert dataset_batches.key_parts(fitted, model()) != before


def empty(root: Path) -> None:
    root.mkdir(exist_ok=True)


def unlabelled(root: Path) -> None:
    picture(root / "a.jpg")


def image_without_mask(root: Path) -> None:
    picture(masks(root) / "images" / "b.jpg")


def mask_without_image(root: Path) -> None:
    picture(masks(root) / "masks" / "b.png", mode="L")


def label_of_an_absent_image(root: Path) -> None:
    (coco(root) / "images" / "a.jpg").unlink()


def no_annotations(root: Path) -> None:
    coco(root, annotations=[])


def unknown_image(root: Path) -> None:
    coco(root, annotations=[{"id": 1, "image_id": 6, "category_id": 2, "bbox": [0, 0, 1, 1]}])


def unknown_category(root: Path) -> None:
    coco(root, annotations=[{"id": 1, "image_id": 5, "category_id": 3, "bbox": [0, 0, 1, 1]}])


def no_json(root: Path) -> None:
    (coco(root) / "instances.json").write_text("{")


def keypoints(root: Path) -> None:
    coco(root, annotations=[{"id": 1, "image_id": 5, "category_id": 2}])


def named_image(root: Path) -> None:
    coco(root, images=[{"id": "five", "file_name": "a.jpg", "width": 32, "height": 24}])


def box_of_three(root: Path) -> None:
    coco(root, annotations=[{"id": 1, "image_id": 5, "category_id": 2, "bbox": [0, 0, 1]}])


def category_twice(root: Path) -> None:
    coco(root, categories=[{"id": 2, "name": "cup"}, {"id": 3, "name": "cup"}])


def two_files(root: Path) -> None:
    coco(root)
    (root / "instances.json").rename(root / "one.json")
    (root / "two.json").write_text((root / "one.json").read_text())


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda root: None, "no such folder"),
        (empty, "has no images"),
        (unlabelled, "lies in no class folder, so its label is unknown"),
        (
            lambda root: (folders(root, "ant"), empty(root / "bee")),
            "class folder bee has no images",
        ),
        (image_without_mask, "b.jpg and 0 more of 2 images have no mask"),
        (mask_without_image, "labels an absent image"),
        (label_of_an_absent_image, "labels the absent image a.jpg"),
        (no_annotations, "has no annotations"),
        (unknown_image, "is of image 6, absent from the file"),
        (unknown_category, "is of category 3, absent from the file"),
        (no_json, "cannot be read as JSON"),
        (keypoints, "lacks 'bbox'"),
        (two_files, "several JSON files"),
        (named_image, "an entry of 'images' has id \"five\""),
        (box_of_three, r"has bbox \[0, 0, 1\]"),
        (category_twice, "'categories' has name 'cup' twice"),
    ],
)
def test_a_folder_that_is_no_dataset_says_what_is_wrong(
    broken: Callable[[Path], Any], said: str, tmp_path: Path
) -> None:
    datasets.annotations_of.cache_clear()
    broken(tmp_path / "data")
    with pytest.raises(UsageError, match=said):
        datasets.find(tmp_path / "data")


@pytest.mark.parametrize(
    ("names", "which", "said"),
    [
        (("ant", "bee"), model(), "2 class folders and model tried 3 classes"),
        (("ant", "bee", "cat"), model(recipe=None), "no recipe"),
        (("ant", "bee", "cat"), PIXELS, "of task segmentation"),
        (
            ("ant", "bee", "cat"),
            model(outputs=(TensorSpec("y", (BATCH, 3, 2)),)),
            "scores of classes are",
        ),
        (
            ("ant", "bee", "cat"),
            model(inputs=(IMAGE, replace(IMAGE, name="other"))),
            "the model has 2",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    names: tuple[str, ...], which: Model, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        dataset_classes.fit(datasets.find(folders(tmp_path, *names)), which)


HEADS = (TensorSpec("logits", (BATCH, 100, 4)), TensorSpec("boxes", (BATCH, 100, 4)))
BATCHED = (
    TensorSpec("boxes", (BATCH, 9, 4)),
    TensorSpec("labels", (BATCH, 9), "int64"),
    TensorSpec("scores", (BATCH, 9)),
)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (HEADS, "the model has logits, boxes; add the conversion to objects to the model"),
        (BATCHED, "those of one image"),
    ],
)
def test_raw_heads_are_no_objects(
    outputs: tuple[TensorSpec, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        dataset_classes.fit(datasets.find(coco(tmp_path)), replace(OBJECTS, outputs=outputs))


def test_a_fixed_number_of_objects_is_scored_as_well(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    fixed = (
        TensorSpec("boxes", (100, 4)),
        TensorSpec("labels", (100,), "int64"),
        TensorSpec("scores", (100,)),
    )
    assert dataset_classes.fit(
        datasets.find(coco(tmp_path)), replace(OBJECTS, outputs=fixed)
    ).classes == {"cup": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"ant": 0, "bee": 1}', "class 'cat' is not in classes.json"),
        ('{"ant": 0, "bee": 1, "cat": 3}', "class 'cat' is number 3, and model tried has 3"),
        ('{"ant": 0, "bee": 1, "cat": 1}', "'bee' and 'cat' are both class 1"),
        ('{"ant": "zero"}', "expected a list of names"),
        ('["ant", "ant", "bee"]', "names a class twice"),
        ("[", "cannot be read"),
    ],
)
def test_a_class_file_that_cannot_be_right_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (folders(tmp_path, "ant", "bee", "cat") / "classes.json").write_text(text)
    with pytest.raises(UsageError, match=said):
        dataset_classes.fit(datasets.find(tmp_path), model())


def corrupt(root: Path) -> Model:
    folders(root, "ant", "bee", "cat")
    (root / "bee" / "one.png").write_bytes(b"no picture")
    return model()


def class_of_no_channel(root: Path) -> Model:
    masks(root, value=9)
    return PIXELS


def coloured_mask(root: Path) -> Model:
    masks(root, mode="RGB")
    return PIXELS


def small_mask(root: Path) -> Model:
    masks(root, size=(8, 8))
    return PIXELS


def other_shape(root: Path) -> Model:
    folders(root, "ant", "bee", "cat")
    return model(inputs=(TensorSpec("image", (BATCH, 3, 8, 8)),))


def other_dtype(root: Path) -> Model:
    folders(root, "ant", "bee", "cat")
    return model(inputs=(replace(IMAGE, dtype="uint8"),))


def another_size(root: Path) -> Model:
    coco(root)
    picture(root / "images" / "a.jpg", size=(30, 24))
    return OBJECTS


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (corrupt, r"one\.png: step Decode of recipe small failed"),
        (class_of_no_channel, r"a\.png has class 9, and model tried has 4"),
        (coloured_mask, "image of mode RGB; expected one class number"),
        (small_mask, "is 8x8, its image images/a.jpg 32x24"),
        (other_shape, r"recipe small made \[3, 16, 16\], model tried takes \[3, 8, 8\]"),
        (other_dtype, "recipe small made float32, model tried takes uint8"),
        (another_size, "is 30x24, and .* says 32x24"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    broken: Callable[[Path], Model], said: str, tmp_path: Path
) -> None:
    which = broken(tmp_path / "data")
    if which is OBJECTS:
        pytest.importorskip("pycocotools")
    with pytest.raises(UsageError, match=said):
        made(datasets.find(tmp_path / "data"), which, tmp_path / "made")

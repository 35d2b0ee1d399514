"""A folder of labelled data, found by layout, with every label checked against its image.

Three layouts are known. `class folders`: a folder of images for each class. `masks`: `images/` and
`masks/`, PNG files of class numbers under the same names. `coco`: a JSON file of object instances,
and its images. Errors name the file. `dataset_classes` and `dataset_batches` fit a dataset to a
model.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from evenbench.harness.core import quantities
from evenbench.harness.core.errors import UsageError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Suffixes of images. Other files are counted and ignored."""

CLASS_FILES = ("classes.txt", "classes.json")

TASKS = {"class folders": "classification", "masks": "segmentation", "coco": "detection"}
"""The task of each layout."""


@dataclass(frozen=True)
class Labelled:
    """An image, relative to the folder, with its class folder, its mask, or its COCO number."""

    image: str
    kind: str = ""
    mask: str = ""
    id: int = 0


@dataclass(frozen=True)
class Dataset:
    """Labelled images in a folder, in a fixed order.

    `classes` maps a class's name to a model's output (`dataset_classes.fit`).
    """

    folder: str
    layout: str
    images: tuple[Labelled, ...]
    annotations: str = ""
    classes: Mapping[str, int] = field(default_factory=dict)
    classes_from: str = ""
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """The task of the layout."""
        return TASKS[self.layout]


def find(folder: Path, samples: int = 0) -> Dataset:
    """The dataset in a folder, or `samples` evenly spread images (0: all). Reads no image.

    Raises UsageError for a folder without a dataset, and for images and labels without a match.
    """
    if samples < 0:
        raise UsageError(f"--samples {samples}: expected a number of images, or 0 for all")
    if not folder.is_dir():
        raise UsageError(f"--dataset {folder}: no such folder; give one of {_layouts()}")
    dataset = _read(folder.resolve())
    if not samples or samples >= len(dataset.images):
        return dataset
    whole = len(dataset.images)
    chosen = tuple(dataset.images[index * whole // samples] for index in range(samples))
    return replace(
        dataset,
        images=chosen,
        notes=(*dataset.notes, f"{samples} of {quantities.count(whole, 'image')}, evenly spread"),
    )


def _layouts() -> str:
    return "class folders (CLASS/image.jpg), images/ with masks/, or a COCO json with its images"


def _read(folder: Path) -> Dataset:
    if (folder / "masks").is_dir():
        return _with_masks(folder)
    annotations = [
        file
        for file in (*folder.glob("*.json"), *folder.glob("annotations/*.json"))
        if file.name not in CLASS_FILES
    ]
    if annotations:
        return _coco(folder, _the_one(folder, annotations))
    return _class_folders(folder)


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and file.is_file() and not file.name.startswith(".")


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if _is_image(file))


def _class_folders(folder: Path) -> Dataset:
    inside = sorted(
        entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    labelled = [
        Labelled(file.relative_to(folder).as_posix(), kind=entry.name)
        for entry in inside
        for file in _images(entry)
    ]
    loose = [file for file in folder.iterdir() if _is_image(file)]
    if loose:
        raise UsageError(
            f"{folder}: {loose[0].name} lies in no class folder, so its label is unknown; "
            f"expected {_layouts()}"
        )
    if not labelled:
        raise UsageError(f"{folder} has no images; expected {_layouts()}")
    empty = [entry.name for entry in inside if entry.name not in {item.kind for item in labelled}]
    if empty:
        raise UsageError(
            f"{folder}: class folder {empty[0]} has no images; remove it, or add some "
            f"({', '.join(SUFFIXES)})"
        )
    return Dataset(str(folder), "class folders", tuple(labelled))


def _with_masks(folder: Path) -> Dataset:
    images = {file.stem: file for file in _images(folder / "images")}
    masks = {file.stem: file for file in _images(folder / "masks") if file.suffix.lower() == ".png"}
    if not images:
        raise UsageError(
            f"{folder}/images has no images; expected images/ and masks/ with files of the same "
            "names"
        )
    unlabelled, absent = sorted(set(images) - set(masks)), sorted(set(masks) - set(images))
    if unlabelled:
        raise UsageError(
            f"{folder}: {images[unlabelled[0]].name} and {len(unlabelled) - 1} more of "
            f"{len(images)} images have no mask; "
            f"expected masks/{unlabelled[0]}.png"
        )
    if absent:
        raise UsageError(
            f"{folder}: masks/{masks[absent[0]].name} labels an absent image; expected "
            f"images/{absent[0]}.jpg"
        )
    pairs = [
        (images[stem].relative_to(folder).as_posix(), masks[stem].relative_to(folder).as_posix())
        for stem in sorted(images)
    ]
    return Dataset(str(folder), "masks", tuple(Labelled(image, mask=mask) for image, mask in pairs))


def _the_one(folder: Path, files: Sequence[Path]) -> Path:
    """The file of instances among the JSON files of a folder."""
    instances = [file for file in files if file.name.startswith("instances")]
    for chosen in (files, instances):
        if len(chosen) == 1:
            return chosen[0]
    names = ", ".join(sorted(file.name for file in files))
    raise UsageError(
        f"{folder} has several JSON files ({names}); leave one, or name one of them instances*.json"
    )


COCO_PARTS = {
    "images": ("id", "file_name", "width", "height"),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
}
"""The lists in a COCO file of instances, with the required keys of entries."""


@cache
def annotations_of(file: str) -> dict[str, Any]:
    """The content of a COCO file. Raises UsageError for a malformed file."""
    try:
        content = json.loads(Path(file).read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read as JSON: {error}") from error
    for part, keys in COCO_PARTS.items():
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise UsageError(f"{file} is no COCO file of instances: it has no list {part!r}")
        lacking = [
            (entry, key)
            for entry in entries
            for key in keys
            if not isinstance(entry, dict) or key not in entry
        ]
        if lacking:
            raise UsageError(
                f"{file}: an entry of {part!r} lacks {lacking[0][1]!r}: "
                f"{json.dumps(lacking[0][0])[:120]}"
            )
        wrong = [
            (entry, key)
            for entry in entries
            for key in keys
            if not KINDS.get(key, _whole)(entry[key])
        ]
        if wrong:
            entry, key = wrong[0]
            raise UsageError(
                f"{file}: an entry of {part!r} has {key} {json.dumps(entry[key])[:80]}; expected "
                "the format of COCO"
            )
    for part, key in (
        ("images", "id"),
        ("categories", "id"),
        ("categories", "name"),
        ("annotations", "id"),
    ):
        most = Counter(entry[key] for entry in content[part]).most_common(1)
        if most and most[0][1] > 1:
            raise UsageError(
                f"{file}: {part!r} has {key} {most[0][0]!r} twice; expected unique values"
            )
    return content  # type: ignore[no-any-return]


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _box(value: Any) -> bool:
    """Left, top, width and height in pixels."""
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(isinstance(number, (int, float)) for number in value)
        and min(value[2:]) >= 0
    )


KINDS = {"file_name": _text, "name": _text, "bbox": _box}
"""The type of an entry's key, if not a whole number."""


def _coco(folder: Path, file: Path) -> Dataset:
    content = annotations_of(str(file))
    if not content["images"]:
        raise UsageError(f"{file} names no images")
    if not content["annotations"]:
        raise UsageError(
            f"{file} has no annotations: without labels there is nothing to compare with"
        )
    known = {entry["id"] for entry in content["images"]}
    categories = {entry["id"] for entry in content["categories"]}
    for entry in content["annotations"]:
        if entry["image_id"] not in known:
            raise UsageError(
                f"{file}: annotation {entry['id']} is of image {entry['image_id']}, absent from "
                "the file"
            )
        if entry["category_id"] not in categories:
            raise UsageError(
                f"{file}: annotation {entry['id']} is of category {entry['category_id']}, absent "
                "from the file"
            )
    images = [
        Labelled(_located(folder, file, entry["file_name"]), id=int(entry["id"]))
        for entry in content["images"]
    ]
    return Dataset(
        str(folder), "coco", tuple(sorted(images, key=lambda item: item.id)), annotations=str(file)
    )


def _located(folder: Path, file: Path, name: str) -> str:
    """The path of a COCO image: beside the file, in `images/`, or in the split's folder."""
    split = file.stem.removeprefix("instances_")
    for candidate in (folder / name, folder / "images" / name, folder / split / name):
        if candidate.is_file():
            return candidate.relative_to(folder).as_posix()
    raise UsageError(
        f"{file.name} labels the absent image {name}; expected in {folder}, images/ or {split}/"
    )

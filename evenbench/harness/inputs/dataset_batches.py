"""A dataset prepared for a model: images as inputs by the model's recipe, and labels.

Unreadable images, and masks or boxes beyond their images, raise UsageError. All files are checked
before timing.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from evenbench.harness.core import artifact_store, quantities, source_digests
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Model, Recipe, digest
from evenbench.harness.inputs import batches, dataset_classes, datasets, geometry, preprocessors
from evenbench.harness.inputs.datasets import Dataset
from evenbench.harness.inputs.geometry import IGNORED

SAMPLES, LABELS, TRUTH = "samples.npy", "labels.npy", "truth.json"
"""Files of a prepared dataset: inputs [count, ...], and labels.

Labels are classes, [count] or [count, height, width], or objects.
"""


def key_parts(dataset: Dataset, model: Model) -> dict[str, Any]:
    """Facts behind the prepared bytes: files by content, classes, recipe, and decoding packages."""
    recipe = dataset_classes.recipe_of(model)
    return {
        "dataset": content(dataset),
        "classes": dict(dataset.classes),
        "task": dataset.task,
        "recipe": recipe,
        "steps": source_digests.digest_of(
            source_digests.read(source_digests.of_types(preprocessors.defined_by(recipe)))
        ),
        "input": [model.inputs[0].shape, model.inputs[0].dtype],
        "outputs": model.outputs[0].shape if dataset.task == "segmentation" else [],
        "versions": {
            name: batches.version_of(name) for name in preprocessors.distributions(recipe)
        },
    }


def content(dataset: Dataset) -> str:
    """sha256 over names and bytes of the images and labels."""
    whole = hashlib.sha256()
    for file in _files(dataset):
        whole.update(f"{file}\0{_sha256(Path(dataset.folder) / file)}\0".encode())
    return digest(
        [
            whole.hexdigest(),
            dataset.layout,
            [(item.image, item.kind, item.id) for item in dataset.images],
        ]
    )


def _files(dataset: Dataset) -> Iterator[str]:
    for item in dataset.images:
        yield item.image
        if item.mask:
            yield item.mask
    if dataset.annotations:
        yield Path(dataset.annotations).relative_to(dataset.folder).as_posix()


@cache
def _sha256(file: Path) -> str:
    try:
        return artifact_store.digest_file(file)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error


def check_room(dataset: Dataset, model: Model) -> None:
    """Raise UsageError if the cache has no room for the prepared inputs."""
    size = math.prod(model.inputs[0].concrete(1)) * 4 * len(dataset.images)
    there = shutil.disk_usage(
        next(
            folder
            for folder in (artifact_store.root(), *artifact_store.root().parents)
            if folder.exists()
        )
    ).free
    if size > there:
        raise UsageError(
            f"{quantities.count(len(dataset.images), 'image')} as inputs of {model.name} take "
            f"{size / 1e9:.1f} GB, and the cache {artifact_store.root()} has "
            f"{there / 1e9:.1f} GB; take fewer with --samples"
        )


def make(dataset: Dataset, model: Model, folder: Path) -> dict[str, Any]:
    """Write inputs and labels into `folder`; returns facts. Raises UsageError for invalid files."""
    import numpy as np

    recipe, spec = dataset_classes.recipe_of(model), model.inputs[0]
    shape = tuple(int(size) for size in (spec.shape[1:] if spec.is_batched else spec.shape))
    samples = np.lib.format.open_memmap(
        folder / SAMPLES, "w+", np.dtype(spec.dtype), (len(dataset.images), *shape)
    )
    for index, item in enumerate(dataset.images):
        array = preprocessors.apply(recipe, Path(dataset.folder) / item.image)
        if array.shape != shape:
            raise UsageError(
                f"{item.image}: recipe {recipe.name} made {list(array.shape)}, model "
                f"{model.name} takes {list(shape)}"
            )
        if array.dtype != samples.dtype:
            raise UsageError(
                f"{item.image}: recipe {recipe.name} made {array.dtype}, model {model.name} "
                f"takes {samples.dtype}"
            )
        samples[index] = array
    samples.flush()
    notes = MAKERS[dataset.layout](dataset, model, recipe, folder)
    return {"count": len(dataset.images), "notes": [*dataset.notes, *notes]}


def _make_classes(dataset: Dataset, model: Model, recipe: Recipe, folder: Path) -> list[str]:
    import numpy as np

    np.save(
        folder / LABELS, np.array([dataset.classes[item.kind] for item in dataset.images], np.int64)
    )
    return []


def _make_masks(dataset: Dataset, model: Model, recipe: Recipe, folder: Path) -> list[str]:
    import numpy as np
    from PIL import Image

    classes, height, width = (int(size) for size in model.outputs[0].shape[1:])
    labels = np.lib.format.open_memmap(
        folder / LABELS, "w+", np.dtype(np.int16), (len(dataset.images), height, width)
    )
    for index, item in enumerate(dataset.images):
        file = Path(dataset.folder) / item.mask
        try:
            with Image.open(file) as opened:
                opened.load()
                mask = opened.copy()
        except OSError as error:
            raise UsageError(f"{file} cannot be read as an image: {error}") from error
        with Image.open(Path(dataset.folder) / item.image) as photo:
            if photo.size != mask.size:
                raise UsageError(
                    f"{item.mask} is {_sized(mask.size)}, its image {item.image} "
                    f"{_sized(photo.size)}"
                )
        if mask.mode not in ("1", "L", "P", "I", "I;16"):
            raise UsageError(
                f"{item.mask} is an image of mode {mask.mode}; expected one class number for "
                "each pixel (mode P, L or I)"
            )
        numbers = np.asarray(geometry.follow(recipe, mask)).astype(np.int32)
        wrong = np.unique(numbers[(numbers >= classes) & (numbers != IGNORED)])
        if wrong.size:
            raise UsageError(
                f"{item.mask} has class {wrong[0]}, and model {model.name} has {classes}, from 0 "
                f"({IGNORED} means no class)"
            )
        if numbers.shape != (height, width):
            size = _sized(numbers.shape[::-1])
            raise UsageError(
                f"{item.mask} is {size} after recipe {recipe.name}, the scores of model "
                f"{model.name} are {width}x{height}"
            )
        labels[index] = numbers
    labels.flush()
    return ["compared at the network's pixels, to which masks were moved by nearest neighbours"]


def _make_objects(dataset: Dataset, model: Model, recipe: Recipe, folder: Path) -> list[str]:
    """Write the annotations of the selected images, with the sizes of the image files."""
    from PIL import Image

    whole = datasets.annotations_of(dataset.annotations)
    named = {int(entry["id"]): entry for entry in whole["images"]}
    images = []
    for item in dataset.images:
        with Image.open(Path(dataset.folder) / item.image) as opened:
            width, height = opened.size
        entry = named[item.id]
        if (width, height) != (entry["width"], entry["height"]):
            raise UsageError(
                f"{item.image} is {_sized((width, height))}, and {dataset.annotations} says "
                f"{entry['width']}x{entry['height']}"
            )
        images.append({"id": item.id, "width": width, "height": height, "file_name": item.image})
    places = {item["id"]: geometry.place(recipe, item["width"], item["height"]) for item in images}
    kept = [_complete(entry) for entry in whole["annotations"] if int(entry["image_id"]) in places]
    if not kept:
        raise UsageError(
            f"{dataset.annotations} has no annotation of any of the {len(images)} images that "
            "were taken"
        )
    numbers = {str(entry["name"]): int(entry["id"]) for entry in whole["categories"]}
    # Places and labels are stored too, so the timed process needs only numpy.
    truth = {
        "images": [{**image, "place": vars(places[image["id"]])} for image in images],
        "categories": whole["categories"],
        "categories_by_label": {label: numbers[name] for name, label in dataset.classes.items()},
        "annotations": kept,
    }
    (folder / TRUTH).write_text(json.dumps(truth))
    hidden = sum(places[int(entry["image_id"])].hidden(*entry["bbox"]) for entry in kept)
    outside = (
        f"{hidden} of {len(kept)} objects lie wholly outside the view of recipe {recipe.name}, "
        "and count as misses"
    )
    lost = [outside] if hidden else []
    return ["boxes and masks were taken back to the pixels of the files", *lost]


def _complete(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An annotation with the keys required by evaluators."""
    area = float(entry["bbox"][2]) * float(entry["bbox"][3])
    return {"iscrowd": 0, "area": area, **entry}


def _sized(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]}"


MAKERS = {"class folders": _make_classes, "masks": _make_masks, "coco": _make_objects}
"""Writers of labels by layout. Each returns notes for the reader."""

"""The classes of a labelled dataset, matched with the outputs of a model."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from evenbench.harness import preprocess
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.tensor_specs import BATCH
from evenbench.harness.core.types import Model, Recipe
from evenbench.harness.inputs import datasets, geometry
from evenbench.harness.inputs.datasets import Dataset


def recipe_of(model: Model) -> Recipe:
    """The model's preprocessing. Raises UsageError for a model without a recipe."""
    recipe = model.recipe or preprocess.RECIPES.get(model.arguments.get("recipe", ""))
    if recipe is None:
        raise UsageError(
            f"model {model.name} has no recipe to turn an image into its input; declare recipe=, "
            "or for a model of "
            "your own give --input and --recipe; or choose other cells with -k"
        )
    return recipe


def fit(dataset: Dataset, model: Model) -> Dataset:
    """The dataset with its classes as outputs of the model. Raises UsageError for a mismatch."""
    recipe = recipe_of(model)
    where = f"--dataset {dataset.folder} ({dataset.layout}) and model {model.name}"
    if model.task not in (dataset.task, "other"):
        raise UsageError(
            f"{where} of task {model.task}: {dataset.layout} are for {dataset.task}; choose "
            "other cells with -k"
        )
    if len(model.inputs) != 1:
        raise UsageError(
            f"{where}: an image becomes one input, but the model has {len(model.inputs)} inputs"
        )
    problem = FORMS[dataset.task](model)
    if problem:
        raise UsageError(f"{where}: {problem}; or choose other cells with -k")
    if dataset.layout == "class folders":
        return _with_classes(dataset, model, sorted({item.kind for item in dataset.images}))
    if dataset.layout == "coco":
        problem = geometry.refuses(recipe)
        if problem:
            raise UsageError(
                f"{where}: {problem}, so boxes cannot be mapped back to the file's pixels"
            )
        if importlib.util.find_spec("pycocotools") is None:
            raise UsageError(f"{where}: mAP needs pycocotools; pip install 'evenbench[accuracy]'")
        return _with_categories(dataset, model)
    return replace(dataset, classes_from="numbers in the masks")


def _classes_form(model: Model) -> str:
    shape = model.outputs[0].shape
    return (
        ""
        if len(shape) == 2 and isinstance(shape[1], int)
        else f"scores of classes are [batch, classes], its output is {list(shape)}"
    )


def _pixels_form(model: Model) -> str:
    shape, image = model.outputs[0].shape, model.inputs[0].shape
    if len(shape) != 4 or len(image) != 4:
        return (
            f"scores of pixels are [batch, classes, height, width], its output is {list(shape)} "
            f"of an input {list(image)}"
        )
    same = shape[2:] == image[2:]
    return (
        ""
        if same
        else f"its output has {list(shape[2:])} pixels and its input {list(image[2:])}; "
        "enlarge the scores in the model"
    )


def _objects_form(model: Model) -> str:
    shapes = {spec.name: spec.shape for spec in model.outputs}
    if not {"boxes", "labels", "scores"} <= set(shapes):
        return (
            "objects are outputs boxes, labels and scores, and the model has "
            f"{', '.join(shapes)}; add the conversion to objects to the model"
        )
    if shapes["boxes"][1:] != (4,) or BATCH in (
        *shapes["boxes"],
        *shapes["labels"],
        *shapes["scores"],
    ):
        return (
            "objects are those of one image: boxes [n, 4], labels [n] and scores [n], where n "
            "is a number or ANY"
        )
    return ""


FORMS = {"classification": _classes_form, "segmentation": _pixels_form, "detection": _objects_form}
"""Checks of a model's outputs by task: the reason against the task's metric, or empty."""


def _with_classes(dataset: Dataset, model: Model, names: Sequence[str]) -> Dataset:
    outputs = int(model.outputs[0].shape[1])
    listed, source = _declared(dataset, model, names) or (
        {name: index for index, name in enumerate(names)},
        "sorted folder names",
    )
    _check_known(dataset, names, listed, source)
    if source == "sorted folder names" and len(names) != outputs:
        raise UsageError(
            f"{dataset.folder} has {len(names)} class folders and model {model.name} {outputs} "
            "classes, so the order of folders is no mapping; "
            "add classes.txt with a class on each line in the model's order, or classes.json "
            "with each folder's number"
        )
    return _checked(
        replace(dataset, classes={name: listed[name] for name in names}, classes_from=source),
        model,
        outputs,
    )


def _with_categories(dataset: Dataset, model: Model) -> Dataset:
    categories = {
        str(entry["name"]): int(entry["id"])
        for entry in datasets.annotations_of(dataset.annotations)["categories"]
    }
    listed, source = _declared(dataset, model, list(categories)) or (categories, "category ids")
    _check_known(dataset, list(categories), listed, source)
    return _checked(
        replace(dataset, classes={name: listed[name] for name in categories}, classes_from=source),
        model,
        0,
    )


def _declared(
    dataset: Dataset, model: Model, names: Sequence[str]
) -> tuple[Mapping[str, int], str] | None:
    """Class numbers by name, from the folder's class file or the model's labels, or None."""
    for name in datasets.CLASS_FILES:
        file = Path(dataset.folder) / name
        if file.is_file():
            return _class_file(file), name
    if model.labels and set(names) <= set(model.labels):
        return {name: model.labels.index(name) for name in names}, "the model's labels"
    return None


def _class_file(file: Path) -> dict[str, int]:
    try:
        text = file.read_text()
        listed = json.loads(text) if file.suffix == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    if isinstance(listed, list):
        names = [str(name).strip() for name in listed]
        listed = {name: index for index, name in enumerate(names) if name}
        if len(listed) < sum(map(bool, names)):
            raise UsageError(f"{file} names a class twice")
    if (
        not isinstance(listed, dict)
        or not listed
        or not all(type(index) is int and index >= 0 for index in listed.values())
    ):
        raise UsageError(
            f"{file}: expected a list of names in the model's order, or an object of names and "
            "whole numbers"
        )
    return listed


def _check_known(
    dataset: Dataset, names: Sequence[str], listed: Mapping[str, int], source: str
) -> None:
    unknown = [name for name in names if name not in listed]
    if unknown:
        raise UsageError(
            f"{dataset.folder}: class {unknown[0]!r} is not in {source}: "
            f"{', '.join(list(listed)[:8])}"
        )


def _checked(dataset: Dataset, model: Model, outputs: int) -> Dataset:
    taken: dict[int, str] = {}
    for name, index in dataset.classes.items():
        if outputs and index >= outputs:
            raise UsageError(
                f"{dataset.folder}: class {name!r} is number {index}, and model {model.name} has "
                f"{outputs} classes, from 0"
            )
        if index in taken:
            raise UsageError(
                f"{dataset.folder}: {taken[index]!r} and {name!r} are both class {index} of "
                f"model {model.name}"
            )
        taken[index] = name
    return dataset

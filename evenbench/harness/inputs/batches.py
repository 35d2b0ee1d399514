"""The input bytes of a comparison: created once, stored as .npy, identified by sha256."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness import photographs
from evenbench.harness.core import build_sources, import_strings, source_digests
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.tensor_specs import TensorSpec
from evenbench.harness.core.types import Cell, Model, Photograph
from evenbench.harness.inputs import element_types, expected_outputs, given_samples, preprocessors

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

ROTATION = 2
"""Part of every key. Raised when `_batched` changes the samples in a batch."""


def key_parts(cell: Cell) -> dict[str, Any]:
    """Facts behind a cell's input bytes: recipe, images, shapes, batch, and decoding packages."""
    model = cell.model
    evaluation = import_strings.source_sha256(model.evaluation)
    return {
        **_sampling_key(cell, model.images, model.inputs_from),
        "evaluation": [import_strings.portable(model.evaluation), evaluation],
    }


def calibration_key(cell: Cell) -> dict[str, Any]:
    """Facts behind the bytes of int8-static's calibration, like `key_parts` for judged inputs."""
    return _sampling_key(cell, cell.model.calibration, cell.model.calibration_from)


def _sampling_key(cell: Cell, images: Sequence[Photograph], function: str) -> dict[str, Any]:
    model = cell.model
    source = import_strings.source_sha256(function)
    made_by = (
        source_digests.of_types(preprocessors.defined_by(model.recipe)) if model.recipe else []
    )
    return {
        "inputs": model.inputs,
        "recipe": model.recipe,
        "steps": source_digests.digest_of(source_digests.read(made_by)),
        "images": images,
        "inputs_from": [import_strings.portable(function), source, dict(model.arguments)],
        "examples_of": _examples_key(model),
        "batch": cell.batch,
        "rotation": ROTATION,
        "versions": {name: version_of(name) for name in preprocessors.distributions(model.recipe)},
    }


def _examples_key(model: Model) -> list[str]:
    """Facts behind the example inputs of a user's `build`; empty for other models."""
    if model.weights.source != "own" or not model.build:
        return []
    return [import_strings.portable(model.build), import_strings.source_sha256(model.build)]


def file_of(name: str) -> str:
    """The file of an input. An invalid (`/`, `..`) or taken file name is replaced by its digest."""
    plain = name.replace("_", "").replace("-", "").isalnum() and name not in (
        "evaluation",
        "labels",
    )
    return f"{name if plain else 'input-' + hashlib.sha256(name.encode()).hexdigest()[:16]}.npy"


def version_of(distribution: str) -> str:
    """The installed version of a distribution, or an empty string."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def make(model: Model, batch: int, folder: Path) -> dict[str, Any]:
    """Write a .npy per declared input, [batches, batch, ...], and the held-out split.

    Returns facts for the record. Raises UsageError for an array without the model's declared shape
    and dtype.
    """
    import numpy as np

    names, sha256 = _save(model, *_samples(model, model.images, model.inputs_from), batch, folder)
    facts: dict[str, Any] = {
        "recipe": model.recipe.name if model.recipe else import_strings.portable(model.inputs_from),
        "names": names,
    }
    if model.evaluation:
        held_out, labels = import_strings.resolve(model.evaluation)()
        np.save(folder / "evaluation.npy", held_out)
        np.save(folder / "labels.npy", labels)
    whole = given_samples.whole_batch(model)
    rows = orders(len(names), batch, whole)
    if given_samples.FILES in model.arguments:
        given = given_samples.read(model)
        expected = expected_outputs.of_batches(given, rows, whole)
        facts |= {"expected_batches": len(expected), **expected_outputs.save(folder, expected)}
    facts["code"] = build_sources.recorded(model) if model.inputs_from or model.evaluation else {}
    facts["batches"] = len(rows)
    facts["sha256"] = sha256
    return facts


def make_calibration(model: Model, batch: int, folder: Path) -> dict[str, Any]:
    """Write a .npy per declared input with int8-static's calibration samples; returns facts.

    Raises UsageError for a photograph among the judged inputs, because fitting ranges to judged
    inputs flatters int8.
    """
    judged = {image.sha256 for image in model.images}
    shared = [image.name for image in model.calibration if image.sha256 in judged]
    if shared:
        raise UsageError(
            f"model {model.name}: {', '.join(shared)} appears in calibration= and images=; "
            "calibrate on other photographs"
        )
    names, sha256 = _save(
        model, *_samples(model, model.calibration, model.calibration_from), batch, folder
    )
    return {
        "names": names,
        "from": import_strings.portable(model.calibration_from),
        "sha256": sha256,
        "code": build_sources.recorded(model) if model.calibration_from else {},
    }


def _save(
    model: Model, samples: Mapping[str, Array], names: list[str], batch: int, folder: Path
) -> tuple[list[str], str]:
    """Batch `samples` into the folder's files; returns file names and the files' digest."""
    import numpy as np

    files = {spec.name: folder / file_of(spec.name) for spec in model.inputs}
    whole = given_samples.whole_batch(model)
    for spec in model.inputs:
        array = _batched(spec, samples, batch, whole)
        np.save(files[spec.name], element_types.storable(array))
    return names, digest_batches(files)


def batches_for(samples: int, batch: int) -> int:
    """The number of rotating batches: at least three different batches, covering all samples."""
    return max(min(3, samples), math.ceil(samples / batch))


def digest_batches(files: Mapping[str, Path]) -> str:
    """sha256 over names and bytes of the input files: `input_sha256` in every result."""
    whole = hashlib.sha256()
    for name, file in sorted(files.items()):
        whole.update(name.encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()


def _samples(
    model: Model, images: Sequence[Photograph], function: str
) -> tuple[Mapping[str, Array], list[str]]:
    """Arrays [count, ...] per declared input, from `function` or the images, and sample names."""
    import numpy as np

    if function:
        arrays = import_strings.resolve(function)(model)
        missing = [spec.name for spec in model.inputs if spec.name not in arrays]
        if missing:
            raise UsageError(
                f"model {model.name}: {function} returned {sorted(arrays)}, expected also {missing}"
            )
        # A model without inputs runs on a single, empty sample.
        count = len(next(iter(arrays.values()))) if arrays else 1
        return arrays, [f"sample {index}" for index in range(count)]
    if model.recipe is None or not images:
        raise UsageError(
            f"model {model.name} has no source of inputs; give images= with recipe=, or "
            "inputs_from="
        )
    if len(model.inputs) != 1:
        raise UsageError(
            f"model {model.name}: a recipe yields one input, but {len(model.inputs)} are "
            "declared; use inputs_from="
        )
    arrays = [preprocessors.apply(model.recipe, photographs.locate(image)) for image in images]
    return {model.inputs[0].name: np.stack(arrays)}, [image.name for image in images]


def _batched(spec: TensorSpec, samples: Mapping[str, Array], batch: int, whole: int = 1) -> Array:
    """Batch i holds samples i*batch, i*batch+1, ... modulo their number.

    A shape without BATCH takes a whole sample. If fewer than three batches would differ, each batch
    starts a single sample later.
    """
    import numpy as np

    values = samples[spec.name]
    count = len(values)
    rows = orders(count, batch, whole)
    if spec.batch_axis is None:
        firsts = [row[0] for row in rows] if whole > 1 else np.arange(len(rows)) % count
        batched = values[np.asarray(firsts)]
    else:
        batched = np.moveaxis(values[np.asarray(rows)], 1, 1 + spec.batch_axis)
    expected = spec.concrete(batch)
    dtype = element_types.TEXT if element_types.is_text(batched) else str(batched.dtype)
    if batched.shape[1:] != expected or dtype != spec.dtype:
        raise UsageError(
            f"input {spec.name}: made {dtype}{list(batched.shape[1:])}, declared "
            f"{spec.dtype}{list(expected)}; "
            "change the recipe or the TensorSpec"
        )
    return np.ascontiguousarray(batched)


def orders(count: int, batch: int, whole: int = 1) -> list[list[int]]:
    """The samples of each batch, of `count` samples.

    `whole` samples of the user's data belong together, and stay together in batches of this size.
    """
    if whole == batch and count > whole:
        return [list(range(start, start + batch)) for start in range(0, count, batch)]
    stride = batch + (batch % count == 0 or (count > 2 and 2 * batch % count == 0))
    return [
        [(index * stride + position) % count for position in range(batch)]
        for index in range(batches_for(count, batch))
    ]


def first(spec: TensorSpec, samples: Array, batch: int) -> Array:
    """The first batch of an input, from its samples [count, ...]."""
    import numpy as np

    if spec.batch_axis is None:
        whole: Array = samples[0, ...]
        return whole
    return np.ascontiguousarray(np.moveaxis(samples[:batch], 0, spec.batch_axis))


def load(folder: Path, model: Model) -> list[dict[str, Array]]:
    """The batches of an input folder as read-only arrays, a dict per batch.

    A model without inputs has a single, empty batch.
    """
    import numpy as np

    whole = {
        spec.name: element_types.restored(np.load(folder / file_of(spec.name)), spec.dtype)
        for spec in model.inputs
    }
    for array in whole.values():
        array.setflags(write=False)
    count = min(map(len, whole.values()), default=1)
    return [{name: array[index, ...] for name, array in whole.items()} for index in range(count)]

"""The bytes that every backend of a comparison gets: made once, stored as .npy, named by one sha256."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import implementations, late, photographs, preprocess, sources
from harness.types import BATCH, Cell, Model, Photograph, TensorSpec, UsageError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

RANDOM_SAMPLES = 8

ROTATION = 2
"""Part of every key: raised when `_batched` changes which samples a batch holds."""


def key_parts(cell: Cell) -> dict[str, Any]:
    """What decides a cell's input bytes: recipe, images, shapes, batch and the packages that decode and resize."""
    model = cell.model
    evaluation = late.source_of(model.evaluation) if model.evaluation else ""
    return {
        **_sampling_key(cell, model.images, model.inputs_from),
        "evaluation": [late.portable(model.evaluation), _sha_of(evaluation)],
    }


def calibration_key(cell: Cell) -> dict[str, Any]:
    """What decides the bytes that int8-static is calibrated on, as `key_parts` does for those that are judged."""
    return _sampling_key(cell, cell.model.calibration, cell.model.calibration_from)


def _sampling_key(cell: Cell, images: Sequence[Photograph], function: str) -> dict[str, Any]:
    model = cell.model
    source = late.source_of(function) if function else ""
    made_by = sources.of_types(implementations.defined_by(model.recipe)) if model.recipe else []
    return {
        "inputs": model.inputs,
        "recipe": model.recipe,
        "steps": sources.digest_of(sources.read(made_by)),
        "images": images,
        "inputs_from": [late.portable(function), _sha_of(source), dict(model.arguments)],
        "examples_of": _examples_key(model),
        "batch": cell.batch,
        "rotation": ROTATION,
        "versions": {name: version_of(name) for name in implementations.distributions(model.recipe)},
    }


def _examples_key(model: Model) -> list[str]:
    """What decides the example inputs that a user's own `build` returns; empty for models whose inputs are not made from them."""
    if model.weights.source != "own" or not model.build:
        return []
    return [late.portable(model.build), _sha_of(late.source_of(model.build))]


def file_of(name: str) -> str:
    """The file of an input; a name that would be no plain file name (`/`, `..`), or is taken, is replaced by its digest."""
    plain = name.replace("_", "").replace("-", "").isalnum() and name not in ("evaluation", "labels")
    return f"{name if plain else 'input-' + hashlib.sha256(name.encode()).hexdigest()[:16]}.npy"


def version_of(distribution: str) -> str:
    """The installed version of a distribution, or an empty string."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _sha_of(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def make(model: Model, batch: int, folder: Path) -> dict[str, Any]:
    """Write one .npy per declared input, [batches, batch, ...], and the held-out split; returns the facts for the record.

    Raises UsageError where an array does not have the shape and dtype that the model declares.
    """
    import numpy as np

    names, sha256 = _save(model, *_samples(model, model.images, model.inputs_from), batch, folder)
    facts: dict[str, Any] = {"recipe": model.recipe.name if model.recipe else late.portable(model.inputs_from), "names": names}
    if model.evaluation:
        held_out, labels = late.resolve(model.evaluation)()
        np.save(folder / "evaluation.npy", held_out)
        np.save(folder / "labels.npy", labels)
    facts["code"] = sources.read(sources.loaded() if model.inputs_from or model.evaluation else [])
    facts["batches"] = batches_for(len(names), batch)
    facts["sha256"] = sha256
    return facts


def make_calibration(model: Model, batch: int, folder: Path) -> dict[str, Any]:
    """Write one .npy per declared input of the samples that int8-static is calibrated on; returns the facts for the record.

    Raises UsageError where a photograph is judged as well: ranges that were fitted to the judged inputs flatter int8.
    """
    judged = {image.sha256 for image in model.images}
    shared = [image.name for image in model.calibration if image.sha256 in judged]
    if shared:
        raise UsageError(f"model {model.name}: {', '.join(shared)} is in calibration= and in images=; calibrate on other photographs")
    names, sha256 = _save(model, *_samples(model, model.calibration, model.calibration_from), batch, folder)
    made_from = sources.read(sources.loaded() if model.calibration_from else [])
    return {"names": names, "from": late.portable(model.calibration_from), "sha256": sha256, "code": made_from}


def _save(model: Model, samples: Mapping[str, Array], names: list[str], batch: int, folder: Path) -> tuple[list[str], str]:
    """Batch `samples` into the folder's files; returns their names and the files' digest."""
    import numpy as np

    files = {spec.name: folder / file_of(spec.name) for spec in model.inputs}
    for spec in model.inputs:
        np.save(files[spec.name], _batched(spec, samples, batch))
    return names, digest_batches(files)


def batches_for(samples: int, batch: int) -> int:
    """How many batches rotate: every sample appears, and there are at least three different ones."""
    return max(min(3, samples), math.ceil(samples / batch))


def digest_batches(files: Mapping[str, Path]) -> str:
    """sha256 over names and bytes of the input files: `input_sha256` in every result."""
    whole = hashlib.sha256()
    for name, file in sorted(files.items()):
        whole.update(name.encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()


def _samples(model: Model, images: Sequence[Photograph], function: str) -> tuple[Mapping[str, Array], list[str]]:
    """[count, ...] per declared input, from `function` where there is one or else from `images`, and the samples' names."""
    import numpy as np

    if function:
        made = late.resolve(function)(model)
        missing = [spec.name for spec in model.inputs if spec.name not in made]
        if missing:
            raise UsageError(f"model {model.name}: {function} returned {sorted(made)}, expected also {missing}")
        count = len(next(iter(made.values())))
        return made, [f"sample {index}" for index in range(count)]
    if model.recipe is None or not images:
        raise UsageError(f"model {model.name}: inputs come from images with recipe=, or from inputs_from=; it has neither")
    if len(model.inputs) != 1:
        raise UsageError(f"model {model.name}: a recipe makes one input, but {len(model.inputs)} are declared; use inputs_from=")
    arrays = [implementations.apply(model.recipe, photographs.locate(image)) for image in images]
    return {model.inputs[0].name: np.stack(arrays)}, [image.name for image in images]


def _batched(spec: TensorSpec, samples: Mapping[str, Array], batch: int) -> Array:
    """Batch i holds samples i*batch, i*batch+1, ... modulo their number; a shape without BATCH takes one sample whole.

    Where fewer than three batches would differ by that, each one starts one sample later.
    """
    import numpy as np

    values = samples[spec.name]
    count = len(values)
    if spec.shape and spec.shape[0] == BATCH:
        stride = batch + (batch % count == 0 or (count > 2 and 2 * batch % count == 0))
        order = [[(index * stride + position) % count for position in range(batch)] for index in range(batches_for(count, batch))]
        batched = values[np.asarray(order)]
    else:
        batched = values[np.arange(batches_for(count, batch)) % count]
    expected = spec.concrete(batch)
    if batched.shape[1:] != expected or str(batched.dtype) != spec.dtype:
        raise UsageError(
            f"input {spec.name}: made {batched.dtype}{list(batched.shape[1:])}, declared {spec.dtype}{list(expected)}; "
            "change the recipe or the TensorSpec"
        )
    return np.ascontiguousarray(batched)


def load(folder: Path, model: Model) -> list[dict[str, Array]]:
    """The batches of an input folder as read-only arrays, one dict per batch."""
    import numpy as np

    whole = {spec.name: np.load(folder / file_of(spec.name)) for spec in model.inputs}
    for array in whole.values():
        array.setflags(write=False)
    return [{name: array[index, ...] for name, array in whole.items()} for index in range(len(next(iter(whole.values()))))]


def standard_normal(model: Model) -> dict[str, Array]:
    """Eight samples of N(0, 1), seed 0, for each declared input; integers below 100 where an input is integral.

    The inputs of a user's own model that names no images: good for timing and parity, not for accuracy.
    """
    import numpy as np

    generator = np.random.default_rng(0)
    return {spec.name: _random(spec, generator) for spec in model.inputs}


def standard_normal_calibration(model: Model) -> dict[str, Array]:
    """As `standard_normal`, from another seed: the ranges of int8-static for a model whose inputs are random."""
    import numpy as np

    generator = np.random.default_rng(1)
    return {spec.name: _random(spec, generator) for spec in model.inputs}


def _random(spec: TensorSpec, generator: Any) -> Array:
    import numpy as np

    whole = spec.concrete(1)
    shape = (RANDOM_SAMPLES, *(whole[1:] if spec.is_batched else whole))
    made: Array
    if np.issubdtype(np.dtype(spec.dtype), np.floating):
        made = generator.standard_normal(shape).astype(spec.dtype)
    else:
        made = generator.integers(0, 2 if spec.dtype == "bool" else 100, shape).astype(spec.dtype)
    return made


def files(model: Model) -> dict[str, Array]:
    """Samples from the user's own image files: `model.arguments` holds `recipe` and the paths as a JSON list. Where another library
    does that recipe's steps, the model has it as its own.

    One photo alone could not show that a new input gives a new answer, so its two mirror images follow it.
    """
    import numpy as np

    recipe = model.recipe or preprocess.RECIPES[model.arguments["recipe"]]
    arrays = [implementations.apply(recipe, Path(path)) for path in json.loads(model.arguments["files"])]
    if len(arrays) == 1:
        arrays += [np.flip(arrays[0], -1), np.flip(arrays[0], -2)]
    return {model.inputs[0].name: np.stack(arrays)}

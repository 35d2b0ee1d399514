"""The flag `--calibration`: photographs, an .npz file, or a folder of images, as model fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from evenbench.harness.core import artifact_store
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Model
from evenbench.harness.inputs import calibration, datasets

SAMPLES = "evenbench.harness.inputs:calibration_samples"
"""The late name of `calibration.samples`, part of cell keys."""

MOST_IMAGES = 100
"""Images taken from a folder, evenly spread: ranges of activations change little beyond."""


def fields(texts: Sequence[str], recipe: str, judged: Sequence[str], inputs: int) -> dict[str, str]:
    """The late name and the argument of a model's calibration samples, as `calibration_from` and
    `calibration`.

    `recipe` prepares images, `judged` are the photographs of the inputs, `inputs` is the number of
    inputs. Raises UsageError for absent files, and for photographs that are judged too.
    """
    files = _files(texts)
    is_array = files[0].suffix == ".npz"
    if is_array and len(files) > 1:
        raise UsageError(
            f"--calibration {' '.join(texts)}: expected a single .npz file, or images alone"
        )
    if not is_array and not recipe:
        raise UsageError(
            "--calibration with images needs --recipe, the steps from an image to a tensor; or "
            "give an .npz file with an array [count, ...] for each input"
        )
    if not is_array and inputs != 1:
        raise UsageError(
            f"--calibration: images make one input, but the model has {inputs}; give an .npz file "
            "with an array for each input"
        )
    digests = [artifact_store.digest_file(file) for file in files]
    _check_apart(files, digests, judged)
    given = {
        "files": [str(file) for file in files],
        "sha256": digests,
        "recipe": "" if is_array else recipe,
    }
    return {"calibration_from": SAMPLES, calibration.ARGUMENT: json.dumps(given)}


def _files(texts: Sequence[str]) -> list[Path]:
    files: list[Path] = []
    for text in texts:
        path = Path(text)
        if path.is_dir():
            files += _images(path)
        elif path.is_file():
            files.append(path.resolve())
        else:
            raise UsageError(
                f"--calibration {text}: no such file or folder; give photographs, an .npz file or "
                "a folder of images"
            )
    if len(files) > 1 and any(file.suffix == ".npz" for file in files):
        files.sort(key=lambda file: file.suffix != ".npz")
    return files


def _images(folder: Path) -> list[Path]:
    """At most `MOST_IMAGES` images below a folder, evenly spread over the sorted paths."""
    images = sorted(
        path.resolve()
        for path in folder.rglob("*")
        if path.suffix.lower() in datasets.SUFFIXES and "masks" not in path.parts
    )
    if not images:
        raise UsageError(f"--calibration {folder}: the folder has no images; name another folder")
    count = min(len(images), MOST_IMAGES)
    return [images[index * len(images) // count] for index in range(count)]


def _check_apart(files: Sequence[Path], digests: Sequence[str], judged: Sequence[str]) -> None:
    known = {artifact_store.digest_file(Path(photo)) for photo in judged}
    shared = [file.name for file, digest in zip(files, digests, strict=True) if digest in known]
    if shared:
        raise UsageError(
            f"--calibration: {', '.join(shared)} is an --input too, so int8 would be judged on "
            "its own ranges; calibrate on other photographs"
        )


def without(model: Model) -> tuple[object, ...]:
    """The facts of a model's declaration without the calibration."""
    arguments = {
        name: value for name, value in model.arguments.items() if name != calibration.ARGUMENT
    }
    return (
        *(model.name, model.build, model.file, model.inputs, model.outputs, model.recipe),
        *(model.weights, model.task, model.images, model.inputs_from, model.evaluation),
        *(dict(model.tolerance), arguments, model.score_threshold, model.sizes),
    )

"""A user's own model without a line of declaration: a file that holds one, or a function that
builds a torch module.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import preprocess
from harness.core import (
    artifact_store,
    data_dependent_shapes,
    import_strings,
    registry,
    serialization,
)
from harness.core.cases import ALL, INT8, Case, int8_of
from harness.core.errors import Unsupported, UsageError
from harness.core.golden import Golden
from harness.core.paths import PROJECT
from harness.core.types import ANY, BATCH, Cell, Model, Recipe, TensorSpec
from harness.core.weights import Weights, own
from harness.environment import cpu, system_info
from harness.inputs import preprocessors
from harness.runner import job as runner_job
from harness.runner import launcher
from harness.runner.child_process import shared_path

RANDOM_INPUTS = "harness.inputs:standard_normal"
RANDOM_CALIBRATION = "harness.inputs:standard_normal_calibration"
PHOTO_INPUTS = "harness.inputs:files"
SHAPE = re.compile(r"\d+(x\d+)*(,\d+(x\d+)*)*")

DETECTION = "detection"
TASKS = ("classification", "segmentation", DETECTION, "text", "other")
"""What `--task` can say that a model does."""

FORMS: Mapping[str, tuple[int, int, str]] = {
    "classification": (2, 2, "scores [batch, classes]"),
    "segmentation": (4, 2, "scores of every pixel [batch, classes, height, width]"),
    "text": (2, 1, "embeddings [batch, size]"),
}
"""By task, what one output has to be: its axes, the least size of the second one, and both in
words.
"""

OBJECTS: Mapping[str, tuple[int, ...]] = {"boxes": (4,), "labels": (), "scores": ()}
"""A detector's outputs, and what each has for every object."""

LISTED = "boxes [n, 4], labels [n] and scores [n] of one image, and masks where it has any"


@dataclass(frozen=True)
class Asked:
    """What a command line says about the models that it names; empty fields were not given."""

    photos: tuple[str, ...] = ()
    recipe: str = ""
    shape: str = ""
    backends: tuple[str, ...] = ()
    batch: tuple[int, ...] = ()
    threads: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    task: str = ""
    options: tuple[str, ...] = ()
    """Each as `BACKEND:KEY=VALUE`."""
    preprocessing: tuple[str, ...] = ()


@dataclass(frozen=True)
class OwnModel:
    """The case that a target stands for, and in words what was found and which golden judges it."""

    case: Case
    found: str


def is_model(target: str) -> bool:
    """Whether a target names a model (`model.onnx`, `model.pt2`, `package.module:build`,
    `file.py:build`) and not declarations.
    """
    return target.endswith((".onnx", *import_strings.ARCHIVES)) or (
        ":" in target and "::" not in target
    )


def find(target: str, asked: Asked, timeout_seconds: float) -> OwnModel:
    """The case of a user's own model. Its tensors are read by a worker, so nothing heavy is
    imported here.

    Raises UsageError where the model, a photo or a recipe is not what it should be.
    """
    _check(target, asked)
    options = _options(asked.options)
    shape = _photo_shape(asked) if asked.photos else ""
    arguments = (
        {"shape": asked.shape or shape}
        if (asked.shape or shape) and not target.endswith(".onnx")
        else {}
    )
    if target.endswith(import_strings.ARCHIVES):
        arguments["file_sha256"] = _digest_of(target)
    provisional = _provisional(target, arguments)
    inputs, outputs, golden = _describe(target, provisional, timeout_seconds)
    if asked.task == DETECTION:
        outputs = _opened(target, outputs)
    found = f"{target}: {_in_words(inputs)} -> {_in_words(outputs)}, judged against {golden.kind}"
    batch, (inputs, outputs) = _batches(target, asked, inputs, outputs)
    _check_task(target, asked.task, outputs)
    model = replace(
        provisional,
        inputs=inputs,
        outputs=outputs,
        task=asked.task or ("classification" if _looks_like_classes(outputs) else "other"),
        **_input_source(target, asked, inputs, arguments, golden),
    )
    # Random numbers are the only calibration of a model that comes without data; ranges taken from
    # them say nothing of it.
    int8, why = int8_of(
        replace(model, calibration_from="")
        if model.calibration_from == RANDOM_CALIBRATION
        else model
    )
    case = Case(
        models=(model,),
        backends=asked.backends or ALL,
        precisions=tuple(dict.fromkeys(int8 if each == INT8 else each for each in asked.precisions))
        or ("fp32",),
        devices=asked.devices or ("cpu",),
        batch=batch,
        threads=asked.threads or (0,),
        options=options,
        preprocessing=asked.preprocessing or (preprocessors.DEFAULT,),
    )
    return OwnModel(case, f"{found}; {why}" if INT8 in asked.precisions else found)


def _check(target: str, asked: Asked) -> None:
    if asked.shape and not SHAPE.fullmatch(asked.shape):
        raise UsageError(
            f"--shape {asked.shape!r} is no shape; expected 1x3x224x224, or 1x3x224x224,1x10 for two inputs"
        )
    if asked.shape and target.endswith((".onnx", ".pt2")):
        raise UsageError(f"{target} declares the shapes of its inputs; leave --shape out")
    if asked.photos and not asked.recipe:
        raise UsageError(
            f"--input needs --recipe, which says how a photo becomes a tensor; expected one of {_recipes()}"
        )
    if asked.recipe and not asked.photos:
        raise UsageError(
            "--recipe turns photos into inputs, but there is none; add --input photo.jpg"
        )
    if asked.recipe and asked.recipe not in preprocess.RECIPES:
        raise UsageError(
            f"unknown recipe {asked.recipe!r}; expected one of {_recipes()}, or declare your own in a bench_*.py file"
        )
    if asked.preprocessing and not asked.photos:
        raise UsageError(
            "--preprocessing names libraries that do a recipe; add --input photo.jpg and --recipe"
        )
    for library in asked.preprocessing:
        why = preprocessors.refuses(preprocess.RECIPES[asked.recipe], library)
        if why:
            raise UsageError(f"--preprocessing {library}: recipe {asked.recipe}: {why}")


def _options(words: Sequence[str]) -> dict[str, tuple[dict[str, Any]]]:
    """The option set of each backend that `BACKEND:KEY=VALUE` names. Raises UsageError for another
    form or an unknown backend.
    """
    found: dict[str, tuple[dict[str, Any]]] = {}
    for word in words:
        backend, _, option = word.partition(":")
        key, equals, text = option.partition("=")
        value = serialization.read(text)
        if not (backend and key and equals):
            raise UsageError(
                f"--option {word!r} is no option; expected BACKEND:KEY=VALUE, such as ort:exporter=torchscript"
            )
        if not isinstance(value, (str, int, float, bool)):
            raise UsageError(
                f"--option {word}: {text} is no value; expected text, a number, true or false"
            )
        registry.row(backend)
        (options,) = found.setdefault(backend, ({},))
        if key in options:
            raise UsageError(
                f"--option {word}: {backend} has {key} already; declare a case to run a backend with several sets of options"
            )
        options[key] = value
    return found


def _recipes() -> str:
    return ", ".join(preprocess.RECIPES)


def _photo_shape(asked: Asked) -> str:
    """The shape of one photo after the recipe, as `--shape` would say it. Every photo is tried,
    before anything is run.
    """
    shapes = {
        tuple(_prepared(photo, preprocess.RECIPES[asked.recipe]).shape) for photo in asked.photos
    }
    if len(shapes) > 1:
        raise UsageError(
            f"recipe {asked.recipe} makes different shapes of these photos: {sorted(shapes)}; crop them to one size"
        )
    return "x".join(map(str, (1, *shapes.pop())))


def _prepared(photo: str, recipe: Recipe) -> Any:
    if not Path(photo).is_file():
        raise UsageError(f"--input {photo}: no such file; give the path of an image")
    try:
        return preprocessors.apply(recipe, Path(photo))
    except ImportError as error:
        raise UsageError(
            f"--input {photo}: reading images needs {error.name}, which is not installed; pip install pillow numpy"
        ) from error
    except UsageError as error:
        raise UsageError(
            f"--input {error}; give a JPEG, PNG or another image that Pillow decodes"
        ) from error


def _provisional(target: str, arguments: Mapping[str, str]) -> Model:
    """The model before its tensors are known."""
    path = Path(target).resolve()
    if target.endswith(".onnx"):
        # The digest makes a model that was exported again a different cell, so that two models
        # never share a history or a run.
        weights = Weights("file", sha256=_digest_of(target))
        return Model(
            worded(path.stem),
            file=str(path),
            inputs_from=RANDOM_INPUTS,
            weights=weights,
            arguments=arguments,
        )
    if target.endswith(import_strings.ARCHIVES):
        return Model(
            worded(path.stem),
            build=f"{path}:model",
            inputs_from=RANDOM_INPUTS,
            weights=own(),
            arguments=arguments,
        )
    return _from_function(target, arguments)


def _digest_of(target: str) -> str:
    path = Path(target).resolve()
    if not path.is_file():
        what = (
            "give the path of an .onnx, .pt2 or .pt file, or package.module:build for a torch model"
        )
        raise UsageError(f"{target}: no such file; {what}")
    return artifact_store.digest_file(path)


def _from_function(target: str, arguments: Mapping[str, str]) -> Model:
    where, _, attribute = target.rpartition(":")
    if not where or not attribute.isidentifier():
        raise UsageError(
            f"{target!r} names no function; expected package.module:build or path/file.py:build"
        )
    if where.endswith(".py"):
        if not Path(where).is_file():
            raise UsageError(
                f"{target}: no such file {where}; give the path of the Python file that defines {attribute}"
            )
        target = f"{Path(where).resolve()}:{attribute}"
    elif import_strings.namesake(where) and not import_strings.source_of(target):
        raise UsageError(f"{target}: {import_strings.namesake(where)}")
    elif not import_strings.source_of(target) and not _installed(where):
        raise UsageError(
            f"{target}: no module {where!r} on sys.path; run from the folder that holds it, or install its package"
        )
    stem = Path(where).stem if where.endswith(".py") else where.rpartition(".")[2]
    name = stem if attribute == "build" else f"{stem}.{attribute}"
    return Model(
        worded(name), build=target, inputs_from=RANDOM_INPUTS, weights=own(), arguments=arguments
    )


def _installed(module: str) -> bool:
    """Whether the top-level package of `module` could be imported; looks without importing it."""
    import importlib.util

    top = module.partition(".")[0]
    return top in sys.modules or importlib.util.find_spec(top) is not None


def worded(name: str) -> str:
    """A model's name of what a person called a file: without white space, never empty."""
    return re.sub(r"\s+", "-", name.strip()) or "model"


def _describe(
    target: str, model: Model, timeout_seconds: float
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...], Golden]:
    """Inputs and outputs as a worker reads them, and the golden that will judge the model."""
    cell = Cell(model, "null", threads=cpu.cores())
    try:
        golden = registry.golden_for(cell)
    except Unsupported as error:
        raise UsageError(f"{target}: {error}") from error
    missing = golden.missing()
    if missing:
        raise UsageError(
            f"{target}: reading it needs {', '.join(missing)}, which is not installed; {registry.row(golden.name).hint}"
        )
    job = runner_job.Job("describe", cell, sys_path=shared_path())
    reply = launcher.run(job, system_info.for_worker(cell.threads, {}), timeout_seconds)
    if reply.value is None:
        raise UsageError(_explained(target, reply))
    return _specs(target, reply.value["inputs"]), _specs(target, reply.value["outputs"]), golden


def _explained(target: str, reply: runner_job.Reply) -> str:
    """Why a model could not be read, with the line of the user's own code where there is one."""
    reason = reply.reason.removeprefix("UsageError: ").removeprefix("ValueError: ")
    frames = re.findall(r'File "([^"]+)", line (\d+), in (\S+)', reply.traceback)
    not_theirs = (
        sys.prefix,
        sys.base_prefix,
        str(PROJECT / "harness"),
        str(PROJECT / "backends"),
        "<frozen",
    )
    theirs = [
        f"{file}:{line} in {function}"
        for file, line, function in frames
        if not file.startswith(not_theirs)
    ]
    where = f" ({theirs[-1]})" if theirs else ""
    return (reason if target in reason else f"{target}: {reason}") + where


def _specs(target: str, described: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    specs = tuple(
        TensorSpec(spec["name"], tuple(spec["shape"]), spec["dtype"]) for spec in described
    )
    for spec in specs:
        unknown = [
            size
            for size in spec.shape
            if size != BATCH and not (isinstance(size, int) and size >= 0)
        ]
        if unknown:
            raise UsageError(
                f"{target}: {spec.name} has shape {list(spec.shape)}, in which {unknown[0]!r} is no number; export the model with fixed "
                f"sizes everywhere but in the batch; of a detector, name the outputs {LISTED}, and give --task {DETECTION}"
            )
    return specs


def _opened(target: str, outputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """A detector's outputs with open sizes. A file says itself where a number is fixed, as that of
    queries; a module's example tells how many objects it found there, and no more."""
    lists = [
        spec for spec in outputs if spec.name in data_dependent_shapes.DETECTIONS and spec.shape
    ]
    if target.endswith(".onnx") and not any(spec.is_batched for spec in lists):
        return outputs
    return tuple(
        replace(spec, shape=(ANY, *spec.shape[1:])) if spec in lists else spec for spec in outputs
    )


def _check_task(target: str, task: str, outputs: Sequence[TensorSpec]) -> None:
    """Raise UsageError where no output is what the task is about."""
    if task == DETECTION:
        found = {spec.name: spec.shape for spec in outputs}
        if data_dependent_shapes.objects(task, found) and all(
            name in found and found[name][1:] == rest for name, rest in OBJECTS.items()
        ):
            return
        wanted = f"outputs {LISTED}, by these names (a module returns a dictionary of them)"
    elif task in FORMS:
        axes, least, wanted = FORMS[task]
        if any(_has_form(spec, axes, least) for spec in outputs):
            return
        wanted = (
            f"an output of floats with {wanted}, where {least} or more of the second are told apart"
        )
    else:
        return
    raise UsageError(
        f"{target}: --task {task} expects {wanted}; it has {_in_words(outputs)}; docs/tasks.md says what a task makes of them"
    )


def _has_form(spec: TensorSpec, axes: int, least: int) -> bool:
    first, *others = spec.shape or (0,)
    return (
        "float" in spec.dtype
        and len(spec.shape) == axes
        and first in (BATCH, 1)
        and isinstance(others[0], int)
        and others[0] >= least
    )


def _batches(
    target: str, asked: Asked, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> tuple[tuple[int, ...], tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]]:
    """The batch sizes to run, and the tensors with `BATCH` as their first entry where all of them
    have one.

    A model exported with a fixed batch has the same first size everywhere; it can run at that one
    only. A detector takes one image.
    """
    if asked.task == DETECTION:
        if set(asked.batch) - {1}:
            raise UsageError(
                f"{target}: a detector is given one image at a time, not --batch {_numbers(asked.batch)}; leave it out"
            )
        return (1,), (tuple(map(_as_one_image, inputs)), outputs)
    tensors = (*inputs, *outputs)
    if any(spec.is_batched for spec in tensors):
        return asked.batch or (1,), (inputs, outputs)
    sizes = {spec.shape[:1] for spec in tensors}
    fixed = next(iter(sizes))[0] if len(sizes) == 1 and () not in sizes else None
    if set(asked.batch) - {fixed or 1}:
        raise UsageError(
            f"{target}: its inputs have fixed shapes ({_in_words(inputs)}), not --batch {_numbers(asked.batch)}; "
            "leave it out, or export the model with a dynamic batch axis"
        )
    if not isinstance(fixed, int):
        return (1,), (tuple(map(_as_one_image, inputs)) if asked.photos else inputs, outputs)
    return (fixed,), (_with_batch(inputs), _with_batch(outputs))


def _as_one_image(spec: TensorSpec) -> TensorSpec:
    """An input [1, 3, height, width] as a batch, into which a photo is put; one without a batch as
    it is.
    """
    return (
        replace(spec, shape=(BATCH, *spec.shape[1:]))
        if len(spec.shape) == 4 and spec.shape[0] == 1
        else spec
    )


def _numbers(values: Sequence[int]) -> str:
    return ",".join(map(str, values))


def _with_batch(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    return tuple(replace(spec, shape=(BATCH, *spec.shape[1:])) for spec in specs)


def _looks_like_classes(outputs: Sequence[TensorSpec]) -> bool:
    return (
        len(outputs) == 1
        and len(outputs[0].shape) == 2
        and isinstance(outputs[0].shape[1], int)
        and outputs[0].shape[1] > 1
    )


def _input_source(
    target: str,
    asked: Asked,
    inputs: Sequence[TensorSpec],
    arguments: Mapping[str, str],
    golden: Golden,
) -> dict[str, Any]:
    """Where the inputs come from: the user's photos through a recipe, the examples that `build`
    returned, or random numbers.
    """
    if (
        not asked.photos and not asked.shape and golden.samples
    ):  # without a shape only examples can have told the inputs
        return {"inputs_from": golden.samples, "calibration_from": golden.calibration}
    if not asked.photos:
        return {"inputs_from": RANDOM_INPUTS, "calibration_from": RANDOM_CALIBRATION}
    if len(inputs) != 1:
        raise UsageError(
            f"{target}: a photo makes one input, but it has {len(inputs)} ({_in_words(inputs)}); leave --input out"
        )
    paths = [str(Path(photo).resolve()) for photo in asked.photos]
    # The digests are there so that a photo that was changed under the same name makes new inputs.
    digests = [artifact_store.digest_file(Path(path)) for path in paths]
    chosen = {
        **arguments,
        "recipe": asked.recipe,
        "files": json.dumps(paths),
        "sha256": json.dumps(digests),
    }
    return {"inputs_from": PHOTO_INPUTS, "arguments": chosen}


def _in_words(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(
        f"{spec.name} {spec.dtype}[{', '.join(map(str, spec.shape))}]" for spec in specs
    )

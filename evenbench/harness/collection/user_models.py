"""The case of a user's own model: a model file, an archive, or a function that builds a torch
module.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evenbench.harness.collection import (
    calibration_flags,
    model_reader,
    state_pairs,
    task_outputs,
    user_model_flags,
)
from evenbench.harness.collection.model_reader import Reading
from evenbench.harness.collection.task_outputs import DETECTION, LISTED, shown
from evenbench.harness.collection.user_model_flags import ModelFlags
from evenbench.harness.core import artifact_store, import_strings
from evenbench.harness.core.cases import ALL, INT8, Case, int8_of
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.tensor_specs import BATCH, TensorSpec
from evenbench.harness.core.types import CALIBRATED, Model
from evenbench.harness.inputs import made_up_samples, preprocessors

PHOTO_INPUTS = "evenbench.harness.inputs:files"

Tensors = tuple[TensorSpec, ...]


@dataclass(frozen=True)
class UserModel:
    """The cases of a target, and a summary of tensors and golden for the user.

    There is a case per input shape, and for each a case of its own for int8-static, because only
    cells of int8-static depend on calibration data.
    """

    cases: tuple[Case, ...]
    summary: str

    @property
    def case(self) -> Case:
        """The first case."""
        return self.cases[0]


def is_model(target: str) -> bool:
    """Whether a target names a model (`model.onnx`, `model.pt2`, `package.module:build`,
    `file.py:build`) and not declarations.
    """
    return target.endswith((".onnx", *import_strings.ARCHIVES)) or (
        ":" in target and "::" not in target
    )


def find(target: str, flags: ModelFlags, timeout_seconds: float) -> UserModel:
    """The cases of a user's own model. A worker reads the tensors, so this process imports no
    runtime.

    Raises UsageError for an unreadable model or photo, and for flags that do not fit the model.
    """
    user_model_flags.check(target, flags)
    user_model_flags.option_sets(flags.options)
    parts = [
        _of_shape(target, replace(flags, shape=shape), timeout_seconds)
        for shape in dict.fromkeys(flags.shape.split("/"))
    ]
    cases = tuple(case for part in parts for case in part.cases)
    return UserModel(cases, "\n".join(part.summary for part in parts))


def _of_shape(target: str, flags: ModelFlags, timeout_seconds: float) -> UserModel:
    """The cases at one input shape."""
    if target.endswith(".onnx"):
        arguments = user_model_flags.request(target, flags).arguments
    else:
        shape = flags.shape or user_model_flags.photo_shape(flags)
        arguments = {"shape": shape} if shape else {}
    reading = model_reader.read(target, arguments, timeout_seconds)
    model, golden = reading.model, reading.golden
    if reading.batch:
        flags = replace(flags, batch=(reading.batch,))
    inputs, outputs = model.inputs, model.outputs
    _check_sizes(target, (*inputs, *outputs))
    if flags.task == DETECTION:
        outputs = task_outputs.with_open_sizes(target, outputs)
    summary = f"{target}: {shown(inputs)} -> {shown(outputs)}, judged against {golden.kind}"
    batch, inputs, outputs = _batches(target, flags, inputs, outputs, reading.first_size)
    task_outputs.check(target, flags.task, outputs)
    state = state_pairs.find(target, flags.states, inputs, outputs)
    model = replace(
        model,
        inputs=inputs,
        outputs=outputs,
        state=state,
        task=flags.task or task_outputs.guessed(outputs),
        **_input_source(target, flags, inputs, reading),
    )
    model = _from_rest(model, flags) if target.endswith(".onnx") else model
    precisions, note = _precisions(model, flags)
    case = Case(
        models=(model,),
        backends=flags.backends or ALL,
        precisions=precisions,
        devices=flags.devices or ("cpu",),
        batch=batch,
        threads=flags.threads or (0,),
        options=user_model_flags.option_sets(flags.options),
        preprocessing=flags.preprocessing or (preprocessors.DEFAULT,),
    )
    said = state_pairs.note(state, not flags.states)
    texts = filter(None, (summary, *reading.notes, said, note))
    return UserModel(_by_calibration(case, flags), "; ".join(texts))


def _from_rest(model: Model, flags: ModelFlags) -> Model:
    """The model with made-up streams that begin with a state of zeros, unless `--range` differs."""
    if model.inputs_from not in (model_reader.RANDOM_INPUTS, made_up_samples.SOURCE):
        return model
    rules = dict(made_up_samples.rules_of(model))
    given = {text.partition("=")[0] for text in flags.ranges}
    zeros = {name: {"values": [0]} for name in model.state if name not in given}
    if not zeros:
        return model
    arguments = {**model.arguments, made_up_samples.RULES: json.dumps({**rules, **zeros})}
    return replace(model, arguments=arguments, inputs_from=made_up_samples.SOURCE)


def _precisions(model: Model, flags: ModelFlags) -> tuple[tuple[str, ...], str]:
    """The precisions, with `int8` replaced by a kind of int8, and a note on the choice.

    Without the flag, a file keeps the precision of the file.
    """
    # Ranges of random numbers, or of an example in another order, are no calibration.
    int8, note = int8_of(_calibrated(model, flags))
    own = model.own_precision
    if not flags.precisions:
        is_other = own != "fp32"
        return (own,), f"the file is stored in {own}, and runs as it is" if is_other else ""
    if own == INT8:
        return tuple(dict.fromkeys(flags.precisions)), ""
    chosen = [int8 if precision == INT8 else precision for precision in flags.precisions]
    return tuple(dict.fromkeys(chosen)), note if INT8 in flags.precisions else ""


def _by_calibration(case: Case, flags: ModelFlags) -> tuple[Case, ...]:
    """The case, with int8-static apart: on the data of `--calibration`, or on none."""
    others = tuple(name for name in case.precisions if name != CALIBRATED)
    cases = [replace(case, precisions=others)] if others else []
    if CALIBRATED in case.precisions:
        calibrated = _calibrated(case.models[0], flags)
        cases.append(replace(case, models=(calibrated,), precisions=(CALIBRATED,)))
    return tuple(cases)


def _calibrated(model: Model, flags: ModelFlags) -> Model:
    """The model with the data of `--calibration`, or without any calibration data."""
    if not flags.calibration:
        return replace(model, calibration_from="")
    given = calibration_flags.fields(
        flags.calibration, flags.recipe, flags.photos, len(model.inputs)
    )
    late_name = given.pop("calibration_from")
    return replace(model, calibration_from=late_name, arguments={**model.arguments, **given})


def _check_sizes(target: str, specs: Tensors) -> None:
    for spec in specs:
        size = model_reader.unknown_size(spec)
        if size:
            raise UsageError(
                f"{target}: {spec.name} has shape {list(spec.shape)}, in which {size!r} is no "
                "number; export the model with fixed sizes everywhere but in the batch; for a "
                f"detector, name the outputs {LISTED}, and give --task {DETECTION}"
            )


def _batches(
    target: str, flags: ModelFlags, inputs: Tensors, outputs: Tensors, first_size: int
) -> tuple[tuple[int, ...], Tensors, Tensors]:
    """The batch sizes to run, and the inputs and outputs, with `BATCH` as a common first size.

    A model exported with a fixed batch has the same first size in all tensors and runs at that
    batch only. A detector runs on single images.
    """
    if flags.task == DETECTION:
        if set(flags.batch) - {1}:
            raise UsageError(
                f"{target}: a detector runs on one image at a time, not --batch "
                f"{_numbers(flags.batch)}; leave --batch out"
            )
        return (1,), tuple(map(_as_one_image, inputs)), outputs
    tensors = (*inputs, *outputs)
    if any(spec.batch_axis is not None for spec in tensors):
        return flags.batch or (first_size or 1,), inputs, outputs
    sizes = {spec.shape[:1] for spec in tensors}
    is_batch = bool(inputs) and len(sizes) == 1 and () not in sizes
    fixed = next(iter(sizes))[0] if is_batch else None
    if set(flags.batch) - {fixed or 1}:
        raise UsageError(
            f"{target}: its inputs have fixed shapes ({shown(inputs)}), so it runs at batch "
            f"{fixed or 1} only, not --batch {_numbers(flags.batch)}; leave --batch out, or "
            f"{_to_open(target, fixed)}"
        )
    if not isinstance(fixed, int):
        return (1,), tuple(map(_as_one_image, inputs)) if flags.photos else inputs, outputs
    return (fixed,), _with_batch(inputs), _with_batch(outputs)


def _to_open(target: str, fixed: int | str | None) -> str:
    """The advice for other batch sizes, by the kind of model."""
    if target.endswith((".onnx", *import_strings.ARCHIVES)):
        return "export the model with a dynamic batch axis"
    if isinstance(fixed, int):
        return (
            "make forward() accept any first size: at another batch size it failed, or its "
            "outputs did not follow the batch, or samples of a batch influenced one another"
        )
    return "give all inputs and outputs the batch as their first size"


def _as_one_image(spec: TensorSpec) -> TensorSpec:
    """An input [1, 3, height, width] as a batch, for a photo; other inputs unchanged."""
    is_image = len(spec.shape) == 4 and spec.shape[0] == 1
    return replace(spec, shape=(BATCH, *spec.shape[1:])) if is_image else spec


def _numbers(values: Sequence[int]) -> str:
    return ",".join(map(str, values))


def _with_batch(specs: Tensors) -> Tensors:
    return tuple(replace(spec, shape=(BATCH, *spec.shape[1:])) for spec in specs)


def _input_source(
    target: str,
    flags: ModelFlags,
    inputs: Sequence[TensorSpec],
    reading: Reading,
) -> dict[str, Any]:
    """The fields of the model's input source: the user's photos through a recipe, the examples
    from `build`, or random numbers.
    """
    golden = reading.golden
    if not flags.photos and reading.has_examples and golden.samples:
        return {"inputs_from": golden.samples, "calibration_from": golden.calibration}
    if not flags.photos:
        return {}
    if len(inputs) != 1:
        raise UsageError(
            f"{target}: a photo makes one input, but the model has {len(inputs)} "
            f"({shown(inputs)}); leave --input out"
        )
    paths = [str(Path(photo).resolve()) for photo in flags.photos]
    # The digests are part of the key, so a changed photo of the same name makes new inputs.
    digests = [artifact_store.digest_file(Path(path)) for path in paths]
    photos = {"recipe": flags.recipe, "files": json.dumps(paths), "sha256": json.dumps(digests)}
    return {
        "inputs_from": PHOTO_INPUTS,
        "calibration_from": "",
        "arguments": {**reading.model.arguments, **photos},
    }

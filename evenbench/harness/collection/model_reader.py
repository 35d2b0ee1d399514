"""The reader of undeclared models: a model file, an archive or a build function becomes a `Model`.

A worker process reads tensors and facts, so the parent process imports no runtime.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evenbench.harness.core import artifact_store, import_strings, paths, registry
from evenbench.harness.core.errors import Unsupported, UsageError
from evenbench.harness.core.golden import Golden
from evenbench.harness.core.paths import PROJECT
from evenbench.harness.core.tensor_specs import BATCH, TensorSpec
from evenbench.harness.core.types import ANY, Cell, Model
from evenbench.harness.core.weights import Weights, own
from evenbench.harness.environment import cpu
from evenbench.harness.inputs import input_requests
from evenbench.harness.runner import launcher
from evenbench.harness.runner.job import Job, Reply

RANDOM_INPUTS = "evenbench.harness.inputs:standard_normal"
RANDOM_CALIBRATION = "evenbench.harness.inputs:standard_normal_calibration"
SHAPE = re.compile(r"\d+(x\d+)*(,\d+(x\d+)*)*")


@dataclass(frozen=True)
class Reading:
    """A model with its tensors, the golden that will judge the model, and facts of the worker.

    `batch` is a batch size fixed by data or sizes of the user; `notes` are for the user.
    """

    model: Model
    golden: Golden
    facts: Mapping[str, Any]

    @property
    def batch(self) -> int | None:
        """The batch size that the request fixes, or None."""
        return self.facts.get("batch")

    @property
    def has_examples(self) -> bool:
        """Whether `build` returned example inputs."""
        return bool(self._examples.get("given"))

    @property
    def first_size(self) -> int:
        """The common first size of the inputs that were tried; 0 without."""
        return int(self._examples.get("first_size", 0))

    @property
    def _examples(self) -> Mapping[str, Any]:
        return self.facts.get("examples") or {}

    @property
    def notes(self) -> Sequence[str]:
        """Sentences on guesses and sources of inputs."""
        notes: Sequence[str] = self.facts.get("notes", ())
        return notes


def read(target: str, arguments: Mapping[str, str], timeout_seconds: float) -> Reading:
    """The model of a target, with its tensors, and the golden that will judge the model.

    `arguments` are passed to a build function. Raises UsageError for a target without a readable
    model.
    """
    model = declaration(target, arguments)
    cell = _cell(model)
    golden = _golden(target, cell)
    facts = _work(Job("describe", cell), target, timeout_seconds)
    return Reading(with_sources(with_tensors(model, facts), facts), golden, facts)


def read_file(path: Path, shape: str, timeout_seconds: float) -> tuple[Model, Mapping[str, Any]]:
    """The model of a file, and every fact of the file (`registry.describe_file`).

    The model has tensors if all shapes are known. `shape` is the shape of the inputs, for formats
    without declared shapes. Raises UsageError for a damaged or unknown file.
    """
    paths.check_content(path)
    model = _from_file(path, {"shape": shape} if shape else {})
    facts = _work(Job("inspect", _cell(model)), str(path), timeout_seconds)
    tensors = (*facts["inputs"], *facts["outputs"])
    is_known = all(tensor["shape"] is not None for tensor in tensors)
    return (with_tensors(model, facts) if is_known else model), facts


def check_shape(text: str) -> None:
    """Raise UsageError if `text` is not a shape such as 1x3x224x224."""
    for shape in text.split("/") if text else ():
        if not SHAPE.fullmatch(shape):
            raise UsageError(
                f"--shape {text!r} is not a shape; expected 1x3x224x224, 1x3x224x224,1x10 for two "
                "inputs, or 1x16/1x48 for two sizes of one input"
            )


def check_single_shape(text: str) -> None:
    """Raise UsageError for several shapes, in a command for a single cell."""
    if "/" in text:
        raise UsageError(f"--shape {text}: expected the shape of one size, such as 1x3x224x224")


def model_name(stem: str) -> str:
    """A model's name from the name of a file: without white space, never empty."""
    return re.sub(r"\s+", "-", stem.strip()) or "model"


# -- before the tensors are known ------------------------------------------------------------------


def declaration(target: str, arguments: Mapping[str, str]) -> Model:
    """The model of a target, without tensors. Raises UsageError for a missing file or function."""
    path = Path(target).resolve()
    if target.endswith((".onnx", *import_strings.ARCHIVES)) and not path.is_file():
        raise UsageError(
            f"{target}: no such file; give the path of an .onnx, .pt2 or .pt file, or "
            "package.module:build for a torch model"
        )
    if path.is_file():
        paths.check_content(path)
    if target.endswith(".onnx"):
        return _from_file(path, arguments)
    if target.endswith(import_strings.ARCHIVES):
        # As with the weights of a file: another digest makes another cell.
        digest = {"file_sha256": artifact_store.digest_file(path)}
        return _built(path.stem, f"{path}:model", {**arguments, **digest})
    return _from_function(target, arguments)


def _from_file(path: Path, arguments: Mapping[str, str]) -> Model:
    # The digest makes a model that was exported again a different cell, so that two models
    # never share a history or a run.
    weights = Weights("file", sha256=artifact_store.digest_file(path))
    return Model(
        model_name(path.stem),
        file=str(path.resolve()),
        inputs_from=RANDOM_INPUTS,
        weights=weights,
        arguments=arguments,
    )


def _from_function(target: str, arguments: Mapping[str, str]) -> Model:
    where, _, attribute = target.rpartition(":")
    if not where or not attribute.isidentifier():
        raise UsageError(
            f"{target!r} names no function; expected package.module:build or path/file.py:build"
        )
    if where.endswith(".py"):
        _check_file(target, where, attribute)
        build, stem = f"{Path(where).resolve()}:{attribute}", Path(where).stem
    else:
        _check_module(target, where)
        build, stem = target, where.rpartition(".")[2]
    return _built(stem if attribute == "build" else f"{stem}.{attribute}", build, arguments)


def _built(stem: str, build: str, arguments: Mapping[str, str]) -> Model:
    return Model(
        model_name(stem),
        build=build,
        inputs_from=RANDOM_INPUTS,
        weights=own(),
        arguments=arguments,
    )


def _check_file(target: str, file: str, attribute: str) -> None:
    if not Path(file).is_file():
        raise UsageError(
            f"{target}: no such file {file}; give the path of the Python file that defines "
            f"{attribute}"
        )


def _check_module(target: str, module: str) -> None:
    if import_strings.source_of(target):
        return
    top = module.partition(".")[0]
    if top not in sys.modules and importlib.util.find_spec(top) is None:
        raise UsageError(
            f"{target}: no module {module!r} on sys.path; run from the folder that contains the "
            "module, or install its package"
        )


# -- in a worker -----------------------------------------------------------------------------------


def _cell(model: Model) -> Cell:
    return Cell(model, "null", threads=cpu.cores())


def _golden(target: str, cell: Cell) -> Golden:
    try:
        golden = registry.golden_for(cell)
    except Unsupported as error:
        raise UsageError(f"{target}: {error}") from error
    missing = golden.missing()
    if missing:
        raise UsageError(
            f"{target}: reading this model needs {', '.join(missing)}, which is not installed; "
            f"{registry.row(golden.name).hint}"
        )
    return golden


def _work(job: Job, target: str, timeout_seconds: float) -> Mapping[str, Any]:
    reply = launcher.run_here(job, timeout_seconds)
    if reply.value is None:
        raise UsageError(_explained(target, reply))
    return reply.value


def _explained(target: str, reply: Reply) -> str:
    """The reason for a failed read, and the line of the user's own code, if any."""
    reason = reply.message
    if reply.error == "ValueError":  # of the user's own function
        reason = reason.removeprefix("ValueError: ")
    reason = reason.replace(str(Path(target).resolve()), target)
    lines = _lines_of_user_code(reply.traceback)
    where = f" ({lines[-1]})" if lines else ""
    return (reason if target in reason else f"{target}: {reason}") + where


def _lines_of_user_code(traceback: str) -> list[str]:
    frames = re.findall(r'File "([^"]+)", line (\d+), in (\S+)', traceback)
    foreign = (sys.prefix, sys.base_prefix, str(PROJECT / "evenbench"), "<frozen")
    return [
        f"{file}:{line} in {function}"
        for file, line, function in frames
        if not file.startswith(foreign)
    ]


# -- tensors ---------------------------------------------------------------------------------------


def with_tensors(model: Model, tensors: Mapping[str, Any]) -> Model:
    """The model with the `inputs` and `outputs` that a worker described, and random inputs."""
    return replace(
        model,
        inputs=_specs(tensors["inputs"]),
        outputs=_specs(tensors["outputs"]),
        inputs_from=RANDOM_INPUTS,
        calibration_from=RANDOM_CALIBRATION,
    )


def with_sources(model: Model, facts: Mapping[str, Any]) -> Model:
    """The model with the sources of inputs that a worker described; without the request."""
    arguments = {key: value for key, value in model.arguments.items() if key != input_requests.KEY}
    return replace(
        model,
        inputs_from=facts.get("inputs_from", model.inputs_from),
        calibration_from=facts.get("calibration_from", model.calibration_from),
        stored=facts.get("stored", ""),
        arguments={**arguments, **facts.get("arguments", {})},
    )


def _specs(tensors: Iterable[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(tensor["name"], _batched(tensor["shape"]), tensor["dtype"]) for tensor in tensors
    )


def _batched(shape: Sequence[int | str]) -> tuple[int | str, ...]:
    """The shape, with `BATCH` for a symbolic first size, unless `ANY` marks a list of objects."""
    is_symbolic = bool(shape) and isinstance(shape[0], str) and shape[0] != ANY
    is_symbolic = is_symbolic and BATCH not in shape
    return (BATCH, *shape[1:]) if is_symbolic else tuple(shape)


def unknown_size(spec: TensorSpec) -> str:
    """The first size that is neither a number nor the batch; empty if all sizes are known.

    A size that depends on data is known to be so.
    """
    sizes = (size for size in spec.shape if size not in (BATCH, ANY))
    return next((str(size) for size in sizes if not isinstance(size, int) or size < 0), "")

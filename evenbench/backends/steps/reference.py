"""Goldens of steps: each operation in float64 by its definition, and the golden backend.

The `build` of a model of task `step` names one of the functions below; its result is called with
the model and the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.preprocessing import numpy_preprocessor
from evenbench.backends.steps import operations
from evenbench.backends.steps.operations import Operation
from evenbench.harness import (
    Attestation,
    Cell,
    Golden,
    Model,
    Session,
    Source,
    TensorSpec,
    UsageError,
)
from evenbench.harness.core import import_strings
from evenbench.harness.inputs import batches as inputs
from evenbench.harness.preprocess import Decode, Resize

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

NAMESPACE = "evenbench.backends.step_golden"
"""Prefix of a step's `build`. Part of cell keys, so the name outlived the module's move."""

BYTES = "bytes"
"""The input with the number of encoded bytes: files differ in length, and a tensor has one shape.
"""


def operation_of(model: Model) -> str:
    """Return `nms` for `build="evenbench.backends.step_golden:nms"`; empty for other models."""
    where, _, name = model.build.rpartition(":")
    return name if where == NAMESPACE and name in OPERATIONS else ""


def encoded_file(inputs: Mapping[str, Any]) -> bytes:
    """Return the file in `encoded`, without the padding of the tensor."""
    return inputs["encoded"][: int(inputs[BYTES][0])].tobytes()


class ExactPreprocessor(numpy_preprocessor.NumPy):
    """NumPy's steps in float64, without rounding to levels."""

    def resize(self, image: Any, step: Resize, width: int, height: int) -> Any:
        down = numpy_preprocessor.weights(image.shape[0], height, step.filter, step.antialias)
        return numpy_preprocessor.resized(
            image,
            down,
            numpy_preprocessor.weights(image.shape[1], width, step.filter, step.antialias),
        )

    def to_array(self, image: Any, step: Any) -> Any:
        return image.astype("float64") * step.scale

    def normalise(self, image: Any, step: Any) -> Any:
        import numpy as np

        return (image - np.asarray(step.mean)) / np.asarray(step.std)

    def lay_out(self, image: Any, step: Any) -> Any:
        return image.transpose((2, 0, 1) if step.order == "CHW" else (0, 1, 2))


def photo() -> Operation:
    """The model's recipe on `encoded`, or on `pixels` after decoding; Pillow decodes."""

    def operation(model: Model, inputs: Any) -> Any:
        assert model.recipe is not None
        exact = ExactPreprocessor()
        decodes = isinstance(model.recipe.steps[0], Decode)
        value = encoded_file(inputs) if decodes else exact.opened(inputs["pixels"])
        for step in model.recipe.steps:
            value = exact.do(step, value)
        return value

    return operation


def nms() -> Operation:
    """Greedy suppression, box by box."""

    def operation(model: Model, inputs: Any) -> Any:
        import numpy as np

        boxes = inputs["boxes"].astype(np.float64).tolist()
        selected: list[int] = []
        for candidate in np.argsort(-inputs["scores"].astype(np.float64), kind="stable").tolist():
            if all(
                _overlap(boxes[candidate], boxes[better]) <= operations.OVERLAP
                for better in selected
            ):
                selected.append(candidate)
        return np.array(selected)

    return operation


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the intersection over union of two boxes by corners."""
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(
        0.0, min(a[3], b[3]) - max(a[1], b[1])
    )
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def paste_masks() -> Operation:
    """Masks in float64; boxes stay float32, as corners are truncated to whole pixels."""

    def operation(model: Model, inputs: Any) -> Any:
        return operations.numpy_paste(model, {**inputs, "masks": inputs["masks"].astype("float64")})

    return operation


def argmax() -> Operation:
    """The same for float32 and float64: nothing is computed."""
    return operations.numpy_argmax


OPERATIONS = ("photo", "nms", "paste_masks", "argmax")


def pad_to_shape(value: Any, spec: TensorSpec) -> Any:
    """Convert a result to the model's output; indices are padded with -1, as the number varies."""
    import numpy as np

    output = np.asarray(value)
    if output.ndim == 1 and len(output) < spec.concrete(1)[0]:
        output = np.concatenate(
            [output, np.full(spec.concrete(1)[0] - len(output), -1, output.dtype)]
        )
    return output


class ExactSession(Session):
    """A golden operation in this process."""

    def __init__(self, operation: Operation, cell: Cell) -> None:
        self.operation, self.cell = operation, cell
        self.inputs: Mapping[str, Any] = {}
        self.result: Any = None

    def bind(self, inputs: Arrays) -> None:
        self.inputs = inputs

    def step(self) -> None:
        self.result = self.operation(self.cell.model, self.inputs)

    def fetch(self) -> Arrays:
        (spec,) = self.cell.model.outputs
        return {spec.name: pad_to_shape(self.result, spec).astype("float64")}

    def attest(self) -> Attestation:
        import numpy as np

        facts = {
            "device": "cpu",
            "precision": "fp64",
            "threads": self.cell.threads,
            "denormals": "preserved",
            "spinning": "off",
        }
        return Attestation(runtime="numpy", version=np.__version__, labels=("golden",), **facts)  # type: ignore[arg-type]


class StepReference(Golden):
    """The golden backend of steps; a step has no weights."""

    name = "steps-reference"
    kind = "float64 NumPy, decoded by Pillow"
    steps = True
    requires = ("numpy", "PIL")
    distributions = ("numpy", "pillow")

    def supports(self, cell: Cell) -> str:
        known = ", ".join(f"{NAMESPACE}:{name}" for name in OPERATIONS)
        return super().supports(cell) or (
            ""
            if operation_of(cell.model)
            else f"build= of a step is one of {known}, not {cell.model.build}"
        )

    def weights_key(self, model: Model) -> Mapping[str, Any]:
        return {"step": model.build}

    def materialise(
        self, model: Model, batches: Mapping[str, Path], folder: Path
    ) -> Mapping[str, Any]:
        (folder / "step.txt").write_text(f"{model.build}\n")
        return {"sha256": "", "note": "a step has no weights"}

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        versions = {name: inputs.version_of(name) for name in self.distributions}
        return {"backend": self.name, "recipe": cell.model.recipe, "versions": versions}

    def describe(self, model: Model) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        raise UsageError(f"model {model.name}: a step declares its inputs and outputs")

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        (folder / "step.txt").write_text(f"{cell.model.build}\n")
        return {"format": "step"}

    def load(self, folder: Path, cell: Cell) -> Session:
        return ExactSession(import_strings.resolve(cell.model.build)(), cell)

"""The base of the `steps-*` backends: a step's session, and the hooks of a library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evenbench.backends.steps import reference
from evenbench.backends.steps.operations import Operation
from evenbench.harness import Attestation, Backend, Cell, Model, Session, Source
from evenbench.harness.inputs import batches
from evenbench.harness.inputs.preprocessors import Implementation, chain
from evenbench.harness.preprocess import Decode

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


class StepSession(Session):
    """A step on bound inputs; `backend` converts arrays to and from the library's types."""

    def __init__(self, operation: Operation, backend: StepBackend, cell: Cell) -> None:
        self.operation, self.backend, self.cell = operation, backend, cell
        self.inputs: Mapping[str, Any] = {}
        self.result: Any = None

    def bind(self, inputs: Arrays) -> None:
        self.inputs = {name: self.backend.bound(array) for name, array in inputs.items()}

    def step(self) -> None:
        self.result = self.operation(self.cell.model, self.inputs)

    def fetch(self) -> Arrays:
        import numpy as np

        (spec,) = self.cell.model.outputs
        output = reference.pad_to_shape(self.backend.on_host(self.result), spec)
        return {
            spec.name: np.ascontiguousarray(output, dtype=spec.dtype)
            if output.dtype.kind in "iu"
            else output
        }

    def attest(self) -> Attestation:
        import numpy as np

        floats = {
            str(array.dtype).rpartition(".")[2]
            for array in (*self.inputs.values(), self.result)
            if "float" in str(array.dtype)
        }
        return Attestation(
            runtime=self.backend.runtime,
            version=self.backend.version(),
            device="cpu",
            precision={"float32": "fp32", "float64": "fp64"}.get(
                ",".join(sorted(floats)), ",".join(sorted(floats)) or "no floats"
            ),
            threads=self.backend.threads(),
            denormals="preserved" if np.float32(1e-39) * np.float32(1.0) else "flushed",
            spinning=self.backend.spinning(),
            details={
                "how": self.backend.how(self.cell.model),
                "libraries": self.backend.libraries(),
            },
        )

    def close(self) -> None:
        self.inputs, self.result = {}, None


class StepBackend(Backend):
    """The common part of all libraries; `after` maps postprocessing steps to functions."""

    steps = True
    runtime: ClassVar[str]
    pixels: ClassVar[type[Implementation]]
    after: ClassVar[Mapping[str, Operation]]

    def supports(self, cell: Cell) -> str:
        reason = super().supports(cell)
        operation = reference.operation_of(cell.model)
        if reason or operation in self.after:
            return reason
        if operation != "photo":
            return (
                f"{self.runtime} has no {operation or cell.model.build}; it supports "
                f"photo{''.join(f', {name}' for name in self.after)}"
            )
        library = self.pixels()
        return next(
            filter(
                None,
                (
                    library.refuses(step)
                    for step in (cell.model.recipe.steps if cell.model.recipe else ())
                ),
            ),
            "",
        )

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        versions = {name: batches.version_of(name) for name in self.distributions}
        return {"backend": cell.backend, "recipe": cell.model.recipe, "versions": versions}

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        (folder / "step.txt").write_text(f"{cell.model.build}\n")
        return {"format": "step", "how": self.how(cell.model)}

    def load(self, folder: Path, cell: Cell) -> Session:
        self.configure(cell)
        operation = reference.operation_of(cell.model)
        return StepSession(
            self._photo(cell.model) if operation == "photo" else self.after[operation], self, cell
        )

    def _photo(self, model: Model) -> Operation:
        assert model.recipe is not None
        library, steps = self.pixels(), model.recipe.steps
        if isinstance(steps[0], Decode):
            return lambda model, inputs: chain(library, steps, reference.encoded_file(inputs))
        return lambda model, inputs: chain(library, steps, library.opened(inputs["pixels"]))

    def how(self, model: Model) -> str:
        """Name the library's functions for the model's step."""
        operation = reference.operation_of(model)
        if operation != "photo":
            return " ".join((self.after[operation].__doc__ or "").split())
        names = dict.fromkeys(
            type(step).__name__ for step in (model.recipe.steps if model.recipe else ())
        )
        return "; ".join(
            f"{name}: {self.pixels.does[name]}" for name in names if name in self.pixels.does
        )

    def configure(self, cell: Cell) -> None:
        """Set the library's number of threads, if any."""

    def bound(self, array: Any) -> Any:
        """Convert a host array to the library's type."""
        return array

    def on_host(self, result: Any) -> Any:
        """Convert a result to an array that stays unchanged."""
        return result

    def version(self) -> str:
        """Return the loaded library's version."""
        raise NotImplementedError

    def libraries(self) -> Mapping[str, str]:
        """Return the versions of further libraries in use."""
        return {}

    def threads(self) -> int:
        """Return the library's number of threads."""
        return 1

    def spinning(self) -> str:
        """Return whether idle threads spin."""
        return "off"

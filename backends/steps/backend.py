"""The base of backends that run single steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from backends.steps import reference
from backends.steps.operations import Operation
from harness import Attestation, Backend, Cell, Model, Session, Source
from harness.inputs import batches
from harness.inputs.preprocessors import Implementation, chain
from harness.preprocess import Decode

if TYPE_CHECKING:
    from harness.core.session import Arrays


class StepSession(Session):
    """An operation on what is bound; `backend` says how its library takes arrays and gives them
    back.
    """

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
        made = reference.pad_to_shape(self.backend.on_host(self.result), spec)
        return {
            spec.name: np.ascontiguousarray(made, dtype=spec.dtype)
            if made.dtype.kind in "iu"
            else made
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
    """What the libraries share. `after` maps the operations behind a network to this library's
    functions.
    """

    steps = True
    runtime: ClassVar[str]
    pixels: ClassVar[type[Implementation]]
    after: ClassVar[Mapping[str, Operation]]

    def supports(self, cell: Cell) -> str:
        why = super().supports(cell)
        operation = reference.operation_of(cell.model)
        if why or operation in self.after:
            return why
        if operation != "photo":
            return f"{self.runtime} has no {operation or cell.model.build}; it does photo{''.join(f', {name}' for name in self.after)}"
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
        """In words, by which functions."""
        operation = reference.operation_of(model)
        if operation != "photo":
            return " ".join((self.after[operation].__doc__ or "").split())
        named = dict.fromkeys(
            type(step).__name__ for step in (model.recipe.steps if model.recipe else ())
        )
        return "; ".join(
            f"{name}: {self.pixels.does[name]}" for name in named if name in self.pixels.does
        )

    def configure(self, cell: Cell) -> None:
        """Set the library's threads, where it has any of its own."""

    def bound(self, array: Any) -> Any:
        """A host array as the library has it."""
        return array

    def on_host(self, result: Any) -> Any:
        """A result as an array that nothing writes to again."""
        return result

    def version(self) -> str:
        """As the loaded library says it."""
        raise NotImplementedError

    def libraries(self) -> Mapping[str, str]:
        """What else took part, and its version."""
        return {}

    def threads(self) -> int:
        """As the library says them."""
        return 1

    def spinning(self) -> str:
        """Whether idle threads spin."""
        return "off"

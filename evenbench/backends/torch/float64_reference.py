"""The golden of PyTorch models: the module in float64, eager, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends import flops
from evenbench.backends.torch import (
    backend,
    float64_mode,
    placement,
    tensor_specs,
    unsteadiness,
    weights,
)
from evenbench.backends.torch import model as torch_model
from evenbench.backends.torch import session as torch_session
from evenbench.harness import Cell, Golden, Model, Session, TensorSpec

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


class Float64Session(torch_session.TorchSession):
    """A session with floating inputs widened to float64, and float64 outputs."""

    def bind(self, inputs: Arrays) -> None:
        import torch

        super().bind(inputs)
        self.tensors = [
            value.double()
            if value.is_floating_point()
            else value.to(torch.complex128)
            if value.is_complex()
            else value
            for value in self.tensors
        ]

    def step(self) -> None:
        with float64_mode.wide():
            super().step()


class Reference(backend.StateDictBackend, Golden):
    """The golden of all PyTorch models, and the source of their weights."""

    name = "reference"
    kind = "float64 torch eager"
    samples = "evenbench.backends.torch_examples:samples"
    calibration = "evenbench.backends.torch_examples:calibration"
    yardstick = "torch-eager"

    def weights_key(self, model: Model) -> Mapping[str, Any] | None:
        return weights.weights_key(model)

    def materialise(
        self, model: Model, batches: Mapping[str, Path], folder: Path
    ) -> Mapping[str, Any]:
        return weights.materialise(model, batches, folder)

    def describe(self, model: Model) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        return tensor_specs.describe(model)

    def doubts(self, folder: Path, cell: Cell) -> str:
        return unsteadiness.cause(torch_model.load(folder, cell), placement.zeros(cell))

    def examples(self, model: Model) -> Mapping[str, Any]:
        return tensor_specs.examples(model)

    def work(self, session: Session) -> Mapping[str, Any]:
        assert isinstance(session, torch_session.TorchSession)
        count = flops.of_call(session.step, session.tensors)
        return flops.work(count, weights.read_per_step(session.call), None)

    def load(self, folder: Path, cell: Cell) -> Session:
        import torch

        placement.configure(cell)
        module = torch_model.load(folder, cell).double()
        # For tensors created by the module, such as a hidden state of zeros.
        torch.set_default_dtype(torch.float64)
        return Float64Session(module, cell, torch.inference_mode, labels=("golden",))

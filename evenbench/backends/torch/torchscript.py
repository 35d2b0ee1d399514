"""TorchScript: traced and frozen in prepare, optimised for inference in load.

PyTorch has deprecated TorchScript in favour of torch.export.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.torch import backend, model, outputs, placement, session
from evenbench.harness import Cell, Session, Source, Unsupported
from evenbench.harness.core.backend import Deployment

if TYPE_CHECKING:
    import torch

FILE = "model.torchscript.pt"

UNQUANTISED = (
    "TorchScript can neither trace torchao's quantised weights nor load an exported program; "
    "use torch-compile or torch-aot"
)


class ScriptSession(session.SharedSession):
    """A session on a frozen graph, with weights as constants instead of parameters."""

    def weights(self) -> list[torch.Tensor]:
        import torch

        tensors = [*super().weights(), *_constants(self.call.graph)]  # type: ignore[attr-defined]
        # A float64 constant beside narrower weights is a buffer, such as a table of means.
        narrower = [value for value in tensors if value.dtype != torch.float64]
        has_weights = any(value.is_floating_point() for value in narrower)
        return narrower if has_weights else tensors


def _read(file: Path, device: str) -> torch.jit.ScriptModule:
    """The traced module. Imports torchvision only if the graph calls operators of torchvision."""
    import torch

    try:
        return torch.jit.load(file, map_location=device)
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    import torchvision  # noqa: F401

    return torch.jit.load(file, map_location=device)


def _constants(graph: Any) -> Iterator[torch.Tensor]:
    """The constant tensors of the graph, including inner blocks."""
    import torch

    for node in graph.findAllNodes("prim::Constant", True):
        value = node.output().toIValue() if node.outputsSize() == 1 else None
        if isinstance(value, torch.Tensor) and value.ndim:  # scalars are arguments
            yield value


class TorchScript(backend.TorchBackend):
    """TorchScript as run by many C++ deployments, kept for comparison and labelled deprecated."""

    name = "torch-script"
    open_outputs = True
    without = {"int8-dynamic": UNQUANTISED, "int8-static": UNQUANTISED}

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return {"trace": "trace+freeze", **super().artifact_key(cell)}

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        import numpy as np
        import torch

        warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated.*")
        placement.configure(cell)
        module = placement.placed(
            outputs.in_declared_order(model.load(source.weights_folder, cell), cell.model), cell
        )
        examples = tuple(
            placement.bound(np.load(source.batches[spec.name])[0, ...], cell)
            for spec in cell.model.inputs
        )
        with torch.no_grad():
            traced = torch.jit.trace(module, examples, check_trace=False, strict=False)
            torch.jit.save(torch.jit.freeze(traced), folder / FILE)
        return {"format": "TorchScript", "made_by": "trace, freeze"}

    def deployment(self, cell: Cell) -> Deployment:
        if cell.precision != "fp32" or cell.options:
            raise Unsupported(
                "TorchScript programs support fp32 without options only; "
                "narrow types would need casts outside the graph"
            )
        if any(spec.is_open for spec in cell.model.outputs):
            raise Unsupported(
                "a detector in TorchScript calls operators of torchvision, "
                "and shipped TorchScript programs need torch alone"
            )
        settings = {"file": FILE, "inputs": [spec.name for spec in cell.model.inputs]}
        return Deployment(("torch",), "evenbench.backends.torch.deployed_network:Network", settings)

    def load(self, folder: Path, cell: Cell) -> Session:
        import torch

        warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated.*")
        placement.configure(cell)
        # Packed oneDNN weights cannot be saved, so a deployment runs this optimisation in load too.
        optimised = torch.jit.optimize_for_inference(_read(folder / FILE, cell.device))
        return ScriptSession(optimised, cell, torch.inference_mode, labels=("deprecated",))

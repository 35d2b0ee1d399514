"""PyTorch as it is written: the module called under `torch.inference_mode`, no compiler."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backends import torch_model
from harness import Backend, Cell, Session, Source


class TorchEager(Backend):
    """The baseline of every speed-up, and the yardstick of what a precision costs."""

    name = "torch-eager"
    requires = ("torch",)
    distributions = torch_model.DISTRIBUTIONS
    options = torch_model.OPTIONS

    def supports(self, cell: Cell) -> str:
        return super().supports(cell) or torch_model.supports_module(cell.model)

    def variables(self, cell: Cell) -> Mapping[str, str]:
        return torch_model.variables(cell)

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return {"format": "torch state dict", **torch_model.versions()}

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        torch_model.copy_weights(source, folder)
        return {"format": "state dict"}

    def load(self, folder: Path, cell: Cell) -> Session:
        import torch

        torch_model.configure(cell)
        return torch_model.TorchSession(torch_model.load(folder, cell), cell, torch.inference_mode)

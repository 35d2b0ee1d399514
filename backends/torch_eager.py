"""PyTorch as it is written: the module called under `torch.inference_mode`, no compiler."""

from __future__ import annotations

from pathlib import Path

from backends import torch_model, torch_session
from harness import Cell, Session


class TorchEager(torch_session.StateDictBackend):
    """The baseline of every speed-up, and the yardstick of what a precision costs."""

    name = "torch-eager"

    def load(self, folder: Path, cell: Cell) -> Session:
        import torch

        torch_session.configure(cell)
        return torch_session.TorchSession(torch_model.load(folder, cell), cell, torch.inference_mode)

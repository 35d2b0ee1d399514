"""PyTorch as it is written: the module called under `torch.inference_mode`, no compiler."""

from __future__ import annotations

from pathlib import Path

from backends.torch import backend, placement, session
from harness import Cell, Session

UNCOMPILED = "torchao's int8 is made to be compiled; in eager each of its steps is a kernel of its own. Ask torch-compile or torch-aot"


class TorchEager(backend.StateDictBackend):
    """The baseline of every speed-up, and the yardstick of what a precision costs."""

    name = "torch-eager"
    without = {"int8-dynamic": UNCOMPILED, "int8-static": UNCOMPILED}

    def load(self, folder: Path, cell: Cell) -> Session:
        import torch

        placement.configure(cell)
        return session.SharedSession(placement.module_of(folder, cell), cell, torch.inference_mode)

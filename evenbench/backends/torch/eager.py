"""PyTorch eager: the module called under `torch.inference_mode`, without a compiler."""

from __future__ import annotations

from pathlib import Path

from evenbench.backends.torch import backend, placement, session
from evenbench.harness import Cell, Session

UNCOMPILED = (
    "torchao's int8 is designed for compilers; in eager mode every quantisation step is a separate "
    "kernel. Use torch-compile or torch-aot"
)


class TorchEager(backend.StateDictBackend):
    """The baseline of every speed-up, and the yardstick of every precision."""

    name = "torch-eager"
    without = {"int8-dynamic": UNCOMPILED, "int8-static": UNCOMPILED}

    def load(self, folder: Path, cell: Cell) -> Session:
        import torch

        placement.configure(cell)
        return session.SharedSession(placement.module_of(folder, cell), cell, torch.inference_mode)

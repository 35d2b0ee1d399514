"""Placement of modules and tensors: threads, memory format, precision and device."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends import cuda_events
from evenbench.backends.torch import model as torch_model
from evenbench.backends.torch import precision as torch_precision
from evenbench.harness import Cell
from evenbench.harness.environment import gpu

if TYPE_CHECKING:
    import torch


FORMATS = ("contiguous", "channels_last")


def configure(cell: Cell) -> None:
    """Set the policies common to all runtimes: threads, fp32 arithmetic, preserved denormals."""
    import torch

    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    torch.set_num_threads(cell.threads)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
    torch.set_float32_matmul_precision("highest")
    if gpu.is_cuda(cell.device):
        cuda_events.allow_tf32(cell.precision == "tf32")
    torch.set_flush_denormal(False)
    torch.set_default_dtype(torch.float32)


def channels_last(cell: Cell) -> bool:
    """Whether images and weights have the channels innermost in memory."""
    return bool(cell.option.get("memory_format") == "channels_last")


def module_of(folder: Path, cell: Cell) -> torch.nn.Module:
    """The module with the weights in `folder`, in the cell's format, precision and device."""
    return placed(torch_model.load(folder, cell), cell)


def placed(module: torch.nn.Module, cell: Cell) -> torch.nn.Module:
    """`module` in the cell's memory format and precision, on the cell's device."""
    import torch

    laid_out = module.to(memory_format=torch.channels_last) if channels_last(cell) else module
    return torch_precision.narrowed(laid_out, cell.precision).to(cell.device)


def bound(array: Any, cell: Cell) -> torch.Tensor:
    """A host array as a tensor in the cell's format, on the device, without a copy if possible."""
    import torch

    tensor = torch.from_numpy(array)
    if gpu.is_cuda(cell.device):
        pinned = cell.option.get("pinned", False)
        tensor = (tensor.pin_memory() if pinned else tensor).to(cell.device, non_blocking=pinned)
    return (
        tensor.contiguous(memory_format=torch.channels_last)
        if channels_last(cell) and tensor.ndim == 4
        else tensor
    )


def zeros(cell: Cell) -> tuple[torch.Tensor, ...]:
    """A batch of zeros per declared input, bound like real inputs, for tracing and compiling."""
    import numpy as np

    return tuple(
        bound(np.zeros(spec.concrete(cell.batch), spec.dtype), cell) for spec in cell.model.inputs
    )

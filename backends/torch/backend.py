"""Backends that run in the process of torch, on the materialised weights of a module."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from backends.torch import model as torch_model
from backends.torch import placement, tensor_capture
from backends.torch.session import TorchSession
from harness import Backend, Cell, Session, Source
from harness.core import import_strings
from harness.core.intermediate_tensors import Exposed
from harness.environment import gpu, system_info

if TYPE_CHECKING:
    from harness.core.session import Arrays


class TorchBackend(Backend):
    """A runtime that runs in torch's own process, on the module's materialised weights."""

    requires = ("torch",)
    precisions = ("fp32", "tf32", "fp16", "bf16")
    devices = ("cpu", "cuda")
    distributions = torch_model.DISTRIBUTIONS
    environments = {"": torch_model.DISTRIBUTIONS}
    options = {
        "spinning": "'default' waits for the next parallel region as torch does, spinning; 'off' makes idle threads sleep",
        "memory_format": "'contiguous' (default), or 'channels_last' for weights and images of four dimensions",
        "pinned": "True copies inputs to a CUDA device by way of page-locked memory",
    }
    without: ClassVar[Mapping[str, str]] = {}
    """Why a precision cannot be had here, in words, for those that are not in `precisions`."""

    def supports(self, cell: Cell) -> str:
        refused = (
            self.without.get(cell.precision, "") if cell.precision not in self.precisions else ""
        )
        return (
            refused
            or super().supports(cell)
            or torch_model.supports_module(cell.model)
            or _refuses(cell)
        )

    def variables(self, cell: Cell) -> Mapping[str, str]:
        # The waiting policy has to be known before OpenMP starts.
        return system_info.PASSIVE if cell.option.get("spinning") == "off" else {}

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        """What decides the artifact besides weights, shapes and precision, for all that depend on
        more than the state dict.
        """
        return {
            "backend": self.name,
            "batch": cell.batch,
            "device": cell.device,
            "memory_format": placement.FORMATS[placement.channels_last(cell)],
            **torch_model.versions(),
        }


def _refuses(cell: Cell) -> str:
    """Why torch cannot run the cell whatever the backend, in words, or an empty string."""
    cuda = gpu.is_cuda(cell.device)
    if cell.precision == "tf32" and not cuda:
        return "tf32 is arithmetic of NVIDIA GPUs; ask for it on device cuda"
    if cell.option.get("pinned") and not cuda:
        return "pinned is about copies to a CUDA device, and means nothing on the CPU"
    asked = cell.option.get("memory_format", "contiguous")
    if asked not in placement.FORMATS:
        return f"memory_format is {' or '.join(placement.FORMATS)}, not {asked!r}"
    if asked == "channels_last" and not any(len(spec.shape) == 4 for spec in cell.model.inputs):
        return f"channels_last is for images, and {cell.model.name} declares no input of four dimensions"
    return ""


class StateDictBackend(TorchBackend):
    """One whose artifact is the state dict itself: nothing is exported or compiled ahead."""

    open_outputs = True

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return {"format": "torch state dict", **torch_model.versions()}

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        torch_model.copy_weights(source, folder)
        return {"format": "state dict"}

    def expose(
        self, folder: Path, cell: Cell, into: Path, only: Collection[str] | None, inputs: Arrays
    ) -> Exposed:
        shutil.copyfile(folder / torch_model.WEIGHTS, into / torch_model.WEIGHTS)
        session = self._watched(folder, cell, only)
        try:
            session.bind(inputs)
            session.step()
            session.sync()
            return Exposed(
                f"names of modules of {import_strings.portable(cell.model.build)}",
                tuple(session.within),
                unchanged=only is None,
            )
        finally:
            session.close()

    def watch(self, folder: Path, cell: Cell, names: Sequence[str]) -> Session:
        return self._watched(folder, cell, names)

    def _watched(
        self, folder: Path, cell: Cell, only: Collection[str] | None
    ) -> tensor_capture.WatchedSession:
        session = self.load(folder, cell)
        assert isinstance(session, TorchSession)
        return tensor_capture.WatchedSession(
            session, session.owner(), only, [spec.name for spec in cell.model.outputs]
        )

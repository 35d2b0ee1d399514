"""Base classes of the backends that run a module's materialised weights in torch's process."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evenbench.backends.torch import model as torch_model
from evenbench.backends.torch import operator_profile, placement, tensor_capture
from evenbench.backends.torch.session import TorchSession
from evenbench.harness import Backend, Cell, Session, Source
from evenbench.harness.core import import_strings
from evenbench.harness.core.intermediate_tensors import Exposed
from evenbench.harness.core.measurements import OperatorProfile
from evenbench.harness.environment import gpu, system_info

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays, Now


class TorchBackend(Backend):
    """A runtime inside torch's process, on the materialised weights of a module."""

    requires = ("torch",)
    precisions = ("fp32", "tf32", "fp16", "bf16")
    devices = ("cpu", "cuda")
    distributions = torch_model.DISTRIBUTIONS
    environments = {"": torch_model.DISTRIBUTIONS}
    options = {
        "spinning": (
            "'default': idle threads spin until the next parallel region, as in torch; "
            "'off': idle threads sleep"
        ),
        "memory_format": (
            "'contiguous' (default), or 'channels_last' for weights and images of four dimensions"
        ),
        "pinned": "True copies inputs to a CUDA device through page-locked memory",
    }
    without: ClassVar[Mapping[str, str]] = {}
    """Reasons for precisions missing from `precisions`."""

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
        # OpenMP reads the waiting policy once, when it starts.
        return system_info.PASSIVE if cell.option.get("spinning") == "off" else {}

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        """The part of the key common to artifacts compiled or traced for a device and batch."""
        return {
            "backend": self.name,
            "batch": cell.batch,
            "device": cell.device,
            "memory_format": placement.FORMATS[placement.channels_last(cell)],
            **torch_model.versions(),
        }

    def profile(self, folder: Path, cell: Cell, inputs: Arrays, now: Now) -> OperatorProfile:
        with closing(self.load(folder, cell)) as session:
            session.bind(inputs)
            return operator_profile.profile(session, gpu.is_cuda(cell.device), now)


def _refuses(cell: Cell) -> str:
    """The reason why no torch backend can run the cell, or an empty string."""
    cuda = gpu.is_cuda(cell.device)
    if cell.precision == "tf32" and not cuda:
        return "tf32 is arithmetic of NVIDIA GPUs; use device cuda"
    if cell.option.get("pinned") and not cuda:
        return "pinned applies to copies to a CUDA device, not to the CPU"
    memory_format = cell.option.get("memory_format", "contiguous")
    if memory_format not in placement.FORMATS:
        return f"memory_format is {' or '.join(placement.FORMATS)}, not {memory_format!r}"
    has_images = any(len(spec.shape) == 4 for spec in cell.model.inputs)
    if memory_format == "channels_last" and not has_images:
        no_images = f"{cell.model.name} declares no input of four dimensions"
        return f"channels_last is for images, and {no_images}"
    return ""


class StateDictBackend(TorchBackend):
    """A backend with the state dict as artifact: nothing is exported or compiled ahead."""

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

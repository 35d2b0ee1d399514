"""Modules as sessions: what every backend that runs in torch's own process shares."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends import torch_model
from harness import Attestation, Backend, Cell, Session, Source, environment

if TYPE_CHECKING:
    import torch

    from harness.backend import Arrays


def configure(cell: Cell) -> None:
    """Threads as the cell says, full fp32 and denormals kept: the policies that all runtimes share."""
    import torch

    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    torch.set_num_threads(cell.threads)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
    torch.set_float32_matmul_precision("highest")
    torch.set_flush_denormal(False)
    torch.set_default_dtype(torch.float32)


class TorchSession(Session):
    """Any callable of tensors as a session; `context` is entered around every step."""

    def __init__(self, call: Callable[..., Any], cell: Cell, context: Callable[[], Any], labels: tuple[str, ...] = ()) -> None:
        self.call = call
        self.cell = cell
        self.context = context
        self.labels = labels
        self.tensors: list[torch.Tensor] = []
        self.result: Any = None

    def bind(self, inputs: Arrays) -> None:
        import torch

        self.tensors = [torch.from_numpy(inputs[spec.name]) for spec in self.cell.model.inputs]

    def step(self) -> None:
        with self.context():
            self.result = self.call(*self.tensors)

    def fetch(self) -> Arrays:
        outputs = torch_model.named(self.result, self.cell.model.outputs, self.cell.model.name)
        return {name: value.detach().numpy() for name, value in outputs.items()}

    def attest(self) -> Attestation:
        import torch

        return Attestation(
            runtime="torch",
            version=torch.__version__,
            device=self._device(),
            precision=self._precision(),
            threads=torch.get_num_threads(),
            denormals=_denormals(),
            spinning="off" if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE" else "on",
            providers=(f"ATen {torch.backends.cpu.get_cpu_capability()}",),
            labels=self.labels,
            details=self.details(),
        )

    def details(self) -> dict[str, Any]:
        """What else the record should hold; subclasses add to it."""
        import torch

        return {
            "interop_threads": torch.get_num_interop_threads(),
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "mkldnn": torch.backends.mkldnn.is_available(),
            "mkldnn_fp32_precision": torch.backends.mkldnn.fp32_precision,
        }

    def parameters(self) -> list[torch.Tensor]:
        """The tensors whose dtype and device tell what runs."""
        owner = getattr(self.call, "parameters", None)
        return list(owner()) if owner else []

    def _device(self) -> str:
        outputs = torch_model.named(self.result, self.cell.model.outputs, self.cell.model.name).values()
        kinds = {value.device.type for value in (*self.parameters(), *outputs)}
        return ",".join(sorted(kinds))

    def _precision(self) -> str:
        """The floating dtypes of weights and outputs, and whether fp32 arithmetic may be narrowed, as read back."""
        import torch

        outputs = torch_model.named(self.result, self.cell.model.outputs, self.cell.model.name).values()
        kinds = {value.dtype for value in (*self.parameters(), *outputs) if value.is_floating_point()}
        names = {torch.float64: "fp64", torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
        found = ",".join(sorted(names.get(kind, str(kind)) for kind in kinds))
        narrowed = torch.get_float32_matmul_precision() != "highest" or torch.backends.mkldnn.fp32_precision in ("bf16", "tf32")
        return "fp32 narrowed" if found == "fp32" and narrowed else found

    def close(self) -> None:
        self.result = None
        self.tensors = []


def _denormals() -> str:
    """Found out by multiplying one: torch has no way to ask."""
    import torch

    return "preserved" if float(torch.tensor([1e-39]) * torch.tensor([1.0])) != 0.0 else "flushed"


class TorchBackend(Backend):
    """A runtime that runs in torch's own process, on the module's materialised weights."""

    requires = ("torch",)
    distributions = torch_model.DISTRIBUTIONS
    environments = {"": torch_model.DISTRIBUTIONS}
    options = {"spinning": "'default' waits for the next parallel region as torch does, spinning; 'off' makes idle threads sleep"}

    def supports(self, cell: Cell) -> str:
        return super().supports(cell) or torch_model.supports_module(cell.model)

    def variables(self, cell: Cell) -> Mapping[str, str]:
        # The waiting policy has to be known before OpenMP starts.
        return environment.PASSIVE if cell.option.get("spinning") == "off" else {}


class StateDictBackend(TorchBackend):
    """One whose artifact is the state dict itself: nothing is exported or compiled ahead."""

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return {"format": "torch state dict", **torch_model.versions()}

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        torch_model.copy_weights(source, folder)
        return {"format": "state dict"}

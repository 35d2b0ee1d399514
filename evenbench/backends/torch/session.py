"""Sessions on callables of torch tensors, shared by all backends inside torch's process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from evenbench.backends import cuda_events
from evenbench.backends.torch import outputs, placement
from evenbench.backends.torch import precision as torch_precision
from evenbench.harness import Attestation, Cell, Session, Unsupported
from evenbench.harness.environment import gpu

if TYPE_CHECKING:
    import torch

    from evenbench.harness.core.session import Arrays


class TorchSession(Session):
    """A session on a callable of tensors; every step runs inside `context`."""

    def __init__(
        self,
        call: Callable[..., Any],
        cell: Cell,
        context: Callable[[], Any],
        labels: tuple[str, ...] = (),
    ) -> None:
        self.call = call
        self.cell = cell
        self.context = context
        self.labels = labels
        self.tensors: list[torch.Tensor] = []
        self.result: Any = None
        self.events = cuda_events.TorchEvents(cell.device) if gpu.is_cuda(cell.device) else None
        if self.events:
            self.inner, self.inner_clock = "device", cuda_events.CLOCK

    def bind(self, inputs: Arrays) -> None:
        self.tensors = [
            placement.bound(inputs[spec.name], self.cell) for spec in self.cell.model.inputs
        ]
        self.sync()  # pending copies to the device must not count as part of the next step

    def step(self) -> None:
        if self.events:
            self.events.start()
        with self.context():
            self.result = self.call(*self.tensors)
        if self.events:
            self.events.stop()

    def sync(self) -> None:
        if self.events:
            self.events.synchronize()

    def inner_ns(self) -> int:
        return self.events.ns() if self.events else super().inner_ns()

    def fetch(self) -> Arrays:
        self._refuse_written_inputs()
        lasting = self._lasting.union(map(_storage, self.tensors))
        return {name: _on_host(value.detach(), lasting) for name, value in self._outputs().items()}

    def _outputs(self) -> dict[str, torch.Tensor]:
        return outputs.named(self.result, self.cell.model.outputs, self.cell.model.name)

    def _refuse_written_inputs(self) -> None:
        """Raise RuntimeError if a step wrote to an input, because later steps would differ."""
        for spec, tensor in zip(self.cell.model.inputs, self.tensors, strict=True):
            if tensor._version:
                raise RuntimeError(written(self.cell.model.name, spec.name))

    @cached_property
    def _lasting(self) -> frozenset[int]:
        """The storages of weights and buffers: a later step may overwrite outputs in a storage."""
        return frozenset(map(_storage, self.held()))

    def held(self) -> Iterable[torch.Tensor]:
        """The tensors with a lifetime beyond a step."""
        owner = self.owner()
        return (*owner.parameters(), *owner.buffers()) if owner else ()

    def owner(self) -> Any:
        """The module with the weights in use, or None if the callable is not a module."""
        return self.call if hasattr(self.call, "parameters") else None

    def weights(self) -> list[torch.Tensor]:
        """The weights in use, evidence of dtype and device."""
        return list(self.owner().parameters()) if self.owner() else []

    def attest(self) -> Attestation:
        import torch

        return Attestation(
            runtime="torch",
            version=torch.__version__,
            device=self._device(),
            precision=self.precision(),
            threads=torch.get_num_threads(),
            denormals=_denormals(),
            spinning="off" if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE" else "on",
            providers=("CUDA",)
            if self.events
            else (f"ATen {torch.backends.cpu.get_cpu_capability()}",),
            emulated=torch_precision.emulated(self.precision(), self._device()),
            labels=self.labels,
            details=self.details(),
        )

    def details(self) -> dict[str, Any]:
        """Further facts for the record. Subclasses add their own."""
        import torch

        switches = {"tf32_switches": cuda_events.tf32_switches()} if self.events else {}
        return {
            "interop_threads": torch.get_num_interop_threads(),
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "mkldnn": torch.backends.mkldnn.is_available(),
            "mkldnn_fp32_precision": torch.backends.mkldnn.fp32_precision,
            "memory_format": self._format(),
            **switches,
        }

    def _format(self) -> str:
        """The memory format of images and weights, as read back.

        Tensors with a single channel or pixel are left out: both formats are equal.
        """
        import torch

        tensors = [
            tensor
            for tensor in (*self.tensors, *self.weights())
            if tensor.ndim == 4 and not tensor.is_mkldnn and not tensor.is_contiguous()
        ]
        return placement.FORMATS[
            any(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in tensors)
        ]

    def _device(self) -> str:
        """The devices of weights and outputs, named as in cells."""
        devices = {value.device for value in (*self.weights(), *self._outputs().values())}
        names = {
            cuda_events.device_name(self.cell.device, device.index or 0)
            if device.type == "cuda"
            else device.type
            for device in devices
        }
        return ",".join(sorted(names))

    def precision(self) -> str:
        """The floating types of the weights, or of the outputs without weights, as read back.

        For fp32, the precision is the arithmetic of fp32 tensors.
        """
        types = torch_precision.named(
            value.dtype for value in self.weights() or self._outputs().values()
        )
        return self.arithmetic() if types == "fp32" else types

    def arithmetic(self) -> str:
        """The arithmetic of fp32 tensors: `fp32`, `tf32`, or `fp32 narrowed` by a CPU switch."""
        import torch

        if self.events:
            return cuda_events.fp32_arithmetic()
        narrowed = (
            torch.get_float32_matmul_precision() != "highest"
            or torch.backends.mkldnn.fp32_precision in ("bf16", "tf32")
        )
        return "fp32 narrowed" if narrowed else "fp32"

    def close(self) -> None:
        self.result = None
        self.tensors = []


class SharedSession(TorchSession):
    """A session on a network without state, such as a module in eval mode or a frozen graph.

    Several threads may call such a network at once.
    """

    def beside(self) -> Session:
        if self.events:
            raise Unsupported(
                "threads on one CUDA stream wait for each other's work; "
                "use larger batches on a CUDA device"
            )
        return type(self)(self.call, self.cell, self.context, self.labels)


def written(model: str, tensor: str) -> str:
    """The reason why a model with changing inputs cannot be measured."""
    return (
        f"the model writes to its input: {model} changes {tensor} in place, so every step would "
        "compute on values left by the step before; copy the input first, as in x = x.clone()"
    )


def _storage(tensor: torch.Tensor) -> int:
    """The address of the tensor's memory; 0 for subclasses such as quantised weights."""
    import torch

    return (
        tensor.untyped_storage().data_ptr()
        if type(tensor) in (torch.Tensor, torch.nn.Parameter)
        else 0
    )


def _on_host(value: torch.Tensor, lasting: frozenset[int]) -> Any:
    """The tensor as a numpy array in C order, safe from later writes.

    Outputs in host memory are copied only if the storage is one of `lasting`.
    """
    host = value.cpu().contiguous()
    return (host.clone() if _storage(host) in lasting else host).numpy()


def _denormals() -> str:
    """The treatment of denormals, determined by a multiplication: torch has no query."""
    import torch

    return "preserved" if float(torch.tensor([1e-39]) * torch.tensor([1.0])) != 0.0 else "flushed"

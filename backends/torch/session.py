"""Modules as sessions: what every backend that runs in torch's own process shares."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from backends import cuda_events
from backends.torch import outputs, placement
from backends.torch import precision as torch_precision
from harness import Attestation, Cell, Session, Unsupported
from harness.environment import gpu

if TYPE_CHECKING:
    import torch

    from harness.core.session import Arrays


class TorchSession(Session):
    """Any callable of tensors as a session; `context` is entered around every step."""

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
        self.sync()  # a copy to the device may still be under way, and belongs to `host_to_host` alone

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
        """Raises RuntimeError where a step changed what is bound: every later one would compute
        something else.
        """
        for spec, tensor in zip(self.cell.model.inputs, self.tensors, strict=True):
            if tensor._version:
                raise RuntimeError(written(self.cell.model.name, spec.name))

    @cached_property
    def _lasting(self) -> frozenset[int]:
        """Where the memory of weights and buffers is: an output that lies there may be written to
        by a later step.
        """
        return frozenset(map(_storage, self.held()))

    def held(self) -> Iterable[torch.Tensor]:
        """The tensors that outlive a step."""
        owner = self.owner()
        return (*owner.parameters(), *owner.buffers()) if owner else ()

    def owner(self) -> Any:
        """The module whose weights tell what runs, or None where there is none to ask."""
        return self.call if hasattr(self.call, "parameters") else None

    def weights(self) -> list[torch.Tensor]:
        """The tensors whose dtype and device tell what runs."""
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
        """What else the record should hold; subclasses add to it."""
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
        """The memory format as images and weights lie: those of one channel, or of one pixel, lie
        the same in both.
        """
        import torch

        lying = [
            each
            for each in (*self.tensors, *self.weights())
            if each.ndim == 4 and not each.is_mkldnn and not each.is_contiguous()
        ]
        return placement.FORMATS[
            any(each.is_contiguous(memory_format=torch.channels_last) for each in lying)
        ]

    def _device(self) -> str:
        """Where weights and outputs lie, in the words of the cell."""
        found = {value.device for value in (*self.weights(), *self._outputs().values())}
        names = {
            cuda_events.device_name(self.cell.device, each.index or 0)
            if each.type == "cuda"
            else each.type
            for each in found
        }
        return ",".join(sorted(names))

    def precision(self) -> str:
        """The floating types of the weights, or of the outputs where there are none, and what fp32
        is computed in, as read back.
        """
        found = torch_precision.named(
            value.dtype for value in self.weights() or self._outputs().values()
        )
        return self.arithmetic() if found == "fp32" else found

    def arithmetic(self) -> str:
        """What fp32 tensors are computed in here: `fp32`, `tf32`, or `fp32 narrowed` where a switch
        allows less on the CPU.
        """
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
    """A network that a step only reads, as a module in eval mode is and a frozen graph, so that
    several threads may call it.
    """

    def beside(self) -> Session:
        if self.events:
            raise Unsupported(
                "threads on one CUDA stream wait for each other's work; on a device, ask for larger batches instead"
            )
        return type(self)(self.call, self.cell, self.context, self.labels)


def written(model: str, tensor: str) -> str:
    """Why a model that changes its input cannot be measured, in words."""
    return (
        f"the model writes to its input: {model} changes {tensor} in place, so that each step would compute on what the step before "
        "left there; make it work on a copy, as in x = x.clone()"
    )


def _storage(tensor: torch.Tensor) -> int:
    """Where the tensor's memory begins; 0 where it has none of its own, as that of a quantised
    weight.
    """
    import torch

    return (
        tensor.untyped_storage().data_ptr()
        if type(tensor) in (torch.Tensor, torch.nn.Parameter)
        else 0
    )


def _on_host(value: torch.Tensor, lasting: frozenset[int]) -> Any:
    """The tensor as a numpy array in C order that nothing writes to again: a copy only where it
    lies on a device or is not its own.
    """
    there = value.cpu().contiguous()
    return (there.clone() if _storage(there) in lasting else there).numpy()


def _denormals() -> str:
    """Found out by multiplying one: torch has no way to ask."""
    import torch

    return "preserved" if float(torch.tensor([1e-39]) * torch.tensor([1.0])) != 0.0 else "flushed"

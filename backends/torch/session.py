"""Modules as sessions: what every backend that runs in torch's own process shares."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from backends import cuda_events
from backends.torch import model as torch_model
from backends.torch import precision as torch_precision
from backends.torch import tensor_capture
from harness import Attestation, Backend, Cell, Session, Source, Unsupported
from harness.core import import_strings
from harness.core.intermediate_tensors import Exposed
from harness.environment import gpu, system_info

if TYPE_CHECKING:
    import torch

    from harness.core.session import Arrays

FORMATS = ("contiguous", "channels_last")


def configure(cell: Cell) -> None:
    """Threads as the cell says, fp32 arithmetic as its precision says, denormals kept: the policies
    that all runtimes share.
    """
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
    """Whether the cell's images and their weights lie with the channels innermost in memory."""
    return bool(cell.option.get("memory_format") == "channels_last")


def module_of(folder: Path, cell: Cell) -> torch.nn.Module:
    """The module with the weights in `folder`, laid out, narrowed and placed as the cell asks."""
    return placed(torch_model.load(folder, cell), cell)


def placed(module: torch.nn.Module, cell: Cell) -> torch.nn.Module:
    """`module` in the cell's memory format and precision, on its device."""
    import torch

    laid_out = module.to(memory_format=torch.channels_last) if channels_last(cell) else module
    return torch_precision.narrowed(laid_out, cell.precision).to(cell.device)


def bound(array: Any, cell: Cell) -> torch.Tensor:
    """A host array as the network wants it: on the cell's device, in its memory format. The array
    itself where that is so already.
    """
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
    """One batch of zeros per declared input, bound as real ones are: what tracing and compiling
    specialise on.
    """
    import numpy as np

    return tuple(
        bound(np.zeros(spec.concrete(cell.batch), spec.dtype), cell) for spec in cell.model.inputs
    )


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
        self.tensors = [bound(inputs[spec.name], self.cell) for spec in self.cell.model.inputs]
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
        return torch_model.named(self.result, self.cell.model.outputs, self.cell.model.name)

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
        return FORMATS[any(each.is_contiguous(memory_format=torch.channels_last) for each in lying)]

    def _device(self) -> str:
        """Where weights and outputs lie, in the words of the cell."""
        found = {value.device for value in (*self.weights(), *self._outputs().values())}
        names = {
            cuda_events.named(self.cell.device, each.index or 0)
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
            "memory_format": FORMATS[channels_last(cell)],
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
    if asked not in FORMATS:
        return f"memory_format is {' or '.join(FORMATS)}, not {asked!r}"
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

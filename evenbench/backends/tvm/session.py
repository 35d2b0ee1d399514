"""Sessions of TVM's Relax virtual machine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends import cuda_events
from evenbench.backends.tvm import precision
from evenbench.harness import Attestation, Cell, Session
from evenbench.harness.environment import gpu

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

LIBRARY, PROBE, FACTS = "model.so", "probe.so", "tvm.json"
SPIN_COUNT = "TVM_THREAD_POOL_SPIN_COUNT"


class RelaxSession(Session):
    """A virtual machine; `bind` copies inputs to the device, `fetch` copies outputs back."""

    def __init__(self, folder: Path, cell: Cell) -> None:
        import tvm
        from tvm import relax

        self.cell = cell
        self.tvm = tvm
        self.device = tvm.cuda(gpu.index(cell.device)) if gpu.is_cuda(cell.device) else tvm.cpu()
        self.facts = json.loads((folder / FACTS).read_text())
        self.probe = folder / PROBE
        self.machine: Any = relax.VirtualMachine(
            tvm.runtime.load_module(str(folder / LIBRARY)), self.device
        )
        self.main = self.machine["main"]
        self.inputs = [
            tvm.runtime.empty(spec.concrete(cell.batch), spec.dtype, self.device)
            for spec in cell.model.inputs
        ]
        self.result: Any = None

    def bind(self, inputs: Arrays) -> None:
        for spec, tensor in zip(self.cell.model.inputs, self.inputs, strict=True):
            tensor.copyfrom(inputs[spec.name])
        self.sync()

    def step(self) -> None:
        self.result = self.main(*self.inputs)

    def sync(self) -> None:
        if gpu.is_cuda(self.cell.device):
            self.device.sync()

    def fetch(self) -> Arrays:
        return {
            spec.name: tensor.numpy()
            for spec, tensor in zip(self.cell.model.outputs, self._outputs(), strict=True)
        }

    def _outputs(self) -> list[Any]:
        single = hasattr(self.result, "numpy")
        return [self.result] if single else list(self.result)

    def attest(self) -> Attestation:
        tuning = self.facts["tuning"]
        executed = precision.precision_of(self.facts["dtypes"])
        return Attestation(
            runtime="tvm",
            version=self.tvm.__version__,
            device=",".join(
                sorted({_device_name(tensor, self.cell.device) for tensor in self._outputs()})
            ),
            precision=executed,
            threads=int(self.tvm.get_global_func("runtime.NumThreads")()),
            denormals=self._denormals(),
            spinning="off" if os.environ.get(SPIN_COUNT) == "0" else "on",
            providers=("relax virtual machine",),
            emulated=precision.emulation(executed, self.cell.device),
            labels=(tuning_label(tuning),),
            details={
                "target": tuning["target"],
                "tasks": tuning["tasks"],
                "tasks_without_record": tuning["tasks_without_record"],
                "dtypes": self.facts["dtypes"],
                "spin_count": os.environ.get(SPIN_COUNT, "TVM's default"),
            },
        )

    def _denormals(self) -> str:
        """Probe every thread of TVM's pool with a product of denormals in compiled code."""
        import numpy as np

        if gpu.is_cuda(self.cell.device):
            return "as its kernels do"
        threads = self.cell.threads
        product = self.tvm.runtime.load_module(str(self.probe))["main"]
        factors = [
            self.tvm.runtime.tensor(np.full(threads, value, np.float32)) for value in (1e-39, 1.0)
        ]
        products = self.tvm.runtime.empty((threads,), "float32")
        product(*factors, products)
        return "preserved" if products.numpy().all() else "flushed"

    def close(self) -> None:
        self.result = None
        self.machine = self.main = None
        self.inputs = []


def _device_name(tensor: Any, requested: str) -> str:
    """Return a tensor's device, named as in the cell."""
    kind, _, number = str(tensor.device).partition(":")
    return cuda_events.device_name(requested, int(number or 0)) if kind == "cuda" else kind


def tuning_label(tuning: Mapping[str, Any]) -> str:
    """Return `untuned`, `tuned(640)`, or `tuned(64), 3 of 19 tasks not`."""
    if not tuning["trials"]:
        return "untuned"
    missing = (
        f", {tuning['tasks_without_record']} of {tuning['tasks']} tasks not"
        if tuning["tasks_without_record"]
        else ""
    )
    return f"tuned({tuning['trials']}){missing}"

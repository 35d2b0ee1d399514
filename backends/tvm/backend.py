"""Apache TVM's Relax virtual machine, always labelled by how far its schedules are tuned: an
untuned number is not "TVM".
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends import cuda_events
from backends.onnx import backend as onnx_backend
from backends.onnx import conversion as onnx_conversion
from backends.onnx import export
from backends.torch import exported_files, model
from backends.torch import precision as torch_precision
from backends.tvm import compilation, tuning_database
from backends.tvm import tuning as tvm_tuning
from harness import Attestation, Cell, Session, Source
from harness.core import artifact_store
from harness.core.backend import Tunable
from harness.environment import gpu, system_info
from harness.inputs import batches

if TYPE_CHECKING:
    from harness.core.session import Arrays

LIBRARY, PROBE, FACTS = "model.so", "probe.so", "tvm.json"
SPINS = "TVM_THREAD_POOL_SPIN_COUNT"

REFUSED: Mapping[str, str] = {
    "tf32": "tvm has no TF32 on its own kernels",
    "bf16": "tvm narrows to fp16 only: its mixed-precision pass takes no bfloat16",
    "int8-dynamic": "tvm reads quantised graphs with ranges that are known ahead; ask for int8-static",
}


def database_of(cell: Cell) -> Path:
    """The folder of the cell's tuning records, for this processor, these threads and this TVM.
    Imports nothing of TVM.
    """
    parts = {
        "model": cell.model.fingerprint,
        "batch": cell.batch,
        "threads": cell.threads,
        "device": cell.device,
        "machine": _machine(),
        "tvm": batches.version_of("apache-tvm"),
        **({} if cell.precision == "fp32" else {"precision": cell.precision}),
    }
    return artifact_store.root() / "tuning" / "tvm" / artifact_store.key_of(parts)


def _machine() -> list[Any]:
    """What kernels are compiled for."""
    described = system_info.describe()
    return [described["cpu"], described["cpu_flags"], described["gpus"]]


class RelaxSession(Session):
    """One virtual machine. `bind` copies into tensors of the device, `fetch` copies out."""

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
        precision = precision_of(self.facts["dtypes"])
        return Attestation(
            runtime="tvm",
            version=self.tvm.__version__,
            device=",".join(
                sorted({_device_of(tensor, self.cell.device) for tensor in self._outputs()})
            ),
            precision=precision,
            threads=int(self.tvm.get_global_func("runtime.NumThreads")()),
            denormals=self._denormals(),
            spinning="off" if os.environ.get(SPINS) == "0" else "on",
            providers=("relax virtual machine",),
            emulated=emulated(precision, self.cell.device),
            labels=(label(tuning),),
            details={
                "target": tuning["target"],
                "tasks": tuning["tasks"],
                "tasks_without_record": tuning["tasks_without_record"],
                "dtypes": self.facts["dtypes"],
                "spin_count": os.environ.get(SPINS, "TVM's default"),
            },
        )

    def _denormals(self) -> str:
        """Found out by multiplying one in every thread of TVM's pool, in code that was compiled as
        the model's.
        """
        import numpy as np

        if gpu.is_cuda(self.cell.device):
            return "as its kernels do"
        threads = self.cell.threads
        product = self.tvm.runtime.load_module(str(self.probe))["main"]
        factors = [
            self.tvm.runtime.tensor(np.full(threads, value, np.float32)) for value in (1e-39, 1.0)
        ]
        made = self.tvm.runtime.empty((threads,), "float32")
        product(*factors, made)
        return "preserved" if made.numpy().all() else "flushed"

    def close(self) -> None:
        self.result = None
        self.machine = self.main = None
        self.inputs = []


def _device_of(tensor: Any, asked: str) -> str:
    """Where a tensor lies, in the words of the cell."""
    kind, _, number = str(tensor.device).partition(":")
    return cuda_events.device_name(asked, int(number or 0)) if kind == "cuda" else kind


def label(tuning: Mapping[str, Any]) -> str:
    """`untuned`, `tuned(640)`, or `tuned(64), 3 of 19 tasks not`."""
    if not tuning["trials"]:
        return "untuned"
    missing = (
        f", {tuning['tasks_without_record']} of {tuning['tasks']} tasks not"
        if tuning["tasks_without_record"]
        else ""
    )
    return f"tuned({tuning['trials']}){missing}"


def precision_of(dtypes: Iterable[str]) -> str:
    """In the words of a cell, what kernels compute on that touch these dtypes: the narrowest of
    them decides.
    """
    found = set(dtypes)
    if found & {"int8", "uint8"}:
        return "int8-static"
    floats = {torch_precision.NAMES.get(name, name) for name in found if "float" in name}
    return "fp16" if "fp16" in floats else ",".join(sorted(floats))


def emulated(precision: str, device: str) -> str:
    """In words, where a precision is that of storage; an empty string where it is that of the
    arithmetic as well.
    """
    if precision == "int8-static":
        return "values are stored in 8 bits and widened to fp32 before every product"
    return torch_precision.emulated(precision, device)


class Tvm(Tunable):
    """PyTorch module or quantised ONNX file to Relax, ahead of time; the schedules are those that
    `evenbench tune` has found so far.
    """

    name = "tvm"
    requires = ("tvm",)
    precisions = ("fp32", "fp16", "int8-static")
    devices = ("cpu", "cuda")
    distributions = ("apache-tvm", "apache-tvm-ffi", "torch")
    options = {
        "spinning": "'default' lets TVM's idle threads spin for a while; 'off' makes them sleep at once"
    }

    def supports(self, cell: Cell) -> str:
        refused = REFUSED.get(cell.precision, "")
        refused = refused or super().supports(cell) or model.supports_module(cell.model)
        return refused or exported_files.refuses(cell.model) or onnx_conversion.refuses(cell)

    def lacks(self, cell: Cell) -> str:
        return onnx_conversion.lacks(cell) if cell.precision == "int8-static" else ""

    def variables(self, cell: Cell) -> Mapping[str, str]:
        # TVM takes half of the cores where it is not told, and pins the main thread unless it is
        # forbidden to.
        spinning = {SPINS: "0"} if cell.option.get("spinning") == "off" else {}
        return {
            "TVM_NUM_THREADS": str(cell.threads),
            "TVM_BIND_THREADS": "0",
            **spinning,
            **onnx_backend.QUIET,
        }

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        records = database_of(cell) / tuning_database.RECORDS
        return {
            "format": "tvm library",
            "threads": cell.threads,
            "device": cell.device,
            "machine": _machine(),
            "records": artifact_store.digest_file(records) if records.exists() else "",
            **{name: batches.version_of(name) for name in ("apache-tvm", "apache-tvm-ffi")},
            **(export.key(cell) if cell.precision == "int8-static" else model.versions()),
        }

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        compilation.lighten()
        target = compilation.target_of(cell)
        ir = compilation.imported(source, cell, target)
        with tempfile.TemporaryDirectory() as copy:
            database = tuning_database.copied(
                database_of(cell), Path(copy)
            )  # of one moment, whatever a tuner does meanwhile
            tuning = tvm_tuning.facts(database, compilation.tasks_of(ir, target), target)
            dtypes = compilation.compiled(
                ir, target, database if tuning["trials"] else None, folder / LIBRARY
            )
        if not gpu.is_cuda(cell.device):
            compilation.probe(cell.threads, target, folder / PROBE)
        (folder / FACTS).write_text(json.dumps({"tuning": tuning, "dtypes": dtypes}))
        return {"format": "tvm shared library", "dtypes": dtypes, "tuning": tuning}

    def load(self, folder: Path, cell: Cell) -> Session:
        # The thread pool reads them once, when it is first used; a worker has them already, a
        # notebook has not.
        os.environ.update(self.variables(cell))
        return RelaxSession(folder, cell)

    def tune(self, source: Source, cell: Cell, per_task: int) -> Mapping[str, Any]:
        return tvm_tuning.tune(source, cell, database_of(cell), per_task)

    def trials(self, cell: Cell) -> tuple[int, int]:
        return tuning_database.trials(database_of(cell)), tuning_database.wanted(database_of(cell))

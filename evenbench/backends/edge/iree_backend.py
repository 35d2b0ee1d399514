"""The backend `iree`: the shared ONNX file compiled by MLIR into code for this processor."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.edge import backend
from evenbench.harness import Attestation, Cell, Session, Unsupported
from evenbench.harness.environment import system_info
from evenbench.harness.inputs import batches

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

FILE = "model.vmfb"
PROBE = "denormals.vmfb"
"""The network of `backend.probe_cell`, compiled like the model."""

DISPATCH = re.compile(rb"\w+\$async_dispatch_\d+_(\w+)")
"""Names of the compiled kernels in the file; they end with the types of their arithmetic."""

TYPES = {"f64": "fp64", "f32": "fp32", "f16": "fp16", "bf16": "bf16"}
"""Precisions by the types in names of kernels."""

OPERATOR = re.compile(r"failed to legalize operation '([\w.]+)'(?:.*?\"(onnx\.\w+)\")?", re.DOTALL)

FLAGS = (
    "--iree-input-type=onnx",
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
)


class Iree(backend.ConvertingBackend):
    """IREE on the CPU drivers: `local-sync` for a single thread, `local-task` for several."""

    name = "iree"
    requires = ("iree.runtime", "iree.compiler")
    distributions = (
        "iree-base-compiler",
        "iree-base-runtime",
        *backend.ConvertingBackend.distributions,
    )
    converter = "iree-base-compiler"

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return {**super().artifact_key(cell), "cpu_flags": system_info.describe()["cpu_flags"]}

    def convert(self, file: Path, cell: Cell, folder: Path) -> Mapping[str, Any]:
        compiled(file, folder / FILE)
        with tempfile.TemporaryDirectory() as temporary:
            probe = Path(temporary, "probe.onnx")
            backend.write_probe(probe)
            compiled(probe, folder / PROBE)
        return {"format": "IREE module"}

    def load(self, folder: Path, cell: Cell) -> Session:
        # The flags are the process's, and must be set before the driver exists.
        from iree.runtime import flags

        flags.parse_flags(f"--task_topology_group_count={cell.threads}")
        return IreeSession(folder / FILE, cell)


def compiled(file: Path, into: Path) -> None:
    """Compile an ONNX file for this processor. Raises Unsupported with the operator."""
    importer = [sys.executable, "-m", "iree.compiler.tools.import_onnx", str(file), "-o"]
    compiler = [sys.executable, "-m", "iree.compiler.tools.scripts.iree_compile"]
    with tempfile.TemporaryDirectory() as folder:
        graph = str(Path(folder, "model.mlir"))
        _run([*importer, graph])
        _run([*compiler, graph, *FLAGS, "-o", str(into)])


def _run(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        unknown = sorted({onnx or name for name, onnx in OPERATOR.findall(done.stderr)})
        tail = " ".join(done.stderr.split())[-300:]
        reason = f"operators {', '.join(unknown)}" if unknown else tail
        raise Unsupported(f"IREE cannot compile this network: {reason}")


class IreeSession(Session):
    """A loaded module. `bind` copies inputs into IREE's buffers, `fetch` copies outputs out."""

    def __init__(self, file: Path, cell: Cell) -> None:
        import iree.runtime as iree

        self.iree, self.cell, self.file = iree, cell, file
        self.driver = "local-sync" if cell.threads == 1 else "local-task"
        self.config: Any = iree.Config(self.driver)
        binary = iree.VmModule.mmap(self.config.vm_instance, str(file))
        module = iree.load_vm_module(binary, self.config)
        (name,) = (
            name
            for name in module.vm_module.function_names
            if "$" not in name and not name.startswith("__")
        )
        self.function = module.vm_module.lookup_function(name)
        self.context = module._context.vm_context
        self.arguments: Any = None
        self.results: Any = None

    def bind(self, inputs: Arrays) -> None:
        device = self.config.device
        self.arguments = self.iree.VmVariantList(len(inputs))
        for spec in self.cell.model.inputs:
            array = self.iree.asdevicearray(device, inputs[spec.name])
            self.arguments.push_ref(array._buffer_view)

    def step(self) -> None:
        self.results = self.iree.VmVariantList(len(self.cell.model.outputs))
        self.context.invoke(self.function, self.arguments, self.results)

    def fetch(self) -> Arrays:
        device, fetched = self.config.device, {}
        for place, spec in enumerate(self.cell.model.outputs):
            view = self.results.get_as_object(place, self.iree.HalBufferView)
            fetched[spec.name] = self.iree.DeviceArray(device, view).to_host().astype(spec.dtype)
        return fetched

    def attest(self) -> Attestation:
        kernels = [name.decode() for name in sorted(set(DISPATCH.findall(self.file.read_bytes())))]
        types = {TYPES[word] for name in kernels for word in name.split("_") if word in TYPES}
        return Attestation(
            runtime="iree",
            version=batches.version_of("iree-base-runtime"),
            device="cpu",
            precision=",".join(sorted(types)) or "fp32",
            threads=_workers() or 1,
            denormals=self._denormals(),
            spinning="no pool" if self.driver == "local-sync" else "runtime default",
            providers=(self.driver,),
            placement={"kernels": len(kernels)},
            details={"kernels": Counter(kernels)},
        )

    def _denormals(self) -> str:
        cell = backend.probe_cell(self.cell)
        return backend.denormals(IreeSession(self.file.with_name(PROBE), cell))

    def close(self) -> None:
        self.arguments = self.results = self.function = self.context = None


def _workers() -> int:
    """The number of threads in IREE's pool, by the names of this process's threads."""
    names = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
    return sum(name.startswith("iree-worker-") for name in names)

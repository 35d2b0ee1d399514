"""The backend `executorch`: PyTorch's runtime for boards, on XNNPACK or portable kernels."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.edge import pte_files
from evenbench.backends.torch import backend, int8, outputs, placement, session
from evenbench.backends.torch.files import exported_files
from evenbench.harness import Attestation, Cell, Session, Source, Unsupported, UsageError
from evenbench.harness.inputs import batches

if TYPE_CHECKING:
    import torch

    from evenbench.harness.core.session import Arrays

FILE = "model.pte"
PROBE = "denormals.pte"
"""A network that multiplies numbers by 1.25, lowered like the model: see `_denormals`."""

KERNELS = ("xnnpack", "portable")


class ExecuTorch(backend.TorchBackend):
    """A program exported by torch.export, delegated to XNNPACK as far as the partitioner goes."""

    name = "executorch"
    requires = ("torch", "executorch")
    precisions = ("fp32", *int8.PRECISIONS)
    devices = ("cpu",)
    distributions = ("executorch", int8.DISTRIBUTION, *backend.TorchBackend.distributions)
    environments = {"": distributions}
    options = {
        "kernels": (
            "'xnnpack' (default): the XNNPACK delegate, and ExecuTorch's kernels for the rest; "
            "'portable': ExecuTorch's kernels alone"
        )
    }

    def supports(self, cell: Cell) -> str:
        kernels = _kernels(cell)
        if kernels not in KERNELS:
            return f"kernels is {' or '.join(KERNELS)}, not {kernels!r}"
        if kernels == "portable" and cell.precision != "fp32":
            return f"{cell.precision} has fast kernels in XNNPACK alone; leave out kernels=portable"
        return super().supports(cell) or exported_files.refuses(cell.model)

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        versions = {name: batches.version_of(name) for name in self.distributions}
        settings = {"format": "ExecuTorch program", "kernels": _kernels(cell)}
        return {**super().artifact_key(cell), **settings, **versions}

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        import torch
        from torch import nn

        class Scale(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x * 1.25

        begin = time.perf_counter()
        program = _program(source, cell)
        exported = time.perf_counter()
        (folder / FILE).write_bytes(lowered(program, cell))
        seconds = {
            "export_seconds": exported - begin,
            "compile_seconds": time.perf_counter() - exported,
        }
        probe = torch.export.export(Scale(), (torch.zeros(1, 64),))
        (folder / PROBE).write_bytes(lowered(probe, cell))
        return {"format": "ExecuTorch program", **seconds}

    def load(self, folder: Path, cell: Cell) -> Session:
        from executorch.extension.pybindings import portable_lib

        placement.configure(cell)
        portable_lib._unsafe_reset_threadpool(cell.threads)
        return ExecuTorchSession(portable_lib, folder, cell)


class ExecuTorchSession(session.TorchSession):
    """A loaded program. Outputs lie in the program's planned memory; `fetch` copies them."""

    def __init__(self, library: Any, folder: Path, cell: Cell) -> None:
        self.library, self.folder = library, folder
        self.program: Any = library._load_for_executorch(str(folder / FILE))
        super().__init__(self._run, cell, nullcontext)

    def _run(self, *tensors: torch.Tensor) -> Any:
        return self.program.forward(tensors, clone_outputs=False)

    def fetch(self) -> Arrays:
        return {name: value.numpy().copy() for name, value in self._outputs().items()}

    @cached_property
    def facts(self) -> pte_files.Program:
        """The facts in the loaded program's file."""
        return pte_files.read(self.folder / FILE)

    def precision(self) -> str:
        """The arithmetic of the delegated layers, or the outputs' type without such layers."""
        executed = self.facts.weights
        if "int8" in executed:
            return "int8-dynamic" if self.facts.has_dynamic_ranges else "int8-static"
        return ",".join(sorted(executed)) or super().precision()

    def attest(self) -> Attestation:
        facts, layers = self.facts, sum(self.facts.weights.values())
        integer = facts.weights["int8"]
        partly = (f"{integer} of {layers} layers in int8",) if 0 < integer < layers else ()
        outside = len(facts.operators)
        return Attestation(
            runtime="executorch",
            version=batches.version_of("executorch"),
            device="cpu",
            precision=self.precision(),
            threads=self.library._threadpool_get_thread_count(),
            denormals=self._denormals(),
            spinning="runtime default",
            providers=tuple(dict.fromkeys((*facts.delegates, *["kernels"] * bool(outside)))),
            placement={
                "nodes in XNNPACK": sum(facts.nodes.values()),
                "kernels outside delegates": outside,
            },
            labels=partly,
            details={**facts.facts(), "program_bytes": (self.folder / FILE).stat().st_size},
        )

    def _denormals(self) -> str:
        import torch

        probe = self.library._load_for_executorch(str(self.folder / PROBE))
        (product,) = probe.forward((torch.full((1, 64), 1e-39),))
        return "preserved" if bool((product != 0).all()) else "flushed"

    def close(self) -> None:
        super().close()
        self.program = None


def lowered(program: torch.export.ExportedProgram, cell: Cell) -> bytes:
    """Lower an exported program to ExecuTorch's format. Raises Unsupported with the cause."""
    logging.getLogger("executorch").setLevel(logging.ERROR)
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    partitioners = [XnnpackPartitioner()] if _kernels(cell) == "xnnpack" else []
    try:
        edge = to_edge_transform_and_lower(program, partitioner=partitioners)
        return bytes(edge.to_executorch().buffer)
    except Exception as error:  # the exporter raises many classes, also bare RuntimeErrors
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        raise Unsupported(f"ExecuTorch cannot lower this network: {cause}") from error


def _program(source: Source, cell: Cell) -> Any:
    """The exported program at the cell's precision, with outputs in declared order."""
    import torch

    module = outputs.in_declared_order(placement.module_of(source.weights_folder, cell), cell.model)
    if cell.precision in int8.PRECISIONS:
        program = int8.quantised(module, cell, source.calibration, _quantizer(cell.precision))
    else:
        with torch.no_grad():
            program = torch.export.export(module, placement.zeros(cell))
    mutated = list(program.graph_signature.user_inputs_to_mutate.values())
    if mutated:
        raise UsageError(session.written(cell.model.name, ", ".join(mutated)))
    return program


def _quantizer(precision: str) -> Any:
    """XNNPACK's quantizer: s8 symmetric weights per channel, s8 asymmetric activations."""
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer

    dynamic = precision == "int8-dynamic"
    config = xnnpack_quantizer.get_symmetric_quantization_config(
        is_per_channel=True, is_dynamic=dynamic
    )
    return xnnpack_quantizer.XNNPACKQuantizer().set_global(config)


def _kernels(cell: Cell) -> str:
    return str(cell.option.get("kernels", KERNELS[0]))

"""AOTInductor: an exported program compiled ahead into a package of native code, without Dynamo."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.torch import backend, inductor, int8, outputs, placement, session
from evenbench.backends.torch import model as torch_model
from evenbench.backends.torch import precision as torch_precision
from evenbench.harness import Attestation, Cell, Session, Source, UsageError
from evenbench.harness.environment import gpu

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

FILE = "model.pt2"
MODEL = "model"
PROBES = "inductor"

LOADERS = ("native", "python", "python-warm")


class PackageSession(session.TorchSession):
    """A session on a loaded package. Precision and threads are read from the package's code."""

    def __init__(
        self,
        run: Callable[..., Any],
        file: Path,
        metadata: Mapping[str, str],
        cell: Cell,
        cache_folder: str = "",
    ) -> None:
        super().__init__(run, cell, contextlib.nullcontext)
        self.file = file
        self.metadata = metadata
        self.cache_folder = cache_folder
        self.shapes = {spec.name: spec.concrete(cell.batch) for spec in cell.model.inputs}

    def bind(self, inputs: Arrays) -> None:
        # Compiled code always reads the compiled number of elements, beyond the end of a smaller
        # array. The shapes are computed ahead, because `host_to_host` includes this check.
        for name, compiled in self.shapes.items():
            shape = inputs[name].shape
            if shape != compiled:
                raise ValueError(
                    f"{name} is {list(shape)}; the package was compiled for {list(compiled)}"
                )
        super().bind(inputs)

    @cached_property
    def code(self) -> inductor.Code:
        """The facts in the sources of the package."""
        return code_of(self.file)

    def precision(self) -> str:
        types = torch_precision.named_types(self.code.constants)
        arithmetic = self.arithmetic() if types == "fp32" else types
        return self.code.int8 or arithmetic or super().precision()

    def details(self) -> dict[str, Any]:
        return {
            **super().details(),
            **self.code.facts(),
            "constants": sorted(self.code.constants),
            "package": dict(self.metadata),
            "dynamo_imported": "torch._dynamo" in sys.modules,
        }

    def attest(self) -> Attestation:
        facts = super().attest()
        compiled_for = set(self.code.threads) - {facts.threads}
        # Every parallel region has the number of threads in the code; only library calls follow
        # torch's setting.
        threads = max(compiled_for) if compiled_for else facts.threads
        return Attestation(
            **{
                **vars(facts),
                "providers": ("AOTInductor",),
                "labels": self.code.labels,
                "threads": threads,
            }
        )

    def close(self) -> None:
        super().close()
        self.call = _closed
        if self.cache_folder:
            shutil.rmtree(self.cache_folder, ignore_errors=True)


def _closed(*tensors: Any) -> Any:
    raise RuntimeError("torch-aot: this session is closed; load it again")


class TorchAot(backend.TorchBackend):
    """A backend with packages as artifacts, without Python source, Dynamo or compiler in load."""

    name = "torch-aot"
    precisions = (*backend.TorchBackend.precisions, *int8.PRECISIONS)
    distributions = (*torch_model.DISTRIBUTIONS, int8.DISTRIBUTION)
    options = {
        **backend.TorchBackend.options,
        **inductor.OPTIONS,
        "loader": (
            "'native' (default): torch's C++ loader; "
            "'python': torch._inductor.aoti_load_package with an empty cache, which imports Dynamo "
            "and compiles probes of the CPU; 'python-warm': the same with a shipped cache"
        ),
    }

    def supports(self, cell: Cell) -> str:
        loader = cell.option.get("loader", LOADERS[0])
        refused = (
            "" if loader in LOADERS else f"loader is one of {', '.join(LOADERS)}, not {loader!r}"
        )
        return super().supports(cell) or refused or inductor.refuses(cell)

    def lacks(self, cell: Cell) -> str:
        return inductor.lacks(cell)

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return {**package_key(cell), "probes": cell.option.get("loader") == "python-warm"}

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        with inductor.cache_folder() as cache:
            facts = package(source, cell, folder / FILE)
            if cell.option.get("loader") == "python-warm":
                facts["warm_compile_seconds"] = package(source, cell, folder / FILE)[
                    "compile_seconds"
                ]
                shutil.copytree(
                    cache, folder / PROBES, ignore=shutil.ignore_patterns("*.lock", "locks")
                )
        return facts

    def load(self, folder: Path, cell: Cell) -> Session:
        placement.configure(cell)
        return (
            _load_native(folder, cell)
            if cell.option.get("loader", LOADERS[0]) == "native"
            else _load_python(folder, cell)
        )


def _index(cell: Cell) -> int:
    return gpu.index(cell.device) if gpu.is_cuda(cell.device) else -1


def _load_native(folder: Path, cell: Cell) -> PackageSession:
    """Load a package with the loader class of C++ programs, through torch's binding.

    The loader unpacks the package into the temporary folder, until freed.
    """
    import torch

    file = folder / FILE
    loader = torch._C._aoti.AOTIModelPackageLoader(str(file), MODEL, False, 1, _index(cell))

    def run(*tensors: torch.Tensor) -> Any:
        return loader.boxed_run(list(tensors))

    return PackageSession(run, file, loader.get_metadata(), cell)


def _load_python(folder: Path, cell: Cell) -> PackageSession:
    warm = cell.option["loader"] == "python-warm"
    cache = inductor.new_cache_folder(folder / PROBES if warm else None)
    import torch._inductor

    model = torch._inductor.aoti_load_package(folder / FILE, device_index=_index(cell))
    return PackageSession(model, folder / FILE, model.get_metadata(), cell, cache)


# -- building, also for other runners of packages --------------------------------------------------


def package_key(cell: Cell) -> dict[str, Any]:
    """The part of the artifact key common to all backends with packages."""
    base = backend.TorchBackend.artifact_key(TorchAot(), cell)
    return {"format": "AOTInductor package", **base, **inductor.key(cell)}


def package(source: Source, cell: Cell, file: Path) -> dict[str, Any]:
    """Export the cell's module and compile a package; return facts with the seconds of each phase.

    Sets torch's threads, because the number is compiled in. Uses the caller's cache folder
    (`inductor.cache_folder`). Raises UsageError if the model writes to an input.
    """
    import torch
    import torch._inductor.config

    placement.configure(cell)
    # The default level warns of a missing CUDA toolkit, also for the CPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    begin = time.perf_counter()
    program = _program(source, cell)
    exported = time.perf_counter()
    # inductor_configs= would apply too late for freezing. Precompiled headers would lie in the
    # temporary folder of this process, and serve a single compilation.
    settings = {"freezing": inductor.freezing(cell), "aot_inductor.precompile_headers": False}
    with torch._inductor.config.patch(settings), torch.no_grad():
        torch._inductor.aoti_compile_and_package(program, package_path=str(file))
    seconds = {
        "export_seconds": exported - begin,
        "compile_seconds": time.perf_counter() - exported,
    }
    return {"format": "AOTInductor package", **seconds, **int8.key(cell)}


def _program(source: Source, cell: Cell) -> Any:
    """The exported program at the cell's precision, with outputs in declared order."""
    import torch

    if cell.precision in int8.PRECISIONS:
        program = inductor.quantised_program(source, cell)
    else:
        module = outputs.in_declared_order(
            placement.module_of(source.weights_folder, cell), cell.model
        )
        with torch.no_grad():
            program = torch.export.export(module, placement.zeros(cell))
    mutated = list(program.graph_signature.user_inputs_to_mutate.values())
    if mutated:
        raise UsageError(session.written(cell.model.name, ", ".join(mutated)))
    return program


def code_of(file: Path) -> inductor.Code:
    """The facts in the C++ sources of a package."""
    with zipfile.ZipFile(file) as archive:
        sources = [name for name in archive.namelist() if name.endswith(".cpp")]
        return inductor.read("\n".join(archive.read(name).decode() for name in sources))

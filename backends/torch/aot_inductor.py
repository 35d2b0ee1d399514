"""AOTInductor: an exported program compiled ahead into one package of native code, loaded without
Dynamo.
"""

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

from backends.torch import backend, inductor, int8, outputs, placement, session
from backends.torch import model as torch_model
from backends.torch import precision as torch_precision
from harness import Attestation, Cell, Session, Source, UsageError
from harness.environment import gpu

if TYPE_CHECKING:
    from harness.core.session import Arrays

FILE = "model.pt2"
MODEL = "model"
PROBES = "inductor"

LOADERS = ("native", "python", "python-warm")


class PackageSession(session.TorchSession):
    """A loaded package. What it computes in is read from the code inside it."""

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
        for (
            name,
            wanted,
        ) in self.shapes.items():  # known ahead: this is within what is timed from host to host
            found = inputs[name].shape
            if (
                found != wanted
            ):  # compiled code reads as many numbers as it was compiled for, whatever it is handed
                raise ValueError(
                    f"{name} is {list(found)}; the package was compiled for {list(wanted)}"
                )
        super().bind(inputs)

    @cached_property
    def code(self) -> inductor.Code:
        """What the package's own sources say."""
        return code_of(self.file)

    def precision(self) -> str:
        found = torch_precision.named_types(self.code.constants)
        return (
            self.code.int8
            or (self.arithmetic() if found == "fp32" else found)
            or super().precision()
        )

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
        # The number stands in the code of every parallel region; only library calls follow torch's
        # own setting.
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
    """The package is the artifact: no Python source, no Dynamo and no compiler is needed to run it."""

    name = "torch-aot"
    precisions = (*backend.TorchBackend.precisions, *int8.PRECISIONS)
    distributions = (*torch_model.DISTRIBUTIONS, int8.DISTRIBUTION)
    options = {
        **backend.TorchBackend.options,
        **inductor.OPTIONS,
        "loader": "'native' (default) is torch's C++ loader; 'python' is torch._inductor.aoti_load_package, which imports Dynamo and "
        "compiles probes of the CPU, with an empty cache; 'python-warm' with a cache that came with the package",
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
    """By the class that C++ programs use, through torch's own binding of it. Unpacks into the
    temporary folder, until it is freed.
    """
    import torch

    loader = torch._C._aoti.AOTIModelPackageLoader(
        str(folder / FILE), MODEL, False, 1, _index(cell)
    )  # type: ignore[attr-defined]
    return PackageSession(
        lambda *tensors: loader.boxed_run(list(tensors)), folder / FILE, loader.get_metadata(), cell
    )


def _load_python(folder: Path, cell: Cell) -> PackageSession:
    warm = cell.option["loader"] == "python-warm"
    cache = inductor.new_cache_folder(folder / PROBES if warm else None)
    import torch._inductor

    model = torch._inductor.aoti_load_package(folder / FILE, device_index=_index(cell))
    return PackageSession(model, folder / FILE, model.get_metadata(), cell, cache)


# -- building, also for other runners of packages --------------------------------------------------


def package_key(cell: Cell) -> dict[str, Any]:
    """What decides a package's bytes besides weights, shapes and precision, for every backend that
    runs one.
    """
    base = backend.TorchBackend.artifact_key(TorchAot(), cell)
    return {"format": "AOTInductor package", **base, **inductor.key(cell)}


def package(source: Source, cell: Cell, file: Path) -> dict[str, Any]:
    """Export the cell's module and compile it into `file`; returns facts with the seconds of each
    part.

    Sets torch's threads, which are compiled in. Uses the cache folder that the caller has set
    (`torch_inductor.cache_folder`). Raises UsageError where the model writes to its input.
    """
    import torch
    import torch._inductor.config

    placement.configure(cell)
    logging.getLogger("torch.utils.cpp_extension").setLevel(
        logging.ERROR
    )  # it warns of a CUDA toolkit that nobody asked for
    begin = time.perf_counter()
    program = _program(source, cell)
    exported = time.perf_counter()
    # Not by inductor_configs=: whether weights are frozen is decided before those apply. Headers
    # compiled ahead would lie in this process's own temporary folder, and be used once each.
    settings = {"freezing": inductor.freezing(cell), "aot_inductor.precompile_headers": False}
    with torch._inductor.config.patch(settings), torch.no_grad():
        torch._inductor.aoti_compile_and_package(program, package_path=str(file))
    seconds = {
        "export_seconds": exported - begin,
        "compile_seconds": time.perf_counter() - exported,
    }
    return {"format": "AOTInductor package", **seconds, **int8.key(cell)}


def _program(source: Source, cell: Cell) -> Any:
    """The exported program at the cell's precision, its outputs in declared order."""
    import torch

    if cell.precision in int8.PRECISIONS:
        program = inductor.quantised_program(source, cell)
    else:
        module = outputs.in_declared_order(
            placement.module_of(source.weights_folder, cell), cell.model
        )
        with torch.no_grad():
            program = torch.export.export(module, placement.zeros(cell))
    changed = list(program.graph_signature.user_inputs_to_mutate.values())
    if changed:
        raise UsageError(session.written(cell.model.name, ", ".join(changed)))
    return program


def code_of(file: Path) -> inductor.Code:
    """What the sources say that lie in a package beside what was compiled from them."""
    with zipfile.ZipFile(file) as opened:
        sources = [name for name in opened.namelist() if name.endswith(".cpp")]
        return inductor.read("\n".join(opened.read(name).decode() for name in sources))

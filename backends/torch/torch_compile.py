"""torch.compile with inductor: kernels generated ahead into a cache folder, guarded against
recompilation when timed.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backends.torch import backend, inductor, int8, model, placement
from backends.torch import session as torch_session
from harness import Attestation, Cell, Session, Source, Unsupported

CACHE = "inductor"
PROGRAM = "quantised.pt2"

SHAPES: Mapping[str, bool | None] = {"each": False, "auto": None, "any": True}
"""The option `shapes`, and what `torch.compile` is told as `dynamic`."""

MOST_COMPILED = 64
"""How often one network may be compiled. torch's own limit is 8, past which it runs eager without a
word; here it is an error.
"""


class CompiledSession(torch_session.TorchSession):
    """A compiled module; it owns the private cache folder that its kernels were unpacked into."""

    module: Any
    cache_folder: str
    compiled_at_load: int

    def owner(self) -> Any:
        return self.module

    def beside(self) -> Session:
        raise Unsupported(
            "PyTorch does not call Dynamo safe for several threads (pytorch/pytorch#118260); ask torch-eager or torch-script"
        )

    def builds(self) -> int:
        from torch._dynamo.utils import counters

        return int(counters["stats"]["unique_graphs"])

    def code(self) -> inductor.Code:
        """What inductor generated for this process, cached or not."""
        return inductor.read("\n".join(_generated().values()))

    def precision(self) -> str:
        return self.code().int8 or super().precision()

    def details(self) -> dict[str, Any]:
        from torch._dynamo.utils import counters
        from torch._inductor import config

        return {
            **super().details(),
            **self.code().facts(),
            "graph_breaks": sum(counters["graph_break"].values()),
            "graphs": counters["stats"]["unique_graphs"],
            "compiled_anew": self.builds() - self.compiled_at_load,
            "cache_hits": counters["inductor"]["fxgraph_cache_hit"],
            "cache_misses": counters["inductor"]["fxgraph_cache_miss"],
            "cache_bypassed": counters["inductor"]["fxgraph_cache_bypass"],
            "freezing": config.freezing,
            "cpp_wrapper": config.cpp_wrapper,
        }

    def attest(self) -> Attestation:
        facts = super().attest()
        breaks = facts.details["graph_breaks"]
        anew = facts.details["compiled_anew"]
        said = [f"{breaks} graph breaks"] if breaks else []
        said += [f"compiled anew for other shapes: {anew}"] if anew else []
        labels = (*facts.labels, *self.code().labels, *said)
        return Attestation(**{**vars(facts), "providers": ("inductor",), "labels": labels})

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.cache_folder, ignore_errors=True)


class TorchCompile(backend.TorchBackend):
    """Compiled in prepare and unpacked in load, as a deployment with a shipped cache would start."""

    name = "torch-compile"
    precisions = (*backend.TorchBackend.precisions, *int8.PRECISIONS)
    distributions = (*model.DISTRIBUTIONS, int8.DISTRIBUTION)
    options = {
        **backend.TorchBackend.options,
        **inductor.OPTIONS,
        "shapes": "compiles again where shapes change: 'each' for each of them, 'auto' for all of them at the second one, as torch does by "
        "itself, 'any' for all of them ahead; without it the network is compiled once, and another shape is an error",
    }

    def supports(self, cell: Cell) -> str:
        return super().supports(cell) or inductor.refuses(cell) or _refuses(cell)

    def lacks(self, cell: Cell) -> str:
        return inductor.lacks(cell)

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        shapes = {"shapes": cell.option["shapes"]} if "shapes" in cell.option else {}
        return {
            "format": "inductor cache folder",
            **super().artifact_key(cell),
            **inductor.key(cell),
            **shapes,
        }

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        if cell.precision in int8.PRECISIONS:
            import torch

            placement.configure(cell)
            torch.export.save(inductor.quantised_program(source, cell), folder / PROGRAM)
        else:
            model.copy_weights(source, folder)
        session = self._compile(folder, cell)
        # The whole folder, not save_cache_artifacts(): that leaves out the compiled probes of the
        # CPU's instruction sets, whose rebuilding takes seconds in every process.
        shutil.copytree(
            session.cache_folder, folder / CACHE, ignore=shutil.ignore_patterns("*.lock", "locks")
        )
        session.close()
        what = "quantised program" if cell.precision in int8.PRECISIONS else "state dict"
        return {
            "format": f"{what} + inductor cache",
            "cold_compile_seconds": session.compile_seconds,
            **int8.key(cell),
        }

    def load(self, folder: Path, cell: Cell) -> Session:
        return self._compile(folder, cell)

    def _compile(self, folder: Path, cell: Cell) -> CompiledSession:
        """Compile on zeros of the declared shapes, from the folder's cache where it has one; then
        forbid recompiling, but for `shapes`.
        """
        cache_folder = inductor.new_cache_folder(folder / CACHE)
        import torch
        import torch._dynamo
        import torch._inductor.config

        torch._dynamo.reset()
        torch._dynamo.config.error_on_recompile = False
        torch._inductor.config.freezing = inductor.freezing(cell)
        placement.configure(cell)
        module = _module(folder, cell)
        shapes = cell.option.get("shapes", "")
        dynamic = SHAPES[shapes] if shapes else False
        torch._dynamo.config.recompile_limit = MOST_COMPILED
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        begin = time.perf_counter()
        session = CompiledSession(torch.compile(module, dynamic=dynamic), cell, torch.no_grad)
        session.module, session.cache_folder = module, cache_folder
        session.tensors = list(placement.zeros(cell))
        session.step()
        session.sync()
        session.compile_seconds = time.perf_counter() - begin
        session.compiled_at_load = session.builds()
        _generated()
        torch._dynamo.config.error_on_recompile = not shapes
        return session


def _refuses(cell: Cell) -> str:
    """An empty string, or why the cell cannot be compiled for shapes that change, in words."""
    shapes = cell.option.get("shapes", "each")
    if shapes not in SHAPES:
        return f"shapes is {' or '.join(map(repr, SHAPES))}, not {shapes!r}"
    if "shapes" in cell.option and cell.precision in int8.PRECISIONS:
        return f"shapes compiles anew for other shapes, and {cell.precision} is quantised in a program that was exported for one"
    return ""


_GENERATED: dict[str, str] = {}


def _generated() -> dict[str, str]:
    """The source of every module that inductor holds, by its path.

    Read once they are made: inductor keeps modules in memory longer than the session whose folder
    held their files.
    """
    from torch._inductor.codecache import PyCodeCache

    for module in PyCodeCache.modules:
        if module.__file__ not in _GENERATED:
            _GENERATED[module.__file__] = Path(module.__file__).read_text()
    return _GENERATED


def _module(folder: Path, cell: Cell) -> Any:
    """What is compiled: the module at the cell's precision, or the quantised program that prepare
    left.
    """
    import torch

    if cell.precision in int8.PRECISIONS:
        int8.register()
        return torch.export.load(folder / PROGRAM).module()
    return placement.module_of(folder, cell)

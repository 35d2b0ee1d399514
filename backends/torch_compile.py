"""torch.compile with inductor: C++ kernels generated ahead into a cache folder, guarded against recompilation when timed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backends import torch_model, torch_session
from harness import Attestation, Cell, Session, Source, Unavailable

CACHE = "inductor"


class CompiledSession(torch_session.TorchSession):
    """A compiled module; it owns the private cache folder that its kernels were unpacked into."""

    module: Any
    cache_folder: str

    def parameters(self) -> list[Any]:
        return list(self.module.parameters())

    def details(self) -> dict[str, Any]:
        from torch._dynamo.utils import counters
        from torch._inductor import config

        return {
            **super().details(),
            "graph_breaks": sum(counters["graph_break"].values()),
            "graphs": counters["stats"]["unique_graphs"],
            "cache_hits": counters["inductor"]["fxgraph_cache_hit"],
            "cache_misses": counters["inductor"]["fxgraph_cache_miss"],
            "freezing": config.freezing,
            "cpp_wrapper": config.cpp_wrapper,
        }

    def attest(self) -> Attestation:
        facts = super().attest()
        breaks = facts.details["graph_breaks"]
        labels = (*facts.labels, f"{breaks} graph breaks") if breaks else facts.labels
        return Attestation(**{**vars(facts), "providers": ("inductor",), "labels": labels})

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.cache_folder, ignore_errors=True)


class TorchCompile(torch_session.TorchBackend):
    """Compiled in prepare and unpacked in load, as a deployment with a shipped cache would start."""

    name = "torch-compile"
    options = {
        **torch_session.TorchBackend.options,
        "freezing": "True folds weights into the graph as constants (torch._inductor.config.freezing)",
    }

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return {
            "format": "inductor cache folder",
            "batch": cell.batch,
            "threads": cell.threads,
            "freezing": bool(cell.option.get("freezing", False)),
            "compiler": shutil.which("g++") or "",
            **torch_model.versions(),
        }

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        if not shutil.which("g++"):
            raise Unavailable("torch-compile: inductor needs a C++ compiler on the CPU; install g++")
        torch_model.copy_weights(source, folder)
        session = self._compile(folder, cell)
        # The whole folder, not save_cache_artifacts(): that leaves out the compiled probes of the CPU's instruction sets,
        # whose rebuilding takes seconds in every process.
        shutil.copytree(session.cache_folder, folder / CACHE, ignore=shutil.ignore_patterns("*.lock", "locks"))
        session.close()
        return {"format": "state dict + inductor cache", "cold_compile_seconds": session.compile_seconds}

    def load(self, folder: Path, cell: Cell) -> Session:
        return self._compile(folder, cell)

    def _compile(self, folder: Path, cell: Cell) -> CompiledSession:
        """Compile on zeros of the declared shapes, from the folder's cache where it has one; then forbid recompiling."""
        cache_folder = tempfile.mkdtemp(prefix="evenbench-inductor-")
        if (folder / CACHE).exists():
            shutil.copytree(folder / CACHE, cache_folder, dirs_exist_ok=True)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache_folder
        import torch
        import torch._dynamo
        import torch._inductor.config

        torch._dynamo.reset()
        torch._dynamo.config.error_on_recompile = False
        torch._inductor.config.freezing = bool(cell.option.get("freezing", False))
        torch_session.configure(cell)
        module = torch_model.load(folder, cell)
        begin = time.perf_counter()
        session = CompiledSession(torch.compile(module, dynamic=False), cell, torch.no_grad)
        session.module, session.cache_folder = module, cache_folder
        session.tensors = [torch.zeros(spec.concrete(cell.batch), dtype=getattr(torch, spec.dtype)) for spec in cell.model.inputs]
        session.step()
        session.compile_seconds = time.perf_counter() - begin
        torch._dynamo.config.error_on_recompile = True
        return session

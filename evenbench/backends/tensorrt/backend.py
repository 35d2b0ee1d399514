"""The backends `tensorrt` (10 and 11) and `tensorrt-rtx`: plans built ahead, from the ONNX file."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from evenbench.backends.onnx import export
from evenbench.backends.onnx.backend import OnnxBackend
from evenbench.backends.tensorrt import builder, session
from evenbench.harness import Cell, Session, Source, Unavailable
from evenbench.harness.environment import gpu
from evenbench.harness.inputs import batches

BUILDS = 3
"""Default number of plans per cell: the fewest with a measurable spread."""

MOST_BUILDS = 9


class TensorRt(OnnxBackend):
    """TensorRT plans: strongly typed, with one optimisation profile of the cell's shapes."""

    name = "tensorrt"
    module: ClassVar[str] = "tensorrt"
    requires = ("tensorrt", "cuda.bindings")
    distributions = ("tensorrt", "cuda-bindings", "nvidia-ml-py", *OnnxBackend.distributions)
    portable_artifact = False
    precisions = ("fp32", "tf32", "fp16", "bf16", "int8-static")
    devices = (gpu.KIND,)
    options: ClassVar[Mapping[str, str]] = {
        **OnnxBackend.options,
        "cuda_graph": "True launches each step as a CUDA graph instead of kernel by kernel",
        "builds": f"number of independently built plans (default: {BUILDS})",
        "build": (
            "number of the plan to run (default: 0); cells of different plans show the spread "
            "between builds"
        ),
        "timing_cache": (
            "'fresh' (default) times tactics for every build; 'shared' reuses the timings of "
            "the first build"
        ),
    }

    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in self.requires if not _installed(name))

    def supports(self, cell: Cell) -> str:
        return super().supports(as_exported(cell)) or _refuses_options(cell)

    def lacks(self, cell: Cell) -> str:
        return super().lacks(as_exported(cell))

    def order(self, cell: Cell) -> builder.BuildOrder:
        """Return the cell's order for the builder."""
        return builder.BuildOrder(
            module=self.module,
            shapes={spec.name: spec.concrete(cell.batch) for spec in cell.model.inputs},
            target=str(cell.option.get("target", builder.CURRENT)),
            tf32=cell.precision == "tf32",
            builds=int(cell.option.get("builds", BUILDS)),
            timing_cache=str(cell.option.get("timing_cache", builder.FRESH)),
        )

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        order = self.order(cell)
        device = {} if self.builds_ahead(cell) else gpu.describe(cell.device)
        return {
            "format": builder.FORMAT,
            "onnx": super().artifact_key(as_exported(cell)),
            "module": self.module,
            "version": batches.version_of(self.distributions[0]),
            "on": {name: device.get(name) for name in ("name", "capability", "driver")},
            **{name: getattr(order, name) for name in ("target", "tf32", "builds", "timing_cache")},
        }

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        draft = folder / "onnx"
        draft.mkdir()
        export_facts = super().prepare(source, as_exported(cell), draft)
        facts = builder.build_plans(draft / export.FILE, folder, self.order(cell))
        shutil.rmtree(draft)
        return {**builder.record_facts(facts), "onnx": export_facts}

    def load(self, folder: Path, cell: Cell) -> Session:
        target = self.order(cell).target
        reason = gpu.lacks(cell.device) or _other_device(target, cell.device)
        if reason:
            facts = json.loads((folder / builder.FACTS).read_text())
            raise Unavailable(f"{_describe_builds(facts)}; not executed: {reason}")
        return session.EngineSession(self.module, folder, cell)


class TensorRtRtx(TensorRt):
    """TensorRT for RTX, for consumer GPUs; also builds for a GPU of another machine."""

    name = "tensorrt-rtx"
    module = "tensorrt_rtx"
    requires = ("tensorrt_rtx", "cuda.bindings")
    distributions = ("tensorrt-rtx", *TensorRt.distributions[1:])
    options = {
        **{name: words for name, words in TensorRt.options.items() if name != "timing_cache"},
        "target": (
            f"GPU to build for: {', '.join(builder.TARGETS)}; {builder.CURRENT} (default) is "
            "the cell's GPU"
        ),
    }

    def builds_ahead(self, cell: Cell) -> bool:
        return bool(self.order(cell).target != builder.CURRENT)


def _installed(name: str) -> bool:
    # The parent package is missing, too.
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def as_exported(cell: Cell) -> Cell:
    """Return the cell of the exported file: fp32 for TF32, a change of arithmetic only."""
    return replace(cell, precision="fp32") if cell.precision == "tf32" else cell


def _refuses_options(cell: Cell) -> str:
    options = cell.option
    builds, build = options.get("builds", BUILDS), options.get("build", 0)
    if type(builds) is not int or not 1 <= builds <= MOST_BUILDS:
        return f"builds must be an integer from 1 to {MOST_BUILDS}, not {builds!r}"
    if type(build) is not int or not 0 <= build < builds:
        return (
            f"build must be an integer from 0 to {builds - 1}, as the cell has {builds} builds, "
            f"not {build!r}"
        )
    choices = {
        "target": builder.TARGETS,
        "timing_cache": (builder.FRESH, builder.SHARED),
        "cuda_graph": (False, True),
    }
    invalid = [
        name
        for name, allowed in choices.items()
        if name in options and options[name] not in allowed
    ]
    return "; ".join(
        f"{name} is one of {', '.join(map(str, choices[name]))}, not {options[name]!r}"
        for name in invalid
    )


def _other_device(target: str, device: str) -> str:
    """Explain that the plan was built for another device, or return an empty string."""
    current = "SM" + (gpu.describe(device).get("capability") or "").replace(".", "")
    return (
        ""
        if target in (builder.CURRENT, current)
        else f"the plan is for {target}, and {device} is {current}"
    )


def _describe_builds(facts: Mapping[str, Any]) -> str:
    builds = facts["builds"]
    sizes = "/".join(str(size) for size in sorted({build["bytes"] for build in builds}))
    seconds = "/".join(f"{build['seconds']:.2f}" for build in builds)
    count = f"{len(builds)} build{'s' if len(builds) > 1 else ''}"
    return (
        f"built ahead for {facts['target']}: {count} of {sizes} bytes in {seconds} s, "
        f"{facts['distinct_plans']} distinct"
    )

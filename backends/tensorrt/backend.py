"""TensorRT (10 and 11) and TensorRT for RTX: plans built ahead of time, run with buffers that stay
on the device.

The two are one backend over two modules. What is timed is one execution context on one stream, with
CUDA events around it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from backends.onnx import export
from backends.tensorrt import builder, session
from harness import Cell, Session, Source, Unavailable
from harness.environment import gpu
from harness.inputs import batches

BUILDS = 3
"""Plans per cell unless the case says otherwise: the fewest of which a spread can be seen."""

MOST_BUILDS = 9


class TensorRt(export.OnnxBackend):
    """Plans from the shared ONNX file, strongly typed, one profile of exactly the cell's shapes."""

    name = "tensorrt"
    module: ClassVar[str] = "tensorrt"
    requires = ("tensorrt", "cuda.bindings")
    distributions = ("tensorrt", "cuda-bindings", "nvidia-ml-py", *export.OnnxBackend.distributions)
    portable_artifact = False
    precisions = ("fp32", "tf32", "fp16", "bf16", "int8-static")
    devices = (gpu.KIND,)
    options: ClassVar[Mapping[str, str]] = {
        **export.OnnxBackend.options,
        "cuda_graph": "True launches the step as one CUDA graph instead of kernel by kernel",
        "builds": f"how many plans are built, each from the start; {BUILDS} by default",
        "build": "which of them is run, 0 by default: cells that differ only in this show how much a build decides",
        "timing_cache": "'fresh' (default) times tactics anew for every build; 'shared' gives later builds the first one's timings",
    }

    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in self.requires if not _installed(name))

    def supports(self, cell: Cell) -> str:
        return super().supports(as_exported(cell)) or _refuses_options(cell)

    def lacks(self, cell: Cell) -> str:
        return super().lacks(as_exported(cell))

    def order(self, cell: Cell) -> builder.BuildOrder:
        """What is to be built for a cell."""
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
        made = super().prepare(source, as_exported(cell), draft)
        facts = builder.build_plans(draft / export.FILE, folder, self.order(cell))
        shutil.rmtree(draft)
        return {**builder.record_facts(facts), "onnx": made}

    def load(self, folder: Path, cell: Cell) -> Session:
        target = self.order(cell).target
        reason = gpu.lacks(cell.device) or _other_device(target, cell.device)
        if reason:
            facts = json.loads((folder / builder.FACTS).read_text())
            raise Unavailable(f"{_describe_builds(facts)}; not executed: {reason}")
        return session.EngineSession(self.module, folder, cell)


class TensorRtRtx(TensorRt):
    """The same for consumer GPUs; it builds for a GPU that is not here."""

    name = "tensorrt-rtx"
    module = "tensorrt_rtx"
    requires = ("tensorrt_rtx", "cuda.bindings")
    distributions = ("tensorrt-rtx", *TensorRt.distributions[1:])
    options = {
        **{name: words for name, words in TensorRt.options.items() if name != "timing_cache"},
        "target": f"what to build for, here or elsewhere: {', '.join(builder.TARGETS)}; the first, the default, is the cell's GPU",
    }

    def builds_ahead(self, cell: Cell) -> bool:
        return bool(self.order(cell).target != builder.CURRENT)


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # not even the package that it would lie in
        return False


def as_exported(cell: Cell) -> Cell:
    """The cell of the ONNX file that a plan is built from: TF32 is arithmetic on fp32 numbers."""
    return replace(cell, precision="fp32") if cell.precision == "tf32" else cell


def _refuses_options(cell: Cell) -> str:
    asked = cell.option
    builds, build = asked.get("builds", BUILDS), asked.get("build", 0)
    if type(builds) is not int or not 1 <= builds <= MOST_BUILDS:
        return f"builds is a whole number from 1 to {MOST_BUILDS}, not {builds!r}"
    if type(build) is not int or not 0 <= build < builds:
        return f"build is a whole number from 0 to {builds - 1}, of the {builds} builds that are made, not {build!r}"
    choices = {
        "target": builder.TARGETS,
        "timing_cache": (builder.FRESH, builder.SHARED),
        "cuda_graph": (False, True),
    }
    wrong = [
        name for name, allowed in choices.items() if name in asked and asked[name] not in allowed
    ]
    return "; ".join(
        f"{name} is one of {', '.join(map(str, choices[name]))}, not {asked[name]!r}"
        for name in wrong
    )


def _other_device(target: str, device: str) -> str:
    """In words, where the plan was built for another kind of device than is here."""
    here = "SM" + (gpu.describe(device).get("capability") or "").replace(".", "")
    return (
        ""
        if target in (builder.CURRENT, here)
        else f"the plan is for {target}, and {device} is {here}"
    )


def _describe_builds(facts: Mapping[str, Any]) -> str:
    builds = facts["builds"]
    sizes = "/".join(str(size) for size in sorted({build["bytes"] for build in builds}))
    seconds = "/".join(f"{build['seconds']:.2f}" for build in builds)
    counted = f"{len(builds)} build{'s' if len(builds) > 1 else ''}"
    return f"built ahead for {facts['target']}: {counted} of {sizes} bytes in {seconds} s, {facts['distinct_plans']} distinct"

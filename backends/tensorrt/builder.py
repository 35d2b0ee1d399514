"""Builds TensorRT plans from ONNX files, also on a machine without a GPU, and says what the layers
inside compute in.

`tensorrt` 10 and 11 and `tensorrt_rtx` have one Python API as far as it is used here; the module is
named by the caller. Networks are strongly typed: precision is the ONNX file's, and no builder flag
changes it but TF32.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backends.tensorrt import layers
from harness import Unsupported

CURRENT = "CURRENT"
"""The target that is the GPU of this machine."""

TARGETS = (CURRENT, "SM75", "SM80", "SM86", "SM89", "SM120", "SM121")
"""Compute capabilities that TensorRT for RTX can build for on any machine."""

FORMAT = "TensorRT plan"

FACTS = "engine.json"
TIMING_CACHE = "timing.cache"

FRESH, SHARED = "fresh", "shared"
"""Where the builds after the first take their timings from: each its own, or the first one's cache.
"""


def plan_file(build: int) -> str:
    """The file of one build of a cell."""
    return f"plan_{build}.engine"


# -- layers ----------------------------------------------------------------------------------------


# -- building --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BuildOrder:
    """What to build: `shapes` of every input, in elements; `builds` plans, each from the start."""

    module: str
    shapes: Mapping[str, tuple[int, ...]]
    target: str = CURRENT
    tf32: bool = False
    builds: int = 1
    timing_cache: str = FRESH

    @property
    def rtx(self) -> bool:
        """TensorRT for RTX: it builds for a GPU that is not here, and times no tactics, so that it
        has no timing cache.
        """
        return self.module.endswith("_rtx")


@dataclass
class BuildLog:
    """What TensorRT says while it works, by severity."""

    said: list[tuple[str, str]] = field(default_factory=list)

    def add(self, severity: Any, message: str) -> None:
        self.said.append((str(severity).rpartition(".")[2], message))

    def errors(self) -> str:
        """The first error, whole: those after it are its consequences. In words where there is
        none.
        """
        wrong = [
            message for severity, message in self.said if severity in ("ERROR", "INTERNAL_ERROR")
        ]
        own = [
            message for message in wrong if "CUDA GPU properties" not in message
        ]  # is said of every machine without a GPU
        return (own or wrong or ["it gave no reason"])[0]

    def listing(self) -> str:
        """The builder's list of layers, or an empty string where it wrote none."""
        return next(
            (message for _, message in reversed(self.said) if message.startswith("Layers:")), ""
        )


def make_logger(trt: Any, log: BuildLog) -> Any:
    """A TensorRT logger that writes into `log`."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        """Hands on what it is told."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            log.add(severity, message)

    return Logger()


def build_plans(onnx: Path, folder: Path, order: BuildOrder) -> dict[str, Any]:
    """Build `order.builds` plans of an ONNX file into `folder`, with the facts and the first one's
    timing cache; returns the facts.

    Needs no GPU where the target is named. Raises Unsupported with operator and node where TensorRT
    cannot take the graph, or cannot compile it for the target, and RuntimeError with TensorRT's
    words where building fails otherwise.
    """
    trt = importlib.import_module(order.module)
    cache: bytes | None = None
    builds = []
    for number in range(order.builds):
        plan, used, facts = _build_once(trt, onnx, order, cache)
        (folder / plan_file(number)).write_bytes(plan)
        builds.append(facts)
        if number == 0 and used is not None:
            (folder / TIMING_CACHE).write_bytes(used)
            cache = used if order.timing_cache == SHARED else None
    made = {
        "runtime": order.module,
        "version": trt.__version__,
        "target": order.target,
        "tf32": order.tf32,
        "timing_cache": "none, no tactics are timed" if order.rtx else order.timing_cache,
        "builds": builds,
        "distinct_plans": len({facts["sha256"] for facts in builds}),
        "distinct_layers": len({facts["layers_sha256"] for facts in builds}),
    }
    (folder / FACTS).write_text(json.dumps(made, indent=1))
    return made


def record_facts(made: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of `build_ahead` for the record: figures of all builds side by side, the layers of
    the first one.
    """
    first, *_ = builds = made["builds"]
    return {
        "format": FORMAT,
        **{name: made[name] for name in ("runtime", "version", "target", "tf32", "timing_cache")},
        "build_seconds": [build["seconds"] for build in builds],
        "plan_bytes": [build["bytes"] for build in builds],
        "plan_sha256": [build["sha256"] for build in builds],
        "layers_sha256": [build["layers_sha256"] for build in builds],
        **{name: made[name] for name in ("distinct_plans", "distinct_layers")},
        **{name: first[name] for name in ("layers", "precisions", "reformats")},
    }


def _build_once(
    trt: Any, onnx: Path, order: BuildOrder, cache: bytes | None
) -> tuple[bytes, bytes | None, dict[str, Any]]:
    """One plan, its timing cache, and the facts about it. Everything is made anew, so that nothing
    is left of another build.
    """
    log = BuildLog()
    speaker = make_logger(trt, log)
    builder = trt.Builder(speaker)
    typed = trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    network = builder.create_network(1 << int(typed))
    if not network.get_flag(typed):
        raise RuntimeError(
            f"{order.module} {trt.__version__} made a network that is not strongly typed; install version 10 or later"
        )
    _parse(trt, network, speaker, onnx, order)
    config = _configure(trt, builder, network, order)
    if not order.rtx:
        config.set_timing_cache(config.create_timing_cache(cache or b""), False)
    begin = time.perf_counter()
    made = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - begin
    if made is None:
        wrong = log.errors()
        words = f"{order.module} cannot build this graph for {order.target}: {wrong}"
        raise Unsupported(words) if "not supported" in wrong else RuntimeError(words)
    plan = bytes(made)
    found = layers.summary(layers_of_plan(trt, plan) or layers.parse_listing(log.listing()))
    facts = {
        "seconds": seconds,
        "bytes": len(plan),
        "sha256": hashlib.sha256(plan).hexdigest(),
        **found,
    }
    facts["tf32"] = bool(config.get_flag(trt.BuilderFlag.TF32))
    facts["network_layers"] = network.num_layers
    return plan, None if order.rtx else bytes(config.get_timing_cache().serialize()), facts


def _parse(trt: Any, network: Any, speaker: Any, onnx: Path, order: BuildOrder) -> None:
    parser = trt.OnnxParser(network, speaker)
    if parser.parse_from_file(str(onnx)):
        return
    errors = [parser.get_error(number) for number in range(parser.num_errors)]
    named = [error for error in errors if error.node_operator()]
    if not named:
        raise RuntimeError(
            f"{order.module} cannot read {onnx.name}: {'; '.join(error.desc() for error in errors) or 'it gave no reason'}"
        )
    raise Unsupported(
        f"{order.module} cannot take {'; '.join(_describe_error(error) for error in named)}"
    )


def _describe_error(error: Any) -> str:
    """Operator, node and reason of one error of the parser."""
    reason = next(
        (
            line
            for line in error.desc().splitlines()
            if line and not line.startswith("Invalid Node")
        ),
        "",
    )
    kind = str(error.code()).rpartition(".")[2].lower().replace("_", " ")
    told = "" if reason == "false" else f": {reason}"
    return f"operator {error.node_operator()} (node {error.node_name() or 'without a name'}): {kind}{told}"


def _configure(trt: Any, builder: Any, network: Any, order: BuildOrder) -> Any:
    """TF32 as asked and read back later, layers that can be listed, one profile in which every
    shape is the cell's, the target.
    """
    config = builder.create_builder_config()
    (config.set_flag if order.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    profile = builder.create_optimization_profile()
    for tensor in (network.get_input(number) for number in range(network.num_inputs)):
        profile.set_shape(tensor.name, *[order.shapes[tensor.name]] * 3)
    config.add_optimization_profile(profile)
    if (
        order.rtx
    ):  # it would build for every GPU since Ampere by default, and only here can be told which
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, order.target), 0)
    return config


def layers_of_plan(trt: Any, plan: bytes) -> list[layers.Layer]:
    """The layers of a plan as its engine's inspector lists them; empty where this machine cannot
    load it.
    """
    runtime = trt.Runtime(make_logger(trt, BuildLog()))
    engine = runtime.deserialize_cuda_engine(plan)
    return list(_inspected(trt, engine)) if engine is not None else []


def _inspected(trt: Any, engine: Any) -> Iterator[layers.Layer]:
    yield from layers.parse_inspection(
        engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    )

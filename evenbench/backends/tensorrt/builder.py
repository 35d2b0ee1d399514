"""Builds TensorRT plans from ONNX files, also on machines without a GPU.

`tensorrt` 10 and 11 and `tensorrt_rtx` share the Python API used here; the caller names the module.
Networks are strongly typed: the ONNX file sets the precision, and TF32 is the only builder flag
that changes it.
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

from evenbench.backends.tensorrt import layers
from evenbench.harness import Unsupported

CURRENT = "CURRENT"
"""The GPU of this machine as target."""

TARGETS = (CURRENT, "SM75", "SM80", "SM86", "SM89", "SM120", "SM121")
"""Compute capabilities that TensorRT for RTX can build for on any machine."""

FORMAT = "TensorRT plan"

FACTS = "engine.json"
TIMING_CACHE = "timing.cache"

FRESH, SHARED = "fresh", "shared"
"""Timings of later builds: measured for each build, or taken from the first build's cache."""


def plan_file(build: int) -> str:
    """Return the file name of a build's plan."""
    return f"plan_{build}.engine"


# -- layers ----------------------------------------------------------------------------------------


# -- building --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BuildOrder:
    """An order for plans: `shapes` of all inputs, in elements, and the number of `builds`."""

    module: str
    shapes: Mapping[str, tuple[int, ...]]
    target: str = CURRENT
    tf32: bool = False
    builds: int = 1
    timing_cache: str = FRESH

    @property
    def rtx(self) -> bool:
        """True for TensorRT for RTX, without timing cache, as it times no tactics."""
        return self.module.endswith("_rtx")


@dataclass
class BuildLog:
    """Messages of TensorRT with their severities."""

    said: list[tuple[str, str]] = field(default_factory=list)

    def add(self, severity: Any, message: str) -> None:
        self.said.append((str(severity).rpartition(".")[2], message))

    def errors(self) -> str:
        """Return the first error, the cause of the later errors; a fixed text without errors."""
        errors = [
            message for severity, message in self.said if severity in ("ERROR", "INTERNAL_ERROR")
        ]
        # TensorRT logs this error on every machine without a GPU.
        specific = [message for message in errors if "CUDA GPU properties" not in message]
        return (specific or errors or ["it gave no reason"])[0]

    def listing(self) -> str:
        """Return the builder's listing of layers, or an empty string."""
        return next(
            (message for _, message in reversed(self.said) if message.startswith("Layers:")), ""
        )


def make_logger(trt: Any, log: BuildLog) -> Any:
    """Return a TensorRT logger that writes into `log`."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        """Forwards messages."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            log.add(severity, message)

    return Logger()


def build_plans(onnx: Path, folder: Path, order: BuildOrder) -> dict[str, Any]:
    """Build `order.builds` plans of an ONNX file into `folder`, and return the facts.

    The folder also gets the facts and the first build's timing cache. A named target needs no GPU.
    Raises Unsupported, with operator and node, for a graph that TensorRT cannot parse or cannot
    compile for the target, and RuntimeError with TensorRT's message for other failures.
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
    facts = {
        "runtime": order.module,
        "version": trt.__version__,
        "target": order.target,
        "tf32": order.tf32,
        "timing_cache": "none, no tactics are timed" if order.rtx else order.timing_cache,
        "builds": builds,
        "distinct_plans": len({facts["sha256"] for facts in builds}),
        "distinct_layers": len({facts["layers_sha256"] for facts in builds}),
    }
    (folder / FACTS).write_text(json.dumps(facts, indent=1))
    return facts


def record_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Select facts of `build_plans` for the record: figures per build, layers of the first."""
    first, *_ = builds = facts["builds"]
    return {
        "format": FORMAT,
        **{name: facts[name] for name in ("runtime", "version", "target", "tf32", "timing_cache")},
        "build_seconds": [build["seconds"] for build in builds],
        "plan_bytes": [build["bytes"] for build in builds],
        "plan_sha256": [build["sha256"] for build in builds],
        "layers_sha256": [build["layers_sha256"] for build in builds],
        **{name: facts[name] for name in ("distinct_plans", "distinct_layers")},
        **{name: first[name] for name in ("layers", "precisions", "reformats")},
    }


def _build_once(
    trt: Any, onnx: Path, order: BuildOrder, cache: bytes | None
) -> tuple[bytes, bytes | None, dict[str, Any]]:
    """Build a plan without state of other builds; returns plan, timing cache and facts."""
    log = BuildLog()
    logger = make_logger(trt, log)
    builder = trt.Builder(logger)
    typed = trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    network = builder.create_network(1 << int(typed))
    if not network.get_flag(typed):
        raise RuntimeError(
            f"{order.module} {trt.__version__} created a network without strong typing; "
            "install version 10 or later"
        )
    _parse(trt, network, logger, onnx, order)
    config = _configure(trt, builder, network, order)
    if not order.rtx:
        config.set_timing_cache(config.create_timing_cache(cache or b""), False)
    begin = time.perf_counter()
    serialized = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - begin
    if serialized is None:
        error = log.errors()
        message = f"{order.module} cannot build this graph for {order.target}: {error}"
        raise Unsupported(message) if "not supported" in error else RuntimeError(message)
    plan = bytes(serialized)
    layer_facts = layers.summary(layers_of_plan(trt, plan) or layers.parse_listing(log.listing()))
    facts = {
        "seconds": seconds,
        "bytes": len(plan),
        "sha256": hashlib.sha256(plan).hexdigest(),
        **layer_facts,
    }
    facts["tf32"] = bool(config.get_flag(trt.BuilderFlag.TF32))
    facts["network_layers"] = network.num_layers
    return plan, None if order.rtx else bytes(config.get_timing_cache().serialize()), facts


def _parse(trt: Any, network: Any, logger: Any, onnx: Path, order: BuildOrder) -> None:
    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(onnx)):
        return
    errors = [parser.get_error(number) for number in range(parser.num_errors)]
    located = [error for error in errors if error.node_operator()]
    if not located:
        raise RuntimeError(
            f"{order.module} cannot read {onnx.name}: "
            f"{'; '.join(error.desc() for error in errors) or 'without a reason'}"
        )
    raise Unsupported(
        f"{order.module} cannot parse {'; '.join(_describe_error(error) for error in located)}"
    )


def _describe_error(error: Any) -> str:
    """Return operator, node and reason of a parser's error."""
    reason = next(
        (
            line
            for line in error.desc().splitlines()
            if line and not line.startswith("Invalid Node")
        ),
        "",
    )
    kind = str(error.code()).rpartition(".")[2].lower().replace("_", " ")
    detail = "" if reason == "false" else f": {reason}"
    return (
        f"operator {error.node_operator()} (node {error.node_name() or 'without a name'}): "
        f"{kind}{detail}"
    )


def _configure(trt: Any, builder: Any, network: Any, order: BuildOrder) -> Any:
    """Configure TF32, detailed layer listings, a profile with the cell's shapes, and the target."""
    config = builder.create_builder_config()
    (config.set_flag if order.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    profile = builder.create_optimization_profile()
    for tensor in (network.get_input(number) for number in range(network.num_inputs)):
        profile.set_shape(tensor.name, *[order.shapes[tensor.name]] * 3)
    config.add_optimization_profile(profile)
    # By default, TensorRT for RTX builds for every GPU since Ampere.
    if order.rtx:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, order.target), 0)
    return config


def layers_of_plan(trt: Any, plan: bytes) -> list[layers.Layer]:
    """Return a plan's layers from the engine's inspector; empty if the plan cannot be loaded."""
    runtime = trt.Runtime(make_logger(trt, BuildLog()))
    engine = runtime.deserialize_cuda_engine(plan)
    return list(_inspected(trt, engine)) if engine is not None else []


def _inspected(trt: Any, engine: Any) -> Iterator[layers.Layer]:
    yield from layers.parse_inspection(
        engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    )

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
from typing import TYPE_CHECKING, Any, ClassVar

from backends import cuda_events
from backends.onnx import export
from backends.onnx.backend import OnnxBackend
from backends.tensorrt import builder
from harness import Attestation, Cell, Session, Source, Unavailable, Unsupported
from harness.environment import gpu
from harness.inputs import batches

if TYPE_CHECKING:
    import numpy as np

    from harness.core.session import Arrays

BUILDS = 3
"""Plans per cell unless the case says otherwise: the fewest of which a spread can be seen."""

MOST_BUILDS = 9

WAITING = {0: "runtime default", 1: "on", 2: "yields", 4: "off"}
"""How the host waits for the device, by CUDA's device flags: it chooses itself, spins, yields, or
sleeps.
"""

WAITING_MASK = 0x07


class Buffer:
    """One input or output of the engine: its memory on the device, of the size that the one shape
    needs.
    """

    def __init__(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], given: bool
    ) -> None:
        import numpy as np

        self.name, self.shape, self.dtype, self.given = name, shape, dtype, given
        self.bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self.address = cuda_events.call("cudaMalloc", self.bytes)

    def free(self) -> None:
        """Give the memory back."""
        cuda_events.call("cudaFree", self.address)


class EngineSession(Session):
    """A plan, its context, and device memory for every input and output."""

    inner, inner_clock = "device", cuda_events.CLOCK

    def __init__(self, module: str, folder: Path, cell: Cell) -> None:
        from cuda.bindings import runtime as cuda

        self.cell, self.cuda = cell, cuda
        self.trt: Any = importlib.import_module(module)
        self.facts = json.loads((folder / builder.FACTS).read_text())
        self.build = int(cell.option.get("build", 0))
        cuda_events.call("cudaSetDevice", gpu.index(cell.device))
        self.log = builder.Log()
        self.runtime = self.trt.Runtime(builder.logger(self.trt, self.log))
        self.runtime.max_threads = cell.threads
        self.engine = self.runtime.deserialize_cuda_engine(
            (folder / builder.plan_file(self.build)).read_bytes()
        )
        if self.engine is None:
            raise RuntimeError(f"{module} cannot load the plan: {self.log.errors()}")
        self.context = self.engine.create_execution_context()
        if self.context is None:
            raise RuntimeError(f"{module} cannot make an execution context: {self.log.errors()}")
        self.events = cuda_events.DriverEvents()
        self.buffers = [
            self._buffer(self.engine.get_tensor_name(number))
            for number in range(self.engine.num_io_tensors)
        ]
        self.graph: Any = self._capture() if cell.option.get("cuda_graph") else None

    def _buffer(self, name: str) -> Buffer:
        import numpy as np

        given = self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT
        specs = self.cell.model.inputs if given else self.cell.model.outputs
        shape = next(spec.concrete(self.cell.batch) for spec in specs if spec.name == name)
        if given:
            self._check(
                self.context.set_input_shape(name, shape), f"refuses the shape {shape} of {name}"
            )
        made = Buffer(
            name, shape, np.dtype(self.trt.nptype(self.engine.get_tensor_dtype(name))), given
        )
        self._check(
            self.context.set_tensor_address(name, int(made.address)),
            f"refuses the buffer of {name}",
        )
        return made

    def _check(self, done: bool, otherwise: str) -> None:
        if not done:
            raise RuntimeError(f"{self.trt.__name__} {otherwise}: {self.log.errors()}")

    def _enqueue(self) -> None:
        self._check(
            self.context.execute_async_v3(int(self.events.stream)), "did not enqueue the step"
        )

    def _capture(self) -> Any:
        """The step as a CUDA graph. It runs once before, since what is only made at the first call
        cannot be captured.
        """
        self._enqueue()
        self.events.synchronize()
        capturable = getattr(self.context, "is_stream_capturable", None)  # TensorRT for RTX has it
        if capturable is not None and not capturable(int(self.events.stream)):
            raise Unsupported(
                f"{self.trt.__name__} says that this engine's step cannot be captured as a CUDA graph"
            )
        mode = self.cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        cuda_events.call("cudaStreamBeginCapture", self.events.stream, mode)
        self._enqueue()
        captured = cuda_events.call("cudaStreamEndCapture", self.events.stream)
        graph = cuda_events.call("cudaGraphInstantiate", captured, 0)
        cuda_events.call("cudaGraphDestroy", captured)
        return graph

    def bind(self, inputs: Arrays) -> None:
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        for buffer in self.buffers:
            if buffer.given:
                array = inputs[buffer.name]
                if array.dtype != buffer.dtype or array.shape != buffer.shape:
                    raise ValueError(
                        f"{buffer.name} is {array.dtype}{array.shape}, the engine takes {buffer.dtype}{buffer.shape}"
                    )
                cuda_events.call(
                    "cudaMemcpyAsync",
                    buffer.address,
                    array.ctypes.data,
                    buffer.bytes,
                    kind,
                    self.events.stream,
                )
        self.events.synchronize()  # the copy is then outside `compute`, and the caller's array is free again

    def step(self) -> None:
        self.events.start()
        if self.graph is None:
            self._enqueue()
        else:
            cuda_events.call("cudaGraphLaunch", self.graph, self.events.stream)
        self.events.stop()

    def sync(self) -> None:
        self.events.synchronize()

    def inner_ns(self) -> int:
        return self.events.ns()

    def fetch(self) -> Arrays:
        import numpy as np

        kind = self.cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        made = {
            buffer.name: np.empty(buffer.shape, buffer.dtype)
            for buffer in self.buffers
            if not buffer.given
        }
        for buffer in self.buffers:
            if not buffer.given:
                target = made[buffer.name].ctypes.data
                cuda_events.call(
                    "cudaMemcpyAsync",
                    target,
                    buffer.address,
                    buffer.bytes,
                    kind,
                    self.events.stream,
                )
        self.events.synchronize()
        return made

    def attest(self) -> Attestation:
        text = self.engine.create_engine_inspector().get_engine_information(
            self.trt.LayerInformationFormat.JSON
        )
        found = builder.summary(builder.layers_of_inspector(text))
        built = self.facts["builds"][self.build]
        flags = cuda_events.call("cudaGetDeviceFlags") & WAITING_MASK
        return Attestation(
            runtime=self.trt.__name__,
            version=self.trt.__version__,
            device=cuda_events.device_name(self.cell.device, cuda_events.call("cudaGetDevice")),
            precision=builder.precision_used(found, built["tf32"]),
            threads=self.runtime.max_threads,
            denormals="as its kernels do",
            spinning=WAITING.get(flags, f"device flags {flags}"),
            providers=(f"{self.trt.__name__} {self.facts['target']}",),
            placement=found["precisions"],
            labels=("cuda graph",) if self.graph is not None else (),
            details={
                **{
                    name: found[name]
                    for name in ("layers", "reformats", "tf32_tactics", "layers_sha256")
                },
                "plan_sha256": built["sha256"],
                "build": self.build,
                "device_memory_bytes": sum(buffer.bytes for buffer in self.buffers),
            },
        )

    def close(self) -> None:
        if self.engine is None:
            return
        self.events.synchronize()
        if self.graph is not None:
            cuda_events.call("cudaGraphExecDestroy", self.graph)
        for buffer in self.buffers:
            buffer.free()
        self.events.close()
        self.context = self.engine = self.runtime = self.graph = (
            None  # in this order: each needs the next
        )


class TensorRt(OnnxBackend):
    """Plans from the shared ONNX file, strongly typed, one profile of exactly the cell's shapes."""

    name = "tensorrt"
    module: ClassVar[str] = "tensorrt"
    requires = ("tensorrt", "cuda.bindings")
    distributions = ("tensorrt", "cuda-bindings", "nvidia-ml-py", *OnnxBackend.distributions)
    portable_artifact = False
    precisions = ("fp32", "tf32", "fp16", "bf16", "int8-static")
    devices = (gpu.KIND,)
    options: ClassVar[Mapping[str, str]] = {
        **OnnxBackend.options,
        "cuda_graph": "True launches the step as one CUDA graph instead of kernel by kernel",
        "builds": f"how many plans are built, each from the start; {BUILDS} by default",
        "build": "which of them is run, 0 by default: cells that differ only in this show how much a build decides",
        "timing_cache": "'fresh' (default) times tactics anew for every build; 'shared' gives later builds the first one's timings",
    }

    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in self.requires if not _installed(name))

    def supports(self, cell: Cell) -> str:
        return super().supports(_as_exported(cell)) or _wrong_option(cell)

    def lacks(self, cell: Cell) -> str:
        return super().lacks(_as_exported(cell))

    def order(self, cell: Cell) -> builder.Order:
        """What is to be built for a cell."""
        return builder.Order(
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
            "onnx": super().artifact_key(_as_exported(cell)),
            "module": self.module,
            "version": batches.version_of(self.distributions[0]),
            "on": {name: device.get(name) for name in ("name", "capability", "driver")},
            **{name: getattr(order, name) for name in ("target", "tf32", "builds", "timing_cache")},
        }

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        draft = folder / "onnx"
        draft.mkdir()
        made = super().prepare(source, _as_exported(cell), draft)
        facts = builder.build_ahead(draft / export.FILE, folder, self.order(cell))
        shutil.rmtree(draft)
        return {**builder.condensed(facts), "onnx": made}

    def load(self, folder: Path, cell: Cell) -> Session:
        target = self.order(cell).target
        reason = gpu.lacks(cell.device) or _other_device(target, cell.device)
        if reason:
            facts = json.loads((folder / builder.FACTS).read_text())
            raise Unavailable(f"{_words(facts)}; not executed: {reason}")
        return EngineSession(self.module, folder, cell)


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


def _as_exported(cell: Cell) -> Cell:
    """The cell of the ONNX file that a plan is built from: TF32 is arithmetic on fp32 numbers."""
    return replace(cell, precision="fp32") if cell.precision == "tf32" else cell


def _wrong_option(cell: Cell) -> str:
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


def _words(facts: Mapping[str, Any]) -> str:
    builds = facts["builds"]
    sizes = "/".join(str(size) for size in sorted({build["bytes"] for build in builds}))
    seconds = "/".join(f"{build['seconds']:.2f}" for build in builds)
    counted = f"{len(builds)} build{'s' if len(builds) > 1 else ''}"
    return f"built ahead for {facts['target']}: {counted} of {sizes} bytes in {seconds} s, {facts['distinct_plans']} distinct"

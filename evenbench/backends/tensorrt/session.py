"""Sessions of TensorRT: a single execution context and CUDA stream, timed by CUDA events."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends import cuda_events
from evenbench.backends.tensorrt import builder, layers
from evenbench.harness import Attestation, Cell, Session, Unsupported
from evenbench.harness.environment import gpu

if TYPE_CHECKING:
    import numpy as np

    from evenbench.harness.core.session import Arrays


WAITING = {0: "runtime default", 1: "on", 2: "yields", 4: "off"}
"""CUDA's device flags: the host's way to wait for the device (automatic, spin, yield, sleep)."""


WAITING_MASK = 0x07


class Buffer:
    """Device memory of an input or output of the engine, sized for the cell's shape."""

    def __init__(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], is_input: bool
    ) -> None:
        import numpy as np

        self.name, self.shape, self.dtype, self.is_input = name, shape, dtype, is_input
        self.bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self.address = cuda_events.call("cudaMalloc", self.bytes)

    def free(self) -> None:
        """Free the device memory."""
        cuda_events.call("cudaFree", self.address)


class EngineSession(Session):
    """A loaded plan with execution context, and device memory for every input and output."""

    inner, inner_clock = "device", cuda_events.CLOCK

    def __init__(self, module: str, folder: Path, cell: Cell) -> None:
        from cuda.bindings import runtime as cuda

        self.cell, self.cuda = cell, cuda
        self.trt: Any = importlib.import_module(module)
        self.facts = json.loads((folder / builder.FACTS).read_text())
        self.build = int(cell.option.get("build", 0))
        cuda_events.call("cudaSetDevice", gpu.index(cell.device))
        self.log = builder.BuildLog()
        self.runtime = self.trt.Runtime(builder.make_logger(self.trt, self.log))
        self.runtime.max_threads = cell.threads
        self.engine = self.runtime.deserialize_cuda_engine(
            (folder / builder.plan_file(self.build)).read_bytes()
        )
        if self.engine is None:
            raise RuntimeError(f"{module} cannot load the plan: {self.log.errors()}")
        self.context = self.engine.create_execution_context()
        if self.context is None:
            raise RuntimeError(f"{module} cannot create an execution context: {self.log.errors()}")
        self.events = cuda_events.DriverEvents()
        self.buffers = [
            self._buffer(self.engine.get_tensor_name(number))
            for number in range(self.engine.num_io_tensors)
        ]
        self.graph: Any = self._capture() if cell.option.get("cuda_graph") else None

    def _buffer(self, name: str) -> Buffer:
        import numpy as np

        is_input = self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT
        specs = self.cell.model.inputs if is_input else self.cell.model.outputs
        shape = next(spec.concrete(self.cell.batch) for spec in specs if spec.name == name)
        if is_input:
            self._check(
                self.context.set_input_shape(name, shape), f"rejects the shape {shape} of {name}"
            )
        buffer = Buffer(
            name, shape, np.dtype(self.trt.nptype(self.engine.get_tensor_dtype(name))), is_input
        )
        self._check(
            self.context.set_tensor_address(name, int(buffer.address)),
            f"rejects the buffer of {name}",
        )
        return buffer

    def _check(self, succeeded: bool, failure: str) -> None:
        if not succeeded:
            raise RuntimeError(f"{self.trt.__name__} {failure}: {self.log.errors()}")

    def _enqueue(self) -> None:
        self._check(
            self.context.execute_async_v3(int(self.events.stream)), "did not enqueue the step"
        )

    def _capture(self) -> Any:
        """Capture the step as a CUDA graph, after a run to complete lazy initialisation."""
        self._enqueue()
        self.events.synchronize()
        # Only TensorRT for RTX has this method.
        capturable = getattr(self.context, "is_stream_capturable", None)
        if capturable is not None and not capturable(int(self.events.stream)):
            raise Unsupported(
                f"{self.trt.__name__} reports that this engine's step cannot be captured as "
                "a CUDA graph"
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
            if buffer.is_input:
                array = inputs[buffer.name]
                if array.dtype != buffer.dtype or array.shape != buffer.shape:
                    raise ValueError(
                        f"{buffer.name} is {array.dtype}{array.shape}, the engine expects "
                        f"{buffer.dtype}{buffer.shape}"
                    )
                cuda_events.call(
                    "cudaMemcpyAsync",
                    buffer.address,
                    array.ctypes.data,
                    buffer.bytes,
                    kind,
                    self.events.stream,
                )
        # Keeps the copy outside of `compute`, and frees the caller's array.
        self.events.synchronize()

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
        outputs = {
            buffer.name: np.empty(buffer.shape, buffer.dtype)
            for buffer in self.buffers
            if not buffer.is_input
        }
        for buffer in self.buffers:
            if not buffer.is_input:
                target = outputs[buffer.name].ctypes.data
                cuda_events.call(
                    "cudaMemcpyAsync",
                    target,
                    buffer.address,
                    buffer.bytes,
                    kind,
                    self.events.stream,
                )
        self.events.synchronize()
        return outputs

    def attest(self) -> Attestation:
        text = self.engine.create_engine_inspector().get_engine_information(
            self.trt.LayerInformationFormat.JSON
        )
        layer_facts = layers.summary(layers.parse_inspection(text))
        build_facts = self.facts["builds"][self.build]
        flags = cuda_events.call("cudaGetDeviceFlags") & WAITING_MASK
        return Attestation(
            runtime=self.trt.__name__,
            version=self.trt.__version__,
            device=cuda_events.device_name(self.cell.device, cuda_events.call("cudaGetDevice")),
            precision=layers.engine_precision(layer_facts, build_facts["tf32"]),
            threads=self.runtime.max_threads,
            denormals="as its kernels do",
            spinning=WAITING.get(flags, f"device flags {flags}"),
            providers=(f"{self.trt.__name__} {self.facts['target']}",),
            placement=layer_facts["precisions"],
            labels=("cuda graph",) if self.graph is not None else (),
            details={
                **{
                    name: layer_facts[name]
                    for name in ("layers", "reformats", "tf32_tactics", "layers_sha256")
                },
                "plan_sha256": build_facts["sha256"],
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
        # The order matters: each object needs the next.
        self.context = self.engine = self.runtime = self.graph = None

"""Sessions of OpenVINO: a single infer request for latency, several in flight for throughput."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.onnx import dynamic_axes
from evenbench.backends.openvino import conversion, executed_graph, properties, value_tensors
from evenbench.harness import Attestation, Cell, Session, TensorSpec

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


class OpenVinoSession(Session):
    """A reused infer request: `bind` copies in, as `infer(inputs)` does; `fetch` copies out."""

    def __init__(self, file: Path, cell: Cell, more: Mapping[str, Any] | None = None) -> None:
        """Compile `file`; `more` are properties beside the cell's."""
        import openvino as ov

        self.cell = cell
        self.runtime = ov
        core = ov.Core()
        with conversion.refusals(cell):
            model = conversion.read_model(core, file)
        self.any_size = bool(dynamic_axes.left_open(cell))
        # A user's file may leave sizes open; the cell sets sizes, or keeps some open.
        if model.is_dynamic():
            ports = _ports(model.inputs, cell.model.inputs)
            model.reshape(
                {
                    ports[spec.name]: _partial_shape(spec, cell)
                    for spec in cell.model.inputs
                    if spec.name in ports
                }
            )
        self.stored = executed_graph.stored_type(model)
        device = cell.device.upper().replace(":", ".")
        with conversion.refusals(cell):
            self.compiled: Any = core.compile_model(
                model,
                device,
                {**properties.supported_properties(cell, core, device), **(more or {})},
            )
        self.ports = _ports(self.compiled.inputs, cell.model.inputs)
        if self.any_size:
            dynamic_axes.check_left_open(cell, self._shapes())
        self.request: Any = self.compiled.create_infer_request()

    def _shapes(self) -> dict[str, list[int | str | None]]:
        """Return the compiled model's input shapes; an open size is text, for example `?`."""
        ports = {name: port.get_partial_shape() for name, port in self.ports.items()}
        return {
            name: [size.get_length() if size.is_static else str(size) for size in shape]
            for name, shape in ports.items()
        }

    def bind(self, inputs: Arrays) -> None:
        for name, port in self.ports.items():
            array, tensor = inputs[name], self.request.get_tensor(port)
            if self.any_size:
                tensor.shape = array.shape
            # Otherwise numpy would broadcast one sample over the batch.
            if tuple(tensor.shape) != array.shape:
                raise ValueError(
                    f"{name} is {list(array.shape)}; the compiled model takes {list(tensor.shape)}"
                )
            value_tensors.write(tensor, array)

    def step(self) -> None:
        self.request.infer(share_outputs=True)

    def fetch(self) -> Arrays:
        return self.outputs_of(self.request)

    def beside(self) -> Session:
        session = copy.copy(self)
        # Threads may share a compiled model, but each needs its own request.
        session.request = self.compiled.create_infer_request()
        return session

    def outputs_of(self, request: Any) -> dict[str, Any]:
        """Copy a request's outputs by position: a tensor of OpenVINO may have several names."""
        pairs = zip(self.cell.model.outputs, self.compiled.outputs, strict=True)
        return {
            spec.name: value_tensors.read(request.get_tensor(output), spec.dtype)
            for spec, output in pairs
        }

    def attest(self) -> Attestation:
        read = self.compiled.get_property
        names = set(read("SUPPORTED_PROPERTIES"))

        def known(name: str, other: Any) -> Any:
            # Plugins of other devices than the CPU have no threads and no denormals of their own.
            return other if self.cell.device != "cpu" and name not in names else read(name)

        executed = executed_graph.count_layers(self.compiled.get_runtime_model().get_ordered_ops())
        counts = executed_graph.compute_nodes(executed)
        precision, emulated = executed_graph.executed_precision(
            self.cell.precision,
            self.hint,
            counts,
            self.stored,
            self._quantises_dynamically(),
            self.cell.stored_precisions,
        )
        # oneTBB spins briefly, then sleeps; it has no switch to set or read.
        return Attestation(
            runtime="openvino",
            version=self.runtime.get_version(),
            device=properties.device_of(self.cell.device, read("EXECUTION_DEVICES")),
            precision=precision,
            threads=int(known("INFERENCE_NUM_THREADS", self.cell.threads)),
            denormals="flushed" if known("CPU_DENORMALS_OPTIMIZATION", False) else "preserved",
            spinning="runtime default",
            providers=tuple(read("EXECUTION_DEVICES")),
            placement=executed_graph.nodes_by_precision(executed),
            emulated=emulated,
            labels=self.labels(counts),
            details={
                **self.details(),
                "compute_nodes": dict(counts),
                "stored_weights": self.stored,
                "input_shapes": self._shapes(),
            },
        )

    @property
    def hint(self) -> str:
        """The compiled inference precision reported by the plugin, for example `f32`."""
        return str(self.compiled.get_property("INFERENCE_PRECISION_HINT").to_string())

    def labels(self, counts: Mapping[str, int]) -> tuple[str, ...]:
        """Return labels beside the precision: the quantiser, the wide layers, the open sizes."""
        return (
            *executed_graph.precision_labels(self.cell, counts),
            *dynamic_axes.labels(self.cell),
        )

    def details(self) -> dict[str, Any]:
        """Read the compiled model's properties back, without those missing in this release."""
        supported = set(self.compiled.get_property("SUPPORTED_PROPERTIES"))
        return {
            name.lower(): properties.as_json(self.compiled.get_property(name))
            for name in properties.READ_BACK
            if name in supported
        }

    def _quantises_dynamically(self) -> bool:
        supported = self.compiled.get_property("SUPPORTED_PROPERTIES")
        return (
            "DYNAMIC_QUANTIZATION_GROUP_SIZE" in supported
            and int(self.compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")) > 0
        )

    def close(self) -> None:
        self.request = None
        self.compiled = None


class ThroughputSession(OpenVinoSession):
    """Several requests in flight; `bind` and `step` outside the timed loop use another request."""

    def __init__(self, file: Path, cell: Cell) -> None:
        super().__init__(file, cell)
        requests = cell.option.get("requests", "auto")
        best = int(self.compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        # One request alone would measure latency. A device with an optimum of one gets a second
        # request, so that it stays busy.
        self.in_flight = max(2, best) if requests == "auto" else int(requests)
        self.queue: Any = self.runtime.AsyncInferQueue(self.compiled, self.in_flight)
        self.queue.set_callback(self._done)
        self.kept: dict[int, Arrays] = {}

    def submit(self, inputs: Arrays, lap: int, keep: bool, copy: bool) -> None:
        feeds = {port: inputs[name] for name, port in self.ports.items()}
        self.queue.start_async(feeds, (lap, keep, copy), share_inputs=not copy)

    def _done(self, request: Any, context: tuple[int, bool, bool]) -> None:
        lap, keep, copy = context
        if keep or copy:
            outputs = self.outputs_of(request)
            if keep:
                self.kept[lap] = outputs

    def sync(self) -> None:
        self.queue.wait_all()

    def collected(self) -> Mapping[int, Arrays]:
        outputs, self.kept = self.kept, {}
        return outputs

    def labels(self, counts: Mapping[str, int]) -> tuple[str, ...]:
        return ("throughput", *super().labels(counts))

    def details(self) -> dict[str, Any]:
        return {**super().details(), "requests": len(self.queue)}

    def close(self) -> None:
        self.queue = None
        super().close()


def _ports(ports: Sequence[Any], specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Return a model's input ports by declared name.

    OpenVINO drops unused inputs, and names; without names, places count.
    """
    named = {name: port for port in ports for name in port.get_names()}
    if len(ports) == len(specs) and not all(spec.name in named for spec in specs):
        return {spec.name: port for spec, port in zip(specs, ports, strict=True)}
    return {spec.name: named[spec.name] for spec in specs if spec.name in named}


def _partial_shape(spec: TensorSpec, cell: Cell) -> list[int]:
    """Return an input's shape for OpenVINO; -1 is open."""
    open_axes = dynamic_axes.open_axes(cell, spec)
    return [
        -1 if axis in open_axes else size for axis, size in enumerate(spec.concrete(cell.batch))
    ]

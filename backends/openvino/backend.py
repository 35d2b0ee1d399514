"""OpenVINO's Python API: every property said aloud and read back, because its defaults are bf16,
pinned threads and u8 caches.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.onnx import conversion as onnx_conversion
from backends.onnx import dynamic_axes, export
from backends.onnx.backend import OnnxBackend
from backends.openvino import conversion, tensor_capture
from backends.torch import outputs
from harness import Attestation, Cell, Session, Source, TensorSpec, Unsupported
from harness.core.backend import Deployment
from harness.core.intermediate_tensors import Exposed
from harness.inputs import batches

if TYPE_CHECKING:
    from harness.core.session import Arrays

PRECISION_OF = {
    "f32": "fp32",
    "bf16": "bf16",
    "f16": "fp16",
    "f64": "fp64",
    "i8": "int8",
    "u8": "int8",
}

COMPUTE = (
    "Convolution",
    "Deconvolution",
    "FullyConnected",
    "MatMul",
    "RNNCell",
    "RNNSeq",
    "ScaledDotProductAttention",
)
"""Layer types of the executed graph in which nearly all the work of a network is done."""

OWN = "model.xml"
"""An artifact in OpenVINO's own format: that of its quantiser, and of its converter."""

GROUP_SIZE = 32
"""How many activations share a scale where linear layers are quantised as they run: the plugin's
own default.
"""


class OpenVinoSession(Session):
    """One infer request, reused. Inputs are copied into its tensors, as `infer(inputs)` does by
    default; `fetch` copies out.
    """

    def __init__(self, file: Path, cell: Cell) -> None:
        import openvino as ov

        self.cell = cell
        self.runtime = ov
        core = ov.Core()
        model = conversion.read(core, file)
        self.any_size = bool(dynamic_axes.left_open(cell))
        if model.is_dynamic():  # a user's own file may leave sizes open; the cell says what they are, or that they stay open
            model.reshape({spec.name: _partial(spec, cell) for spec in cell.model.inputs})
        self.stored = _stored(model)
        device = cell.device.upper()
        self.compiled: Any = core.compile_model(model, device, _properties(cell, core, device))
        if self.any_size:
            dynamic_axes.check_left_open(cell, self._shapes())
        self.request: Any = self.compiled.create_infer_request()

    def _shapes(self) -> dict[str, list[int | str | None]]:
        """The inputs' shapes as the compiled model has them; an open size is text such as `?`."""
        ports = {
            spec.name: self.compiled.input(spec.name).get_partial_shape()
            for spec in self.cell.model.inputs
        }
        return {
            name: [size.get_length() if size.is_static else str(size) for size in shape]
            for name, shape in ports.items()
        }

    def bind(self, inputs: Arrays) -> None:
        for name, array in inputs.items():
            tensor = self.request.get_tensor(name)
            if self.any_size:
                tensor.shape = array.shape
            data = tensor.data
            if data.shape != array.shape:  # numpy would spread one sample over all of them
                raise ValueError(
                    f"{name} is {list(array.shape)}; the compiled model takes {list(data.shape)}"
                )
            data[...] = array

    def step(self) -> None:
        self.request.infer(share_outputs=True)

    def fetch(self) -> Arrays:
        return self.outputs_of(self.request)

    def beside(self) -> Session:
        made = copy.copy(self)
        made.request = (
            self.compiled.create_infer_request()
        )  # a compiled model may be shared; a request belongs to one caller
        return made

    def outputs_of(self, request: Any) -> dict[str, Any]:
        """Copies of a request's outputs. By position: a graph may give one tensor two names, of
        which OpenVINO tells any.
        """
        pairs = zip(self.cell.model.outputs, self.compiled.outputs, strict=True)
        return {spec.name: request.get_tensor(output).data.copy() for spec, output in pairs}

    def attest(self) -> Attestation:
        read = self.compiled.get_property
        executed = _executed(self.compiled.get_runtime_model().get_ordered_ops())
        counts = compute_nodes(executed)
        precision, emulated = ran_in(
            self.cell.precision, self.hint, counts, self.stored, self._quantises_dynamically()
        )
        return Attestation(
            runtime="openvino",
            version=self.runtime.get_version(),
            device=",".join(read("EXECUTION_DEVICES")).lower(),
            precision=precision,
            threads=int(read("INFERENCE_NUM_THREADS")),
            denormals="flushed" if read("CPU_DENORMALS_OPTIMIZATION") else "preserved",
            spinning="runtime default",  # oneTBB spins briefly, then sleeps; there is no switch to set or read
            providers=tuple(read("EXECUTION_DEVICES")),
            placement=by_precision(executed),
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
        """The inference precision that the plugin says it was compiled for, such as `f32`."""
        return str(self.compiled.get_property("INFERENCE_PRECISION_HINT").to_string())

    def labels(self, counts: Mapping[str, int]) -> tuple[str, ...]:
        """What a reader must know beside the precision: whose quantiser it was, how many layers
        were left out, which sizes are open.
        """
        return (*labels_of(self.cell, counts), *dynamic_axes.labels(self.cell))

    def details(self) -> dict[str, Any]:
        """Properties of the compiled model, read back; those that this release does not have are
        left out.
        """
        known = set(self.compiled.get_property("SUPPORTED_PROPERTIES"))
        return {
            name.lower(): _plain(self.compiled.get_property(name))
            for name in READ_BACK
            if name in known
        }

    def _quantises_dynamically(self) -> bool:
        known = self.compiled.get_property("SUPPORTED_PROPERTIES")
        return (
            "DYNAMIC_QUANTIZATION_GROUP_SIZE" in known
            and int(self.compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")) > 0
        )

    def close(self) -> None:
        self.request = None
        self.compiled = None


class ThroughputSession(OpenVinoSession):
    """Several requests in flight at once. What is bound and stepped alone, outside the timed loop,
    goes through one of its own.
    """

    def __init__(self, file: Path, cell: Cell) -> None:
        super().__init__(file, cell)
        wanted = cell.option.get("requests", "auto")
        best = int(self.compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        # One request alone would be a latency; a device that finds one best still gets the second
        # that keeps it busy.
        self.in_flight = max(2, best) if wanted == "auto" else int(wanted)
        self.queue: Any = self.runtime.AsyncInferQueue(self.compiled, self.in_flight)
        self.queue.set_callback(self._done)
        self.kept: dict[int, Arrays] = {}

    def submit(self, inputs: Arrays, lap: int, keep: bool, copy: bool) -> None:
        self.queue.start_async(dict(inputs), (lap, keep, copy), share_inputs=not copy)

    def _done(self, request: Any, asked: tuple[int, bool, bool]) -> None:
        lap, keep, copy = asked
        if keep or copy:
            outputs = self.outputs_of(request)
            if keep:
                self.kept[lap] = outputs

    def sync(self) -> None:
        self.queue.wait_all()

    def collected(self) -> Mapping[int, Arrays]:
        found, self.kept = self.kept, {}
        return found

    def labels(self, counts: Mapping[str, int]) -> tuple[str, ...]:
        return ("throughput", *super().labels(counts))

    def details(self) -> dict[str, Any]:
        return {**super().details(), "requests": len(self.queue)}

    def close(self) -> None:
        self.queue = None
        super().close()


READ_BACK = (
    "PERFORMANCE_HINT",
    "EXECUTION_MODE_HINT",
    "NUM_STREAMS",
    "OPTIMAL_NUMBER_OF_INFER_REQUESTS",
    "INFERENCE_PRECISION_HINT",
    "ENABLE_CPU_PINNING",
    "ENABLE_CPU_RESERVATION",
    "ENABLE_HYPER_THREADING",
    "SCHEDULING_CORE_TYPE",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE",
    "KV_CACHE_PRECISION",
)


def _partial(spec: TensorSpec, cell: Cell) -> list[int]:
    """An input's shape as OpenVINO is told it; -1 is open."""
    left = dynamic_axes.open_axes(cell, spec)
    return [-1 if axis in left else size for axis, size in enumerate(spec.concrete(cell.batch))]


def ran_in(
    asked: str, hint: str, counts: Mapping[str, int], stored: str, dynamic: bool
) -> tuple[str, str]:
    """The precision that was executed, and in words where only the weights are stored in it.

    `counts` are compute nodes by the precision that each ran in, `stored` is the type of most
    weights in the file, `dynamic` whether activations are quantised as linear layers run. A narrow
    node among fp32 ones is never fp32; a network that was asked to be narrow may keep some layers
    wide, which its labels say.
    """
    if hint not in ("f32", "dynamic") and asked == "fp32":
        return PRECISION_OF.get(hint, hint), ""
    ran = {PRECISION_OF.get(kind, kind) for kind in counts}
    if asked.startswith("int8") and "int8" in ran:
        if asked == "int8-static" or dynamic:
            return asked, ""
        return asked, "weights are stored as int8; the arithmetic runs in fp32"
    if asked in ran and asked != "fp32":
        return asked, ""
    if asked == PRECISION_OF.get(stored) and ran == {"fp32"} and asked != "fp32":
        return (
            asked,
            f"weights are stored as {asked}; the arithmetic runs in fp32, as this CPU has no instructions for {asked}",
        )
    return ",".join(sorted(ran)) or PRECISION_OF.get(hint, hint), ""


def labels_of(cell: Cell, counts: Mapping[str, int]) -> tuple[str, ...]:
    """Whose quantiser it was, and how many compute nodes ran in the narrow type where not all of
    them did.
    """
    quantiser = ("nncf",) if cell.option.get("quantizer") == "nncf" else ()
    asked = cell.precision.partition("-")[0]
    done, whole = (
        sum(many for kind, many in counts.items() if PRECISION_OF.get(kind) == asked),
        sum(counts.values()),
    )
    return quantiser + ((f"{asked} in {done} of {whole} layers",) if 0 < done < whole else ())


def _executed(nodes: Sequence[Any]) -> Counter[tuple[str, str]]:
    """How many nodes of the executed graph have which layer type and ran in which precision."""
    found = (node.rt_info for node in nodes)
    return Counter(
        (_text(info["layerType"]), _text(info["runtimePrecision"]))
        for info in found
        if "runtimePrecision" in info
    )


def _text(entry: Any) -> str:
    return str(getattr(entry, "value", entry))


def by_precision(executed: Mapping[tuple[str, str], int]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for (_, precision), many in executed.items():
        found[precision] += many
    return dict(found)


def compute_nodes(executed: Mapping[tuple[str, str], int]) -> Counter[str]:
    """Compute nodes by precision; in a network without any, everything that is no input, output or
    constant.
    """
    whole: Counter[str] = Counter()
    work: Counter[str] = Counter()
    for (layer, precision), many in executed.items():
        if layer in COMPUTE:
            work[precision] += many
        elif (
            layer not in ("Const", "Input", "Output", "Reorder", "Convert")
            and precision in PRECISION_OF
        ):
            whole[precision] += many
    return work or whole


def _stored(model: Any) -> str:
    """The element type that most bytes of the model's constants have, such as `f16`."""
    found: Counter[str] = Counter()
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant":
            found[node.get_element_type().get_type_name()] += node.get_byte_size()
    return found.most_common(1)[0][0] if found else ""


def _plain(value: Any) -> Any:
    """A property as JSON: types and enumerations by their names."""
    if isinstance(value, (bool, int, float, str)):
        return value
    return value.to_string() if hasattr(value, "to_string") else str(value).rpartition(".")[2]


def wanted(cell: Cell) -> dict[str, Any]:
    """The properties that a cell asks for, whether or not a release knows them, but for the
    precision (`hint_of`).
    """
    throughput = cell.option.get("hint", "latency") == "throughput"
    streams = cell.option.get("streams", "auto" if throughput else 1)
    properties: dict[str, Any] = {
        "PERFORMANCE_HINT": "THROUGHPUT" if throughput else "LATENCY",
        "INFERENCE_NUM_THREADS": cell.threads,
        "CPU_DENORMALS_OPTIMIZATION": False,
        "ENABLE_CPU_PINNING": False,  # no other runtime here binds its threads to cores
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP_SIZE if cell.precision == "int8-dynamic" else 0,
        "KV_CACHE_PRECISION": "f32" if cell.precision == "fp32" else "f16",
    }
    return properties if streams == "auto" else {**properties, "NUM_STREAMS": int(streams)}


def hint_of(precision: str) -> tuple[str, str]:
    """The capability that a device must have for a precision, and the hint that asks for it.
    Without it f32 is asked for.
    """
    return {"bf16": ("BF16", "bf16"), "fp16": ("FP16", "f16")}.get(precision, ("FP32", "f32"))


def _properties(cell: Cell, core: Any, device: str) -> dict[str, Any]:
    properties = wanted(cell)
    if cell.option.get("precision_hint", "asked") == "asked":
        properties["INFERENCE_PRECISION_HINT"] = _precision_hint(
            cell.precision, core.get_property(device, "OPTIMIZATION_CAPABILITIES")
        )
    known = set(core.get_property(device, "SUPPORTED_PROPERTIES"))
    return {
        name: value
        for name, value in properties.items()
        if name in known or name == "CPU_DENORMALS_OPTIMIZATION"
    }


def _precision_hint(precision: str, capabilities: Sequence[str]) -> str:
    """What to ask the plugin for. A narrow type that the device lacks is asked for as f32: fp16
    would silently become bf16.
    """
    capability, hint = hint_of(precision)
    return hint if capability in capabilities else "f32"


class OpenVino(OnnxBackend):
    """Reads the same ONNX file as every other ONNX backend, or one that OpenVINO's own quantiser
    made.
    """

    name = "openvino"
    open_outputs = True
    requires = ("openvino",)
    distributions = ("openvino", *OnnxBackend.distributions)
    options = {
        **OnnxBackend.options,
        **dynamic_axes.DYNAMIC,
        "precision_hint": "'asked' (default) sets the cell's precision; 'runtime' leaves the plugin's own default, often bf16",
        "hint": "'latency' (default) or 'throughput': several requests in flight, never compared with latency",
        "streams": "how many inferences run side by side: a number (default 1), or 'auto' (default of throughput)",
        "requests": "with hint='throughput', how many requests are in flight: a number, or 'auto' (default)",
        "quantizer": "'onnxruntime' (default) reads the int8 file that all share; 'nncf' quantises with OpenVINO's own",
        "frontend": "'onnx' (default) reads the ONNX file that all share; 'pytorch' converts the traced module without one, at fp32",
    }

    def supports(self, cell: Cell) -> str:
        return (
            super().supports(cell)
            or _refuses(cell.option, cell.precision)
            or conversion.refuses(cell)
        )

    def lacks(self, cell: Cell) -> str:
        if cell.option.get("quantizer") != "nncf":
            return super().lacks(cell)
        missing = not cell.interpreter_name and onnx_conversion.absent("nncf")
        return (
            "quantizer=nncf needs nncf, which is not installed; pip install 'evenbench[nncf]'"
            if missing
            else ""
        )

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        if conversion.converts(cell):
            return conversion.key()
        if cell.option.get("quantizer") != "nncf":
            return super().artifact_key(cell)
        versions = {name: batches.version_of(name) for name in ("nncf", "openvino")}
        return {
            **export.key(export.at_fp32(cell)),
            **versions,
            "quantizer": "nncf",
            "settings": NNCF[cell.precision],
        }

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        if conversion.converts(cell):
            return conversion.convert(source, cell, folder / OWN)
        if cell.option.get("quantizer") != "nncf":
            return super().prepare(source, cell, folder)
        facts = super().prepare(source, export.at_fp32(cell), folder)
        conversion.quantise(folder / export.FILE, folder / OWN, cell.precision, source.calibration)
        made = {"format": "OpenVINO IR", "quantizer": "nncf", "settings": NNCF[cell.precision]}
        return {
            **facts,
            **made,
            "precision": cell.precision,
            "calibration_sha256": source.calibration_sha256,
        }

    def deployment(self, cell: Cell) -> Deployment:
        if (
            cell.option.get("hint") == "throughput"
            or cell.option.get("precision_hint", "asked") != "asked"
            or "dynamic" in cell.option
        ):
            raise Unsupported(
                "a program with several requests in flight, any batch, or the plugin's own precision has not been written"
            )
        shapes = {spec.name: list(spec.concrete(cell.batch)) for spec in cell.model.inputs}
        settings = {
            "files": [OWN, export.FILE],
            "shapes": shapes,
            "properties": wanted(cell),
            "hint": hint_of(cell.precision),
        }
        return Deployment(("openvino",), "backends.openvino.deployed_network:Network", settings)

    def expose(
        self, folder: Path, cell: Cell, into: Path, only: Collection[str] | None, inputs: Arrays
    ) -> Exposed:
        if not conversion.converts(cell):
            return super().expose(folder, cell, into, only, inputs)
        declared = [spec.name for spec in cell.model.outputs]
        within = tensor_capture.expose(
            folder / OWN, into / OWN, only, declared, outputs.wrappers(cell.model)
        )
        return Exposed("names of operators by OpenVINO's PyTorch frontend", tuple(within))

    def watch(self, folder: Path, cell: Cell, names: Sequence[str]) -> Session:
        if not conversion.converts(cell):
            return super().watch(folder, cell, names)
        return tensor_capture.WatchedSession(self.load(folder, cell), names)

    def load(self, folder: Path, cell: Cell) -> Session:
        own = folder / OWN
        kind = ThroughputSession if cell.option.get("hint") == "throughput" else OpenVinoSession
        return kind(own if own.exists() else folder / export.FILE, cell)


CHOICES = {
    "precision_hint": ("asked", "runtime"),
    "hint": ("latency", "throughput"),
    "quantizer": ("onnxruntime", "nncf"),
    "frontend": ("onnx", "pytorch"),
}

NNCF = {
    "int8-static": {
        "preset": "performance",
        "bias_correction": "fast",
        "batches": "all of the calibration's",
    },
    "int8-dynamic": {
        "weights": "s8 symmetric, per channel",
        "activations": f"groups of {GROUP_SIZE} as they run",
        "convolutions": "fp32",
    },
}
"""What each precision means when OpenVINO's own quantiser makes it; NNCF's defaults but for the
number of samples.
"""


def _refuses(option: Mapping[str, Any], precision: str) -> str:
    """An empty string, or which option has no such value."""
    for name, allowed in CHOICES.items():
        if option.get(name, allowed[0]) not in allowed:
            return f"{name} is {' or '.join(map(repr, allowed))}, not {option[name]!r}"
    for name in ("streams", "requests"):
        value = option.get(name, "auto")
        least = 2 if name == "requests" else 1  # one request in flight is a latency
        if value != "auto" and not (isinstance(value, int) and value >= least):
            return f"{name} is 'auto' or a number of {least} or more, not {value!r}"
    if "requests" in option and option.get("hint") != "throughput":
        return "requests are asynchronous, and mean something with hint='throughput' only"
    if option.get("quantizer") == "nncf" and precision not in NNCF:
        return f"quantizer=nncf makes {' and '.join(NNCF)}, not {precision}"
    return ""

"""ONNX Runtime's Python API: one session, sequential execution, explicit threads, no silent change of provider."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends import onnx_artifact
from harness import Attestation, Cell, Session

if TYPE_CHECKING:
    from harness.backend import Arrays

PROVIDERS = {"cpu": "CPUExecutionProvider"}

ENTRIES = {
    "session.set_denormal_as_zero": "0",
    "session.record_ep_graph_assignment_info": "1",
}
"""Session entries for every cell: denormals are kept, and node placement can be read back."""

PRECISION_OF = {"tensor(float)": "fp32", "tensor(float16)": "fp16", "tensor(bfloat16)": "bf16", "tensor(double)": "fp64"}


class OrtSession(Session):
    """Inputs are handed over as numpy arrays, which the CPU provider reads in place."""

    def __init__(self, file: Path, cell: Cell) -> None:
        import onnxruntime as ort

        self.cell = cell
        self.runtime = ort
        provider = PROVIDERS[cell.device]
        self.session = ort.InferenceSession(str(file), _options(ort, cell), providers=[provider], enable_fallback=0)
        self.session.disable_fallback()
        self._check_providers(provider)
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.feeds: dict[str, Any] = {}
        self.result: list[Any] = []

    def _check_providers(self, provider: str) -> None:
        found = self.session.get_providers()
        if found[0] != provider:
            raise RuntimeError(f"ort: asked for {provider}, the session has {found}; install the onnxruntime package that has it")

    def bind(self, inputs: Arrays) -> None:
        self.feeds = dict(inputs)

    def step(self) -> None:
        self.result = self.session.run(self.outputs, self.feeds)

    def fetch(self) -> Arrays:
        return dict(zip(self.outputs, self.result, strict=True))

    def attest(self) -> Attestation:
        options = self.session.get_session_options()
        spinning = options.get_session_config_entry("session.intra_op.allow_spinning")
        flushed = options.get_session_config_entry("session.set_denormal_as_zero")
        providers = self.session.get_providers()
        kinds = {tensor.type for tensor in (*self.session.get_inputs(), *self.session.get_outputs())}
        return Attestation(
            runtime="onnxruntime",
            version=self.runtime.__version__,
            device=next((device for device, name in PROVIDERS.items() if name == providers[0]), providers[0]),
            precision=",".join(sorted({PRECISION_OF[kind] for kind in kinds if kind in PRECISION_OF})),
            threads=options.intra_op_num_threads,
            denormals="flushed" if flushed == "1" else "preserved",
            spinning="on" if spinning == "1" else "off",
            providers=tuple(providers),
            placement=self._placement(),
            details={
                "inter_op_num_threads": options.inter_op_num_threads,
                "execution_mode": str(options.execution_mode),
                "graph_optimization_level": str(options.graph_optimization_level),
                "build": self.runtime.get_build_info(),
            },
        )

    def _placement(self) -> dict[str, int]:
        """Nodes of the optimised graph by the provider that they were assigned to."""
        placed: Counter[str] = Counter()
        for subgraph in self.session.get_provider_graph_assignment_info():
            placed[subgraph.ep_name] += len(subgraph.get_nodes())
        return dict(placed)

    def close(self) -> None:
        self.result = []
        self.session = None


def _options(ort: Any, cell: Cell) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = cell.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    spinning = "0" if cell.option.get("spinning") == "off" else "1"  # 1 is also the runtime's default, said here to be read back
    for name, value in {**ENTRIES, "session.intra_op.allow_spinning": spinning}.items():
        options.add_session_config_entry(name, value)
    return options


class OnnxRuntime(onnx_artifact.OnnxBackend):
    """The CPU provider, all graph optimisations, sequential."""

    name = "ort"
    requires = ("onnxruntime",)
    distributions = ("onnxruntime", *onnx_artifact.OnnxBackend.distributions)
    environments = {"openvino": ("onnxruntime-openvino",), "gpu": ("onnxruntime-gpu",)}
    options = {"spinning": "'default' lets idle threads spin for a while, as ONNX Runtime does; 'off' makes them sleep at once"}

    def load(self, folder: Path, cell: Cell) -> Session:
        return OrtSession(folder / onnx_artifact.FILE, cell)

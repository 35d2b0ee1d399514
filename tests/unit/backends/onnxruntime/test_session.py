"""Sessions of ONNX Runtime on a fake runtime: absent devices and providers, misplaced nodes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evenbench.backends.onnxruntime import session as ort_session
from evenbench.backends.onnxruntime import session_options
from evenbench.backends.onnxruntime.backend import OnnxRuntime
from evenbench.harness import BATCH, Cell, Model, Session, TensorSpec, Unavailable, Unsupported
from evenbench.harness.measurement import attestation as measured_attestation

onnx = pytest.importorskip("onnx")

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

MODEL = Model(
    "twice",
    file="twice.onnx",
    inputs=(TensorSpec("x", (BATCH, 2)),),
    outputs=(TensorSpec("y", (BATCH, 2)),),
)


class Options:
    """Session options with memory."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.execution_mode = self.graph_optimization_level = ""
        self.enable_mem_pattern = self.enable_mem_reuse = True
        self.enable_profiling = False
        self.optimized_model_filepath = self.profile_file_prefix = ""

    def add_session_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value

    def get_session_config_entry(self, name: str) -> str:
        return self.entries[name]

    def register_custom_ops_library(self, path: str) -> None:
        raise RuntimeError(f"{path} has no RegisterCustomOps")


class Value:
    """An OrtValue with its location."""

    def __init__(self, array: Any, *place: Any) -> None:
        self.array, self.place, self.updates = array, place, 0

    ortvalue_from_numpy = classmethod(lambda kind, array, *place: kind(np.array(array), *place))
    ortvalue_from_shape_and_type = classmethod(
        lambda kind, shape, dtype, *place: kind(np.zeros(shape, dtype), *place)
    )

    def update_inplace(self, array: Any) -> None:
        self.array, self.updates = np.array(array), self.updates + 1

    def numpy(self) -> Any:
        return self.array


class Binding:
    """Records bound values and counts synchronisations."""

    def __init__(self) -> None:
        self.inputs: dict[str, Value] = {}
        self.outputs: dict[str, Value] = {}
        self.waits = 0

    def bind_ortvalue_input(self, name: str, value: Value) -> None:
        self.inputs[name] = value

    def bind_ortvalue_output(self, name: str, value: Value) -> None:
        self.outputs[name] = value

    def synchronize_inputs(self) -> None:
        pass

    def synchronize_outputs(self) -> None:
        self.waits += 1


def played(
    nodes: list[tuple[str, str, str]],
    loads: bool = True,
    has: tuple[str, ...] = (CUDA, CPU),
    rows: int | str | None = 1,
) -> Any:
    """A fake module `onnxruntime` that doubles inputs of `rows` rows.

    Its profile contains `nodes`: operator, element type, provider.
    """

    class InferenceSession:
        def __init__(
            self,
            file: str,
            options: Options,
            providers: list[Any],
            enable_fallback: int,
            disabled_optimizers: Any = (),
        ) -> None:
            if "kernel" in Path(file).name:
                raise RuntimeError(
                    "9 : NOT_IMPLEMENTED : Could not find an implementation for Conv(22) "
                    "node with name 'c'"
                )
            self.options, self.told = options, dict(providers)
            self.given = [*self.told, CPU] if loads else [CPU]
            self.without = list(disabled_optimizers)
            assert enable_fallback == 0

        def disable_fallback(self) -> None:
            pass

        def get_providers(self) -> list[str]:
            return self.given

        def get_provider_options(self) -> Any:
            return self.told

        def get_session_options(self) -> Options:
            return self.options

        def get_inputs(self) -> Any:
            return [SimpleNamespace(name="x", shape=[rows, 2])]

        def get_outputs(self) -> Any:
            return [SimpleNamespace(name="y")]

        def run(self, names: list[str], feeds: Any) -> Any:
            return [2 * feeds["x"]]

        def io_binding(self) -> Binding:
            return Binding()

        def run_with_iobinding(self, binding: Binding) -> None:
            binding.outputs["y"].array = 2 * binding.inputs["x"].array

        def end_profiling(self) -> str:
            events: list[Any] = [{"cat": "Session", "name": "model_run", "ts": 0, "dur": 100}]
            for operator, kind, provider in nodes:
                if operator not in self.without:
                    told = {
                        "op_name": operator,
                        "provider": provider,
                        "input_type_shape": [{kind: [1]}],
                    }
                    events.append(
                        {
                            "cat": "Node",
                            "name": f"{operator}_kernel_time",
                            "ts": 1,
                            "dur": 1,
                            "args": told,
                        }
                    )
            file = Path(self.options.profile_file_prefix + ".json")
            file.write_text(json.dumps(events))
            return str(file)

    runtime: Any = ModuleType("onnxruntime")
    levels = {name: name for name in session_options.LEVELS.values() if name != "ORT_ENABLE_LAYOUT"}
    runtime.GraphOptimizationLevel = SimpleNamespace(**levels)
    runtime.ExecutionMode = SimpleNamespace(
        **{name: name for name in session_options.MODES.values()}
    )
    runtime.SessionOptions, runtime.InferenceSession, runtime.OrtValue = (
        Options,
        InferenceSession,
        Value,
    )
    runtime.get_available_providers = lambda: list(has)
    runtime.get_build_info = lambda: "played"
    runtime.__version__ = "9.9"
    return runtime


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy"]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2], [2, 2])
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])], "g", [value[0]], [value[1]], [weight]
    )
    onnx.save(helper.make_model(graph), str(tmp_path / "model.onnx"))
    return tmp_path


def cell(precision: str = "fp32", device: str = "cuda:1", **options: Any) -> Cell:
    return Cell(MODEL, "ort", precision, device, threads=3, options=tuple(options.items()))


GOOD = [("Conv", "float", CUDA), ("Reshape", "float", CPU)]


def opened(asked: Cell, folder: Path, monkeypatch: pytest.MonkeyPatch, runtime: Any = None) -> Any:
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime or played(GOOD))
    return OnnxRuntime().load(folder, asked)


def batch(value: float) -> dict[str, Any]:
    return {"x": np.full((1, 2), value, np.float32)}


def test_buffers_stay_on_the_cells_device(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(cell(), folder, monkeypatch)
    session.bind(batch(1.0))
    bound = session.binding.inputs["x"]
    assert bound.place == session.binding.outputs["y"].place == ("cuda", 1)
    session.step()
    session.sync()
    first = session.fetch()["y"]
    session.bind(batch(3.0))
    session.step()
    session.sync()
    assert session.binding.inputs["x"] is bound
    assert bound.updates == 1
    assert session.binding.waits == 2
    assert (first.tolist(), session.fetch()["y"].tolist()) == ([[2.0, 2.0]], [[6.0, 6.0]])
    session.close()
    session.close()


def test_arrays_handed_to_a_device_are_copied_within_the_lap_and_labelled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(cell(iobinding="off"), folder, monkeypatch)
    session.bind(batch(1.0))
    session.step()
    assert session.fetch()["y"].tolist() == [[2.0, 2.0]]
    assert "copies are part of compute" in session.attest().labels


@pytest.mark.parametrize("rows", ["batch", None])
def test_an_open_batch_is_read_back_from_the_session(
    rows: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(cell(dynamic="batch"), folder, monkeypatch, played(GOOD, rows=rows))
    for many in (1, 3):
        session.bind({"x": np.ones((many, 2), np.float32)})
        session.step()
        assert session.fetch()["y"].shape == (many, 2)
    attestation = session.attest()
    assert "any batch" in attestation.labels
    assert attestation.details["input_shapes"] == {"x": [rows, 2]}


def test_a_file_of_one_size_is_no_open_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        Unsupported,
        match=r"requested dynamic=batch, but the loaded network takes x of \[1, 2\] only",
    ):
        opened(cell(dynamic="batch"), folder, monkeypatch)


def attested(
    asked: Cell, folder: Path, monkeypatch: pytest.MonkeyPatch, nodes: list[tuple[str, str, str]]
) -> Any:
    session: Session = opened(asked, folder, monkeypatch, played(nodes))
    return session.attest()


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_the_session_on_cuda_is_attested(
    precision: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attestation = attested(cell(precision), folder, monkeypatch, GOOD)
    assert measured_attestation.difference(cell(precision), attestation) == ""
    assert (attestation.precision, attestation.device) == (precision, "cuda:1")
    assert "partly on the CPU provider" in attestation.labels, "a shape on the CPU is recorded"
    assert attestation.details["graph"]["nodes_by_provider"] == {CUDA: 1, CPU: 1}
    assert attestation.details["provider_options"][CUDA]["cudnn_conv_algo_search"] == "EXHAUSTIVE"


def test_work_that_fell_back_to_the_cpu_is_a_fallback(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attestation = attested(cell(), folder, monkeypatch, [*GOOD, ("Gemm", "float", CPU)])
    assert "ran cuda:1, with 1 node (Gemm) on another provider" in measured_attestation.difference(
        cell(), attestation
    )


def test_fp16_without_a_narrow_node_is_a_fallback(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attestation = attested(cell("fp16"), folder, monkeypatch, GOOD)
    assert "precision fp16, ran fp32" in measured_attestation.difference(cell("fp16"), attestation)
    narrow = attested(cell("fp16"), folder, monkeypatch, [("Conv", "float16", CUDA)])
    assert measured_attestation.difference(cell("fp16"), narrow) == ""


def test_a_provider_missing_in_the_wheel_is_unavailable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable, match="has no CUDAExecutionProvider; install onnxruntime-gpu"):
        opened(cell(), folder, monkeypatch, played([], has=(CPU,)))


def test_a_provider_whose_library_does_not_load_is_unavailable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable, match="its library did not load"):
        opened(cell(), folder, monkeypatch, played([], loads=False))


def test_a_level_missing_in_the_release_is_unsupported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unsupported, match=r"ONNX Runtime 9\.9 has no optimization=layout"):
        opened(cell(optimization="layout"), folder, monkeypatch)


def test_a_missing_kernel_is_unsupported_with_its_operator(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", played(GOOD))
    with pytest.raises(
        Unsupported, match=r"CUDAExecutionProvider has no kernel for Conv \(opset 22\) at bf16"
    ):
        ort_session.OrtSession(folder / "kernel.onnx", cell("bf16"))


def test_a_library_without_operators_is_unavailable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable, match="has no RegisterCustomOps"):
        opened(cell(custom_ops=str(folder / "library.so")), folder, monkeypatch)


@pytest.mark.parametrize(
    ("names", "changed"),
    [("Reshape", True), ("Reshape, NoSuchOptimizer", True), ("NoSuchOptimizer", False)],
)
def test_a_disabled_optimizer_that_changes_nothing_says_so(
    names: str, changed: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attestation = attested(cell(disabled_optimizers=names), folder, monkeypatch, GOOD)
    assert attestation.details["graph"]["disabled_optimizers"]["changed_graph"] is changed
    assert ("the disabled optimizers changed nothing" in attestation.labels) is not changed


def test_an_option_changed_by_the_session_is_unsupported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = played(GOOD)
    changed = Options()
    changed.execution_mode, changed.graph_optimization_level = "ORT_SEQUENTIAL", "ORT_ENABLE_ALL"
    monkeypatch.setattr(runtime.InferenceSession, "get_session_options", lambda self: changed)
    with pytest.raises(
        Unsupported,
        match="requested execution_mode ORT_PARALLEL, but ONNX Runtime uses ORT_SEQUENTIAL",
    ):
        opened(cell(execution="parallel"), folder, monkeypatch, runtime)


def test_every_option_reaches_the_session(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = cell(
        optimization="basic", execution="parallel", inter_op=2, arena="off", spinning="off"
    )
    session = opened(asked, folder, monkeypatch)
    attestation = session.attest()
    details = attestation.details
    assert (details["graph_optimization_level"], details["execution_mode"]) == (
        "ORT_ENABLE_BASIC",
        "ORT_PARALLEL",
    )
    assert (details["inter_op_num_threads"], attestation.threads, details["cpu_mem_arena"]) == (
        2,
        3,
        False,
    )
    assert (attestation.spinning, attestation.denormals) == ("off", "preserved")
    assert "2 inter-op threads beside 3" in attestation.labels

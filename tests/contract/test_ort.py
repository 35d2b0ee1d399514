"""ONNX Runtime's options and providers, for real: each is right, read back, and leaves its mark on
what was executed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evenbench.backends.contract_model import TINY_CNN
from evenbench.backends.onnxruntime.backend import OnnxRuntime
from evenbench.harness import BATCH, Cell, Model, TensorSpec
from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.environment import cpu
from evenbench.harness.runner.schedule import Run
from evenbench.harness.testing import BackendContract, fresh_registry
from tests.unit.builders import plan

pytest.importorskip("onnxruntime")

CPU = "CPUExecutionProvider"

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    **{level: {"optimization": level} for level in ("disable", "basic", "extended", "layout")},
    "parallel": {"execution": "parallel", "inter_op": 2},
    "no arena": {"arena": "off"},
    "bound": {"iobinding": "on"},
    "unfused": {"disabled_optimizers": "ConvActivationFusion,NchwcTransformer"},
    "misnamed": {"disabled_optimizers": "NoSuchOptimizer"},
    "asleep": {"spinning": "off"},
    "older exporter": {"exporter": "torchscript", "opset": 17},
    "older opset": {"opset": 18},
    "any batch": {"dynamic": "batch"},
    "any batch, traced": {"dynamic": "batch", "exporter": "torchscript"},
}

ABSENT: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "openvino": ("cpu", {"provider": "openvino"}, "use backend ort@openvino"),
    "xnnpack": ("cpu", {"provider": "xnnpack"}, "no known wheel has"),
    "coreml": ("coreml", {}, "CoreMLExecutionProvider"),
    "dml": ("dml", {}, "DmlExecutionProvider"),
    "qnn": ("qnn", {}, "onnxruntime-qnn"),
    "custom_ops": ("cpu", {"custom_ops": "no/such/library.so"}, "is not a file"),
}
"""Device, options, and what the reason must contain, of cells that the plain wheel on Linux cannot
run.
"""


def cell(device: str = "cpu", model: Model = TINY_CNN, **options: Any) -> Cell:
    return Cell(model, "ort", device=device, threads=cpu.cores(), options=tuple(options.items()))


def measured(cells: Mapping[str, Cell], results: Path) -> dict[str, Mapping[str, Any]]:
    """Each cell's outcome, of one run as short as parity allows."""
    entries = {name: Entry(each) for name, each in cells.items()}
    run = Run(list(entries.values()), plan(timeout_seconds=120.0), results, fresh=True)
    lines = {line["cell"]["key"]: line for line in run.measure(list(entries.values()))}
    run.finish()
    return {name: lines[each.key] for name, each in cells.items()}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """The outcome of every option and of every absent provider."""
    asked = {name: cell(**options) for name, options in OPTIONS.items()}
    absent = {name: cell(device, **options) for name, (device, options, _) in ABSENT.items()}
    return measured({**asked, **absent}, tmp_path_factory.mktemp("results"))


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_gives_the_right_answer(name: str, lines: Mapping[str, Any]) -> None:
    line = lines[name]
    assert line["outcome"] == "ok", f"{line['phase']}: {line['reason']}\n{line['traceback']}"
    assert line["parity"]["needed"] <= 1
    assert line["attested"]["precision"] == "fp32"
    assert line["attested"]["emulated"] == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", ABSENT)
def test_what_the_wheel_lacks_is_unavailable_with_where_to_get_it(
    name: str, lines: Mapping[str, Any]
) -> None:
    assert lines[name]["outcome"] == "unavailable", lines[name]["reason"]
    assert ABSENT[name][2] in lines[name]["reason"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "detail", "value"),
    [
        ("default", "graph_optimization_level", "ORT_ENABLE_ALL"),
        ("disable", "graph_optimization_level", "ORT_DISABLE_ALL"),
        ("layout", "graph_optimization_level", "ORT_ENABLE_LAYOUT"),
        ("default", "execution_mode", "ORT_SEQUENTIAL"),
        ("parallel", "execution_mode", "ORT_PARALLEL"),
        ("parallel", "inter_op_num_threads", 2),
        ("default", "cpu_mem_arena", True),
        ("no arena", "cpu_mem_arena", False),
        ("default", "iobinding", "off"),
        ("bound", "iobinding", "on"),
    ],
)
def test_options_are_read_back(
    name: str, detail: str, value: Any, lines: Mapping[str, Any]
) -> None:
    assert lines[name]["attested"]["details"][detail] == value


def graph_of(line: Mapping[str, Any]) -> Mapping[str, Any]:
    return line["attested"]["details"]["graph"]  # type: ignore[no-any-return]


@pytest.mark.slow
def test_optimisation_leaves_its_mark_on_the_graph(lines: Mapping[str, Any]) -> None:
    """What was fused names operators that are gone, and what was added makes up for the number of
    nodes.
    """
    none, whole, unfused = (graph_of(lines[name]) for name in ("disable", "default", "unfused"))
    assert none["fused"] == none["added"] == none["removed"] == {}
    assert none["operators_written"] == none["operators_before"] == whole["operators_before"]
    assert whole["nodes_after"] - sum(whole["added"].values()) < whole["nodes_before"]
    assert any("Conv + Relu" in fusion for fusion in whole["fused"]), whole["fused"]
    assert not any("Conv + Relu" in fusion for fusion in unfused["fused"]), unfused["fused"]
    assert not any("Relu" in operator for operator in whole["operators_written"])
    assert unfused["operators_after"]["Relu"] == 1
    assert sum(whole["operators_written"].values()) == whole["nodes_after"], (
        "what was written is what ran"
    )


@pytest.mark.slow
def test_every_node_and_all_time_is_the_cpu_providers(lines: Mapping[str, Any]) -> None:
    for name in OPTIONS:
        graph = graph_of(lines[name])
        assert graph["time_share_by_provider"] == {CPU: 1.0}
        assert graph["nodes_by_provider"] == {CPU: graph["nodes_after"]}
        assert sum(graph["time_share_by_operator"].values()) == pytest.approx(1.0, abs=0.02)
        assert graph["compute_nodes"] == {"fp32": 4}


@pytest.mark.slow
def test_an_optimizer_that_does_not_exist_is_no_silent_cell(lines: Mapping[str, Any]) -> None:
    """ONNX Runtime takes any name."""
    assert lines["misnamed"]["attested"]["labels"] == ["the disabled optimizers changed nothing"]
    assert lines["unfused"]["attested"]["labels"] == []


@pytest.mark.slow
def test_the_file_is_the_chosen_exporters(lines: Mapping[str, Any]) -> None:
    shas = {
        name: lines[name]["artifact_sha256"]
        for name in ("default", "disable", "older exporter", "older opset")
    }
    assert shas["default"] == shas["disable"]
    assert len(set(shas.values())) == 3
    assert lines["older exporter"]["artifact"]["facts"]["exporter"] == "torch.onnx torchscript"
    assert lines["older exporter"]["artifact"]["facts"]["opset"] == 17


@pytest.mark.slow
def test_other_releases_and_wheels_tell_the_same_things(tmp_path: Path) -> None:
    """They have no onnx to read a graph with, and their own ideas of what to fuse."""
    openvino = replace(cell(provider="openvino"), backend="ort@openvino")
    found = measured(
        {"older": replace(cell(), backend="ort@1.24.1"), "openvino": openvino}, tmp_path
    )
    assert {
        name: (line["outcome"], line["reason"]) for name, line in found.items()
    } == dict.fromkeys(found, ("ok", ""))
    assert "Conv + Relu → com.microsoft.nchwc.Conv(Relu)" in graph_of(found["older"])["fused"]
    compiled = graph_of(found["openvino"])
    assert compiled["nodes_by_provider"] == {"OpenVINOExecutionProvider": 1}
    assert "cannot be written out" in compiled["fused_unknown"]
    assert found["openvino"]["attested"]["placement"] == {"OpenVINOExecutionProvider": 9}


LIBRARY = r"""
#include <cstdio>
extern "C" void *RegisterCustomOps(void *options, const void *api) {
    std::FILE *mark = std::fopen(MARK, "a");
    std::fputs(options && api ? "called\n" : "called with nothing\n", mark);
    std::fclose(mark);
    return nullptr;
}
"""
"""A library of custom operators without an operator: ONNX Runtime calls it and takes no pointer for
no error.
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_library_of_custom_operators_is_registered(tmp_path: Path) -> None:
    library, mark = tmp_path / "operators.so", tmp_path / "mark"
    command = ["g++", "-shared", "-fPIC", f'-DMARK="{mark}"', "-x", "c++", "-", "-o", str(library)]
    subprocess.run(command, input=LIBRARY, text=True, check=True)
    broken = tmp_path / "broken.so"
    broken.write_text("no library")
    asked = {"whole": cell(custom_ops=str(library)), "broken": cell(custom_ops=str(broken))}
    found = measured(asked, tmp_path / "results")
    assert found["whole"]["outcome"] == "ok", found["whole"]["reason"]
    assert set(mark.read_text().splitlines()) == {"called"}
    assert len(found["whole"]["attested"]["details"]["custom_ops"]["sha256"]) == 64
    assert found["broken"]["outcome"] == "unavailable"
    assert "cannot be registered" in found["broken"]["reason"]


@pytest.mark.slow
def test_an_own_file_with_an_open_batch_runs_bound_and_unbound(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    nodes = [helper.make_node("Tanh", ["x"], ["t"]), helper.make_node("Softmax", ["t"], ["y"])]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    file = tmp_path / "open.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        str(file),
    )
    tensors = {"inputs": (TensorSpec("x", (BATCH, 4)),), "outputs": (TensorSpec("y", (BATCH, 4)),)}
    model = Model(
        "open",
        file=str(file),
        inputs_from="harness.inputs:standard_normal",
        task="regression",
        **tensors,
    )
    asked = {name: cell(model=model, iobinding=name) for name in ("on", "off")}
    found = measured(asked, tmp_path / "results")
    assert {
        name: (line["outcome"], line["reason"]) for name, line in found.items()
    } == dict.fromkeys(asked, ("ok", ""))


class Bound(OnnxRuntime):
    """`ort` with bound memory as a backend of its own, since the contract runs cells without
    options.
    """

    name = "ort-bound"

    def load(self, folder: Path, cell: Cell) -> Any:
        return super().load(folder, replace(cell, options=(("iobinding", "on"),)))


class TestBound(BackendContract):
    name = "ort-bound"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def registered(cls) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch, fresh_registry():
            others = os.environ.get(registry.VARIABLE, "")
            patch.setenv(
                registry.VARIABLE,
                ",".join(filter(None, [others, "ort-bound=tests.contract.test_ort:Bound"])),
            )
            yield

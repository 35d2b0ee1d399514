"""TensorRT for RTX really builds here, without a GPU: plans of every precision, their layers, and
what it refuses in words.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import onnx
import pytest
from onnx import TensorProto, helper

from evenbench.backends.contract_model import TINY_CNN
from evenbench.backends.tensorrt import builder, layers
from evenbench.backends.tensorrt.backend import TensorRtRtx
from evenbench.backends.tensorrt.builder import BuildOrder, build_plans
from evenbench.harness import PLANS, Cell, Unavailable, Unsupported
from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.environment import gpu
from evenbench.harness.results import records
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Refusal
from evenbench.harness.runner.schedule import Run

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="TensorRT for RTX is there for x86-64 only"
)

RTX = "tensorrt_rtx"
SHAPE = (1, 3, 16, 16)


def saved(folder: Path, *nodes: Any, constants: tuple[Any, ...] = ()) -> Path:
    """An ONNX file of `nodes` from x to y, both float32 images."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy"]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], constants)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("my.domain", 1)]
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=10), str(folder / "model.onnx")
    )
    return folder / "model.onnx"


def convolution(folder: Path) -> Path:
    weights = helper.make_tensor(
        "w", TensorProto.FLOAT, (3, 3, 3, 3), [((7 * n) % 11 - 5) / 10 for n in range(81)]
    )
    conv = helper.make_node("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 1, 1, 1])
    return saved(
        folder, conv, helper.make_node("Relu", ["a"], ["y"], name="relu"), constants=(weights,)
    )


def order(**changed: Any) -> BuildOrder:
    return replace(BuildOrder(RTX, {"x": SHAPE}, target="SM89"), **changed)


@pytest.mark.parametrize("target", ["SM75", "SM80", "SM86", "SM89", "SM120", "SM121"])
def test_a_plan_is_built_for_a_gpu_that_is_not_here(target: str, tmp_path: Path) -> None:
    made = build_plans(convolution(tmp_path), tmp_path, order(target=target, builds=2))
    for number, facts in enumerate(made["builds"]):
        plan = (tmp_path / builder.plan_file(number)).read_bytes()
        assert (facts["bytes"], facts["sha256"]) == (len(plan), hashlib.sha256(plan).hexdigest())
        assert facts["bytes"] > 10_000
        assert facts["seconds"] > 0
        assert facts["precisions"].keys() == {"fp32"}
        assert facts["layers"] >= 1
    assert made["target"] == target
    assert json.loads((tmp_path / builder.FACTS).read_text()) == made
    assert not (tmp_path / builder.TIMING_CACHE).exists(), "TensorRT for RTX times no tactics"


def test_tf32_and_fp32_are_different_plans_and_attested_as_such(tmp_path: Path) -> None:
    """The layers are listed alike, so the read-back of the flag is what tells them apart."""
    found = {}
    for tf32 in (False, True):
        folder = tmp_path / str(tf32)
        folder.mkdir()
        made = build_plans(convolution(folder), folder, order(tf32=tf32))["builds"][0]
        found[layers.engine_precision(made, made["tf32"])] = made
    assert set(found) == {"fp32", "tf32"}
    assert found["fp32"]["sha256"] != found["tf32"]["sha256"]


UNKNOWN = helper.make_node("FancyOp", ["x"], ["y"], name="my_fancy_node", domain="my.domain")
NOT_MADE = (
    helper.make_node("Unique", ["x"], ["a"], name="the_unique_one"),
    helper.make_node("Add", ["x", "a"], ["y"], name="sum"),
)


@pytest.mark.parametrize(
    ("nodes", "operator", "node"),
    [((UNKNOWN,), "FancyOp", "my_fancy_node"), (NOT_MADE, "Unique", "the_unique_one")],
)
def test_an_operator_that_it_cannot_take_is_named_with_its_node(
    nodes: Any, operator: str, node: str, tmp_path: Path
) -> None:
    with pytest.raises(
        Unsupported, match=rf"tensorrt_rtx cannot parse operator {operator} \(node {node}\)"
    ):
        build_plans(saved(tmp_path, *nodes), tmp_path, order())


def test_what_is_no_onnx_file_is_a_failure_in_its_words(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no such thing")
    with pytest.raises(
        RuntimeError, match=r"cannot read model.onnx: .*Failed to parse the ONNX model"
    ):
        build_plans(tmp_path / "model.onnx", tmp_path, order())


@pytest.mark.skipif(gpu.absence() == "", reason="a GPU is here, and building for it works")
def test_building_for_the_gpu_that_is_here_fails_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"cannot build this graph for CURRENT: .*CUDA"):
        build_plans(convolution(tmp_path), tmp_path, order(target=builder.CURRENT))


# -- through the walk ------------------------------------------------------------------------------


def cell(precision: str = "fp32", **options: Any) -> Cell:
    return Cell(TINY_CNN, "tensorrt-rtx", precision, "cuda", options=tuple(sorted(options.items())))


@pytest.mark.slow
@pytest.mark.skipif(
    gpu.absence() == "", reason="a GPU is here, which runs these cells: make gpu-check"
)
@pytest.mark.parametrize("precision", TensorRtRtx.precisions)
def test_a_cell_is_built_for_real_and_says_that_it_was_not_executed(
    precision: str, tmp_path: Path
) -> None:
    entries = [Entry(cell(precision, target="SM89"))]
    (line,) = Run(entries, PLANS["quick"], tmp_path, fresh=True).measure(entries)
    jsonschema.validate(line, records.schema())
    assert (line["outcome"], line["phase"], line["samples_ns"]) == ("unavailable", "load", {}), (
        line["reason"] + line["traceback"]
    )
    facts = line["artifact"]["facts"]
    assert layers.engine_precision({**facts, "tf32_tactics": 0}, facts["tf32"]) == precision
    assert [
        len(facts[name]) for name in ("build_seconds", "plan_bytes", "plan_sha256", "layers_sha256")
    ] == [3] * 4
    assert line["artifact"]["bytes"] >= sum(facts["plan_bytes"])
    assert line["prepare"]["seconds"] > sum(facts["build_seconds"]) > 0
    assert f"built ahead for SM89: 3 builds of {facts['plan_bytes'][0]} bytes" in line["reason"]
    assert "not executed: cuda: " in line["reason"]
    assert line["hint"] == "", "the package is here; a GPU is what is missing"


@pytest.mark.skipif(gpu.absence() == "", reason="a GPU is here")
def test_without_a_target_nothing_is_prepared_where_there_is_no_gpu() -> None:
    with pytest.raises(Refusal) as caught:
        Preparer(60.0).prepare(cell())
    assert (caught.value.reply.outcome, caught.value.reply.phase) == ("unavailable", "prepare")
    assert "run this cell on a machine with the device" in caught.value.reply.reason


@pytest.mark.slow
def test_a_target_that_lacks_an_operation_is_unsupported_in_its_words() -> None:
    with pytest.raises(Refusal) as caught:
        Preparer(120.0).prepare(cell(target="SM75"))
    assert caught.value.reply.outcome == "unsupported"
    assert "for SM75" in caught.value.reply.reason
    assert "FP32 GEMM is not supported" in caught.value.reply.reason


def test_a_plan_for_another_gpu_than_is_here_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_plans(convolution(tmp_path), tmp_path, order(target="SM120"))
    monkeypatch.setattr(gpu, "lacks", lambda device: "")
    monkeypatch.setattr(gpu, "describe", lambda device: {"capability": "8.9"})
    words = (
        r"built ahead for SM120: 1 build of \d+ bytes .*; not executed: the plan is for SM120, "
        "and cuda is SM89"
    )
    with pytest.raises(Unavailable, match=words):
        registry.find("tensorrt-rtx").load(tmp_path, cell(target="SM120"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "SM90"}, "target is one of CURRENT, SM75"),
        ({"builds": 0}, "builds must be an integer from 1 to 9, not 0"),
        ({"build": 3}, "build must be an integer from 0 to 2"),
        ({"timing_cache": "fresh"}, "has no option timing_cache"),
        ({"cuda_graph": "yes"}, "cuda_graph is one of False, True"),
        ({"spinning": "off"}, "has no option spinning"),
    ],
)
def test_wrong_options_are_unsupported_in_words(options: dict[str, Any], words: str) -> None:
    assert words in registry.find("tensorrt-rtx").supports(cell(**options))


def test_what_it_runs_and_where() -> None:
    for name in ("tensorrt", "tensorrt-rtx"):
        backend = registry.find(name)
        for precision in ("fp32", "tf32", "fp16", "bf16", "int8-static"):
            assert backend.supports(replace(cell(precision), backend=name, device="cuda:1")) == ""
        assert "not int8-dynamic" in backend.supports(replace(cell("int8-dynamic"), backend=name))
        assert "not cpu" in backend.supports(replace(cell(), backend=name, device="cpu"))
    stale = replace(cell(timing_cache="old"), backend="tensorrt")
    assert "timing_cache is one of fresh, shared" in registry.find("tensorrt").supports(stale)
    assert "has no option target" in registry.find("tensorrt").supports(
        replace(cell(target="SM89"), backend="tensorrt")
    )


def test_the_key_of_a_plan_has_what_decides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = registry.find("tensorrt-rtx")
    here = {"name": "First", "capability": "8.9", "driver": "580.1", "uuid": "GPU-aa11"}
    monkeypatch.setattr(gpu, "describe", lambda device: here)
    asked = cell()
    plain = backend.artifact_key(asked)
    assert plain["on"] == {"name": "First", "capability": "8.9", "driver": "580.1"}
    assert plain["version"]
    for changed in ({"name": "Other"}, {"capability": "12.0"}, {"driver": "581.0"}):
        monkeypatch.setattr(gpu, "describe", lambda device, changed=changed: {**here, **changed})
        assert backend.artifact_key(asked) != plain
    monkeypatch.setattr(gpu, "describe", lambda device: here)
    assert backend.artifact_key(cell(builds=2)) != plain
    assert backend.artifact_key(cell("tf32")) != plain
    assert backend.artifact_key(cell(build=1)) == plain, "the builds of one cell are one artifact"
    assert backend.artifact_key(cell(cuda_graph=True)) == plain
    ahead = backend.artifact_key(cell(target="SM89"))
    assert ahead["on"] == {"name": None, "capability": None, "driver": None}, (
        "what is built ahead does not depend on this machine"
    )


# -- layers ----------------------------------------------------------------------------------------

INSPECTED = {
    "Layers": [
        {
            "Name": "Reformatting CopyNode for Input Tensor 0 to conv1",
            "LayerType": "Reformat",
            "Inputs": [{"Name": "x", "Format/Datatype": "Row major linear FP32"}],
            "Outputs": [
                {"Name": "a", "Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}
            ],
        },
        {
            "Name": "conv1 + relu1",
            "LayerType": "CaskConvolution",
            "Inputs": [
                {
                    "Name": "a",
                    "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format",
                }
            ],
            "Outputs": [{"Name": "b", "Datatype": "Half", "Format": "(NHWC)"}],
            "Weights": {"Type": "Int8", "Count": 9408},
            "TacticName": "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32",
        },
        {
            "Name": "fc",
            "LayerType": "gemm",
            "Inputs": [{"Name": "b", "Datatype": "Float"}],
            "Constants": [{"Datatype": "Float"}],
            "Outputs": [{"Name": "y", "Datatype": "Float"}],
            "TacticName": "sm80_xmma_gemm_tf32f32_tf32f32_f32",
        },
    ],
    "Bindings": ["x", "y"],
}


def test_layers_as_an_inspector_lists_them() -> None:
    listed = layers.parse_inspection(json.dumps(INSPECTED))
    assert [(layer.precision, layer.writes, layer.reformats) for layer in listed] == [
        ("fp32", ("fp16",), True),
        ("int8", ("fp16",), False),
        ("fp32", ("fp32",), False),
    ]
    found = layers.summary(listed)
    assert (found["layers"], found["reformats"], found["tf32_tactics"]) == (3, 1, 1)
    assert found["precisions"] == {"int8": 1, "fp32": 1}
    assert layers.engine_precision(found, tf32=False) == "int8-static"
    assert layers.engine_precision(layers.summary(listed[2:]), tf32=False) == "tf32", (
        "the tactic gives it away"
    )
    assert layers.engine_precision(layers.summary([]), tf32=False) == "unknown"
    with pytest.raises(ValueError, match="detailed profiling"):
        layers.parse_inspection('{"Layers": ["conv1", "fc"]}')


def test_another_tactic_is_another_digest() -> None:
    changed = json.loads(json.dumps(INSPECTED))
    changed["Layers"][1]["TacticName"] = "another"
    one, other = (
        layers.summary(layers.parse_inspection(json.dumps(each))) for each in (INSPECTED, changed)
    )
    assert one["layers_sha256"] != other["layers_sha256"]


@pytest.mark.parametrize(
    ("words", "precision"),
    [
        *[
            ("Float", "fp32"),
            ("Half", "fp16"),
            ("BFloat16", "bf16"),
            ("BF16", "bf16"),
            ("Int8", "int8"),
            ("FP8", "fp8"),
        ],
        *[
            ("Int32", ""),
            ("Int64", ""),
            ("Bool", ""),
            ("Row major linear BF16 format", "bf16"),
            ("N/A due to dynamic shapes", ""),
        ],
    ],
)
def test_how_releases_write_a_precision(words: str, precision: str) -> None:
    assert layers.precision_of(words) == precision

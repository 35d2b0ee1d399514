"""Profiles by the runtimes' own profilers: the operators of a small network, and their order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evenbench.backends.onnx import export
from evenbench.harness import BATCH, Cell, Model, TensorSpec, Unsupported
from evenbench.harness.core import registry
from evenbench.harness.core.measurements import OperatorProfile
from evenbench.harness.measurement import timing

NETWORK = Model(
    "matmul",
    "tests.unit.backends.test_operator_profiles:build",
    (TensorSpec("x", (BATCH, 64)),),
    (TensorSpec("y", (BATCH, 64)),),
)


def build():
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Sigmoid())


def write_onnx(folder: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"], "product"),
            helper.make_node("Sigmoid", ["m"], ["y"], "curve"),
        ],
        "network",
        [helper.make_tensor_value_info("x", kind, [1, 64])],
        [helper.make_tensor_value_info("y", kind, [1, 64])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / export.FILE)


def check(profile: OperatorProfile, operators: list[str]) -> None:
    types = [call.type for call in sorted(profile.calls, key=lambda call: call.begin_ns)]
    assert [kind for kind in types if kind in operators] == operators, types
    assert all(call.duration_ns >= 0 and call.track for call in profile.calls)
    assert profile.inference_ns > 0
    assert profile.profiler
    assert profile.note


@pytest.mark.parametrize(
    ("backend", "operators"),
    [("ort", ["MatMul", "Sigmoid"]), ("openvino", ["FullyConnected"])],
)
def test_files_are_profiled_by_operator(backend: str, operators: list[str], tmp_path: Path):
    pytest.importorskip({"ort": "onnxruntime"}.get(backend, backend))
    write_onnx(tmp_path)
    cell = Cell(NETWORK, backend, threads=1)
    inputs = {"x": np.ones((1, 64), np.float32)}
    check(registry.find(backend).profile(tmp_path, cell, inputs, timing.CLOCK), operators)


def test_torch_is_profiled_by_operator():
    torch = pytest.importorskip("torch")
    from evenbench.backends.torch import operator_profile, session

    opened = session.TorchSession(build(), Cell(NETWORK, "torch-eager"), torch.inference_mode)
    opened.bind({"x": np.ones((1, 64), np.float32)})
    profile = operator_profile.profile(opened, on_gpu=False, now=timing.CLOCK)
    check(profile, ["aten::linear", "aten::addmm", "aten::sigmoid"])
    outer, inner = (
        next(call for call in profile.calls if call.type == name)
        for name in ("aten::linear", "aten::addmm")
    )
    assert outer.begin_ns <= inner.begin_ns, "calls are nested"
    assert outer.begin_ns + outer.duration_ns >= inner.begin_ns + inner.duration_ns


def test_a_runtime_without_profiler_says_so(tmp_path: Path):
    with pytest.raises(Unsupported, match="null has no profile per operator"):
        registry.find("null").profile(tmp_path, Cell(NETWORK, "null"), {}, timing.CLOCK)

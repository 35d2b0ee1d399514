"""The table of the evaluator's faults is true: each fault is shown against ONNX Runtime, so an
operator that onnx mends fails here and leaves the table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from evenbench.backends.onnx import evaluator_gaps
from evenbench.harness import Unsupported

NUMBERS = np.random.default_rng(0)
IMAGE = NUMBERS.standard_normal((2, 4, 8, 8)).astype(np.float32)
SEQUENCE = NUMBERS.standard_normal((5, 2, 6)).astype(np.float32)


def drawn(*shape: int) -> Any:
    return NUMBERS.standard_normal(shape).astype(np.float32)


def one_node(
    operator: str, x: Any, opset: int, constants: dict[str, Any], outputs: int = 1, **settings: Any
) -> onnx.ModelProto:
    names = [f"y{index}" for index in range(outputs)]
    order = settings.pop("order", ["x", *constants])
    graph = helper.make_graph(
        [helper.make_node(operator, order, names, **settings)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [onnx.ValueInfoProto(name=name) for name in names],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def weights(gates: int) -> dict[str, Any]:
    return {"W": drawn(1, 4 * gates, 6), "R": drawn(1, 4 * gates, 4), "B": drawn(1, 8 * gates)}


def recurrent(operator: str, gates: int, **settings: Any) -> onnx.ModelProto:
    outputs = 3 if operator == "LSTM" else 2
    return one_node(
        operator, SEQUENCE, 14, weights(gates), outputs, **{"hidden_size": 4, **settings}
    )


def with_lengths(operator: str, gates: int) -> onnx.ModelProto:
    constants = {**weights(gates), "L": np.array([5, 3], np.int32)}
    outputs = 3 if operator == "LSTM" else 2
    return one_node(operator, SEQUENCE, 14, constants, outputs, hidden_size=4)


FAULTS = {
    "Softmax": (one_node("Softmax", IMAGE, 11, {}, axis=1), IMAGE),
    "LogSoftmax": (one_node("LogSoftmax", IMAGE, 11, {}, axis=1), IMAGE),
    "Hardmax": (one_node("Hardmax", IMAGE, 11, {}, axis=1), IMAGE),
    "BatchNormalization": (
        one_node(
            "BatchNormalization",
            IMAGE,
            9,
            {"s": drawn(4), "b": drawn(4), "m": drawn(4), "v": abs(drawn(4)) + 0.1},
        ),
        IMAGE,
    ),
    "LRN": (one_node("LRN", IMAGE, 13, {}, size=3, alpha=1.0), IMAGE),
    "MaxPool": (
        one_node(
            "MaxPool",
            *(IMAGE, 13, {}),
            kernel_shape=[3, 3],
            strides=[2, 2],
            auto_pad="SAME_LOWER",
        ),
        IMAGE,
    ),
    "LSTM": (with_lengths("LSTM", 4), SEQUENCE),
    "LSTM with activations": (
        recurrent("LSTM", 4, activations=["Sigmoid", "Tanh", "Relu"]),
        SEQUENCE,
    ),
    "GRU": (with_lengths("GRU", 3), SEQUENCE),
    "RNN": (with_lengths("RNN", 1), SEQUENCE),
}


def by_runtime(model: onnx.ModelProto, x: Any) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]


def by_evaluator(model: onnx.ModelProto, x: Any) -> Any:
    from onnx.reference import ReferenceEvaluator

    try:
        return ReferenceEvaluator(model).run(None, {"x": x})[0]
    except Exception:  # refused in words by the evaluator itself, which is no silent fault
        return None


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_of_the_table_is_seen(name: str) -> None:
    model, x = FAULTS[name]
    wrong, right = by_evaluator(model, x), by_runtime(model, x)
    assert wrong is not None
    assert wrong.shape != right.shape or abs(wrong - right).max() > 1e-2


def test_every_row_of_the_table_is_shown() -> None:
    assert set(evaluator_gaps.WRONG) == {name.split()[0] for name in FAULTS}


@pytest.mark.parametrize("name", evaluator_gaps.MENDED)
def test_a_raised_graph_is_evaluated_right(name: str) -> None:
    model, x = FAULTS[name]
    found = by_evaluator(evaluator_gaps.evaluated(model), x)
    assert abs(found - by_runtime(model, x)).max() < 1e-5


@pytest.mark.parametrize("name", sorted(set(FAULTS) - set(evaluator_gaps.MENDED)))
def test_a_known_fault_is_not_evaluated(name: str) -> None:
    with pytest.raises(
        Unsupported, match=rf"evaluator computes {name.split(maxsplit=1)[0]} wrongly"
    ):
        evaluator_gaps.evaluated(FAULTS[name][0])


def test_a_graph_that_cannot_be_raised_stays_as_it_is() -> None:
    model = one_node("Softmax", IMAGE, 13, {}, domain="com.other")
    assert evaluator_gaps.raised(model) is model
    newest = one_node("Softmax", IMAGE, evaluator_gaps.RAISED, {})
    assert evaluator_gaps.raised(newest) is newest


def test_random_operators_are_named_and_a_plain_dropout_is_none() -> None:
    assert evaluator_gaps.random_operators(one_node("RandomNormalLike", IMAGE, 13, {})) == [
        "RandomNormalLike"
    ]
    assert evaluator_gaps.random_operators(one_node("Dropout", IMAGE, 13, {})) == []

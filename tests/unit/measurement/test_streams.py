"""State of a stream: the outputs of a step are inputs of the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evenbench.harness import Model, TensorSpec, UsageError
from evenbench.harness.measurement import judging, streams

STATE = {"h_in": "h_out"}
SPECS = (TensorSpec("x", (1,)), TensorSpec("h_in", (1,)))
OUTPUTS = (TensorSpec("y", (1,)), TensorSpec("h_out", (1,)))


class Adder:
    """A session whose state is the sum of all inputs of the stream."""

    def __init__(self, memory: float = 1.0) -> None:
        self.memory = memory

    def bind(self, inputs: Any) -> None:
        self.inputs = inputs

    def step(self) -> None:
        self.total = self.inputs["x"] + self.memory * self.inputs["h_in"]

    def sync(self) -> None:
        pass

    def fetch(self) -> dict[str, Any]:
        return {"y": 2 * self.total, "h_out": self.total.astype(np.float64)}


def batches() -> list[dict[str, Any]]:
    zero = np.zeros(1, np.float32)
    return [{"x": np.array([value], np.float32), "h_in": zero} for value in (1, 2, 3)]


def model(**more: Any) -> Model:
    return Model("adder", file="adder.onnx", inputs=SPECS, outputs=OUTPUTS, **more)


def test_each_step_gets_the_state_of_the_step_before() -> None:
    inputs = streams.carried(Adder(), batches(), STATE)  # type: ignore[arg-type]
    assert [float(batch["h_in"][0]) for batch in inputs] == [0, 1, 3]
    assert {batch["h_in"].dtype for batch in inputs} == {np.dtype("float32")}
    assert [float(batch["x"][0]) for batch in inputs] == [1, 2, 3]


def test_without_state_steps_do_not_depend_on_others() -> None:
    given = batches()
    assert streams.carried(Adder(), given, {}) is given  # type: ignore[arg-type]
    outputs = judging.once(Adder(), given, model())  # type: ignore[arg-type]
    assert outputs["y"].ravel().tolist() == [2, 4, 6]


def test_a_state_that_is_forgotten_differs_after_the_first_step() -> None:
    stateful = model(state=STATE)
    right = judging.once(Adder(), batches(), stateful)["y"].ravel()  # type: ignore[arg-type]
    wrong = judging.once(Adder(0.5), batches(), stateful)["y"].ravel()  # type: ignore[arg-type]
    assert right.tolist() == [2, 6, 12]
    assert (right == wrong).tolist() == [True, False, False]


def test_a_state_of_another_shape_is_an_error() -> None:
    longer = [{**batch, "h_in": np.zeros(2, np.float32)} for batch in batches()]
    with pytest.raises(ValueError, match="a state keeps its shape"):
        streams.carried(_OneState(), longer, STATE)  # type: ignore[arg-type]


class _OneState(Adder):
    def fetch(self) -> dict[str, Any]:
        return {"y": self.total, "h_out": np.zeros(1)}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"h": "h_out"}, "no input h; expected one of x, h_in"),
        ({"h_in": "h"}, "no output h; expected one of y, h_out"),
    ],
)
def test_a_declared_state_names_tensors_of_the_model(state: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        model(state=state)


def test_a_state_is_part_of_a_models_key_and_no_state_is_not() -> None:
    assert model().fingerprint == model(state={}, stored="").fingerprint
    assert model().fingerprint != model(state=STATE).fingerprint

"""The state of a user's own model: by flag, or by names that speak of state."""

from __future__ import annotations

import pytest

from evenbench.harness import TensorSpec, UsageError
from evenbench.harness.collection import state_pairs

Shape = tuple[int | str, ...]


def specs(*names: str, shape: Shape = (2, "batch", 64)) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, shape) for name in names)


@pytest.mark.parametrize(
    ("inputs", "outputs", "pairs"),
    [
        ("input state", "output stateN", {"state": "stateN"}),
        ("x h c", "y hn cn", {"h": "hn", "c": "cn"}),
        ("x h0", "y h_out", {"h0": "h_out"}),
        ("x hidden_in cell_in", "y cell_out hidden_out", None),
        ("x conv_cache_1", "y new_conv_cache_1", {"conv_cache_1": "new_conv_cache_1"}),
        ("x", "y", {}),
        ("image_in", "image_out", {}),
        ("x h", "y h_out new_h", {}),  # which of the two is not known
    ],
)
def test_pairs_are_guessed_where_names_allow_one(
    inputs: str, outputs: str, pairs: dict[str, str] | None
) -> None:
    if pairs is None:
        pairs = {"hidden_in": "hidden_out", "cell_in": "cell_out"}
    assert state_pairs.guessed(specs(*inputs.split()), specs(*outputs.split())) == pairs


def test_a_pair_of_other_shapes_is_no_state() -> None:
    assert state_pairs.guessed(specs("h_in"), specs("h_out", shape=(1, 4))) == {}
    with pytest.raises(UsageError, match="a state keeps its shape and type"):
        state_pairs.find("m.onnx", ["h_in=h_out"], specs("h_in"), specs("h_out", shape=(1, 4)))


def test_the_flag_replaces_the_guess() -> None:
    inputs, outputs = specs("x", "h_in"), specs("y", "h_out")
    assert state_pairs.find("m", ["h_in=y"], inputs, outputs) == {"h_in": "y"}
    assert state_pairs.find("m", ["none"], inputs, outputs) == {}
    with pytest.raises(UsageError, match="no output z"):
        state_pairs.find("m", ["h_in=z"], inputs, outputs)
    with pytest.raises(UsageError, match="expected INPUT=OUTPUT"):
        state_pairs.find("m", ["h_in"], inputs, outputs)


def test_a_guess_is_said_with_the_flag_against_it() -> None:
    note = state_pairs.note({"h": "hn"}, is_guessed=True)
    assert note == "state: h gets hn of the step before, guessed by name (--state none if not)"
    assert state_pairs.note({}, is_guessed=True) == ""

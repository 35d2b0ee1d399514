"""Results as modules return them: every tensor is an output, and is named once."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, NamedTuple

import pytest

from evenbench.harness import Model, TensorSpec, UsageError

torch = pytest.importorskip("torch")

from evenbench.backends.torch import outputs  # noqa: E402

A, B, C = (torch.full((1, 2), float(value)) for value in range(3))


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclasses.dataclass
class Answer:
    logits: Any
    features: Any = None


class Cache:
    """As transformers' caches: an object with layers."""

    def __init__(self) -> None:
        self.layers = [Pair(B, C)]


RESULTS = [
    (A, {"output": A}),
    ([A], {"output": A}),
    ((A, (B, C)), {"output_0": A, "output_1": B, "output_2": C}),
    ([A, 3, None, B], {"output_0": A, "output_1": B}),
    (Pair(A, B), {"output_0": A, "output_1": B}),
    (Answer(A), {"logits": A}),
    (Answer(A, (B, C)), {"logits": A, "features_0": B, "features_1": C}),
    ({"loss": None, "y": A, "past": ((B, C),)}, {"y": A, "past_0": B, "past_1": C}),
    ({"y": A, "cache": Cache()}, {"y": A, "cache_0": B, "cache_1": C}),
    ({"y_0": A, "y": (B, C)}, {"y_0": A, "y_0_": B, "y_1": C}),
    ([collections.OrderedDict(boxes=A, labels=B)], {"boxes": A, "labels": B}),
]


@pytest.mark.parametrize(("result", "named"), RESULTS)
def test_every_tensor_of_a_result_is_an_output(result: Any, named: dict[str, Any]) -> None:
    found = outputs.named(result, None, "m")
    assert list(found) == list(named)
    assert all(found[name] is named[name] for name in named)
    specs = [TensorSpec(name, (1, 2)) for name in reversed(named)]
    if isinstance(result, dict):
        again = outputs.named(result, specs, "m")
        assert list(again) == list(reversed(named))
        assert all(again[name] is named[name] for name in named)


def test_a_declaration_may_list_the_outer_tensors_alone_and_nothing_else() -> None:
    one, two = [TensorSpec("y", (1, 2))], [TensorSpec("y", (1, 2)), TensorSpec("h", (1, 2))]
    assert outputs.named((A, (B, C)), one, "m")["y"] is A
    assert outputs.named({"y": A, "past": (B, C)}, one, "m")["y"] is A
    with pytest.raises(UsageError, match=r"m returns 3 outputs, but declares \['y', 'h'\]"):
        outputs.named((A, (B, C)), two, "m")
    with pytest.raises(UsageError, match=r"returns outputs \['past_0', 'past_1', 'y'\]"):
        outputs.named({"y": A, "past": (B, C)}, two, "m")


def test_an_output_named_like_an_input_gets_another_name_and_its_own_value() -> None:
    names = outputs.distinct(["mask", "y"], ["ids", "mask"])
    assert names == ["mask_out", "y"]
    specs = [TensorSpec(name, (1, 2)) for name in names]
    found = outputs.named({"y": A, "mask": B}, specs, "m")
    assert (found["mask_out"] is B, found["y"] is A) == (True, True)


def test_a_single_declared_output_is_exported_alone() -> None:
    class Net(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x + 1, (x + 2, [x + 3])

    model = Model("m", build="a:b", outputs=(TensorSpec("y", (1, 2)),))
    module = outputs.in_declared_order(Net(), model)
    assert torch.jit.trace(module, (A,), check_trace=False)(A).tolist() == (A + 1).tolist()


def test_plain_results_have_tensors_alone() -> None:
    result = outputs.plain({"y": A, "cache": Cache(), "n": 3, "answer": Answer(A, (B, None))})
    assert result["cache"] == (B, C)
    assert (result["y"] is A, result["n"]) == (True, None)
    assert result["answer"]["features"][0] is B

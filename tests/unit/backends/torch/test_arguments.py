"""Examples as people have them: each call by tensors in order equals the call as written."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import numpy as np
import pytest

from evenbench.harness import UsageError

torch = pytest.importorskip("torch")

from evenbench.backends.torch import arguments  # noqa: E402

X, Y = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 5.0]])


class Module(torch.nn.Module):
    """Counts with all that it is given, so that a lost or swapped argument shows."""

    def forward(
        self, x: Any, more: Any = None, factor: float = 1.0, *, shift: Any = None, mask: Any = None
    ) -> Any:
        inner = more if more is not None else 0.0
        if isinstance(more, dict):
            inner = more["a"] - 2 * more["b"]
        if isinstance(more, (tuple, list)):
            inner = more[0] - 2 * more[1][0]
        if dataclasses.is_dataclass(more):
            inner = more.left - 2 * more.right  # type: ignore[attr-defined]
        result = x * factor + 10 * inner
        result = result if shift is None else result + 100 * shift
        return result if mask is None else result * mask


class OnlyKeywords(torch.nn.Module):
    def forward(self, *, x: Any, y: Any) -> Any:
        return x - 10 * y


class One(torch.nn.Module):
    def forward(self, batch: Any) -> Any:
        return batch["input_ids"] - 10 * batch["mask"]


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


class Encoding(collections.UserDict):  # type: ignore[type-arg]
    """As transformers' BatchEncoding: a mapping that is no dict."""


CASES = {
    "tensor": (Module, X, ["x"], X),
    "tuple": (Module, (X, Y), ["x", "more"], X + 10 * Y),
    "list": (Module, [X, Y], ["x", "more"], X + 10 * Y),
    "number": (Module, (X, Y, 4.0), ["x", "more"], 4 * X + 10 * Y),
    "none between": (Module, {"x": X, "more": None, "shift": Y}, ["x", "shift"], X + 100 * Y),
    "keywords": (Module, {"shift": Y, "x": X}, ["shift", "x"], X + 100 * Y),
    "skips": (Module, {"x": X, "factor": 3.0, "mask": Y}, ["x", "mask"], 3 * X * Y),
    "pair": (Module, ((X,), {"mask": Y}), ["x", "mask"], X * Y),
    "last": (Module, (X, {"mask": Y}), ["x", "mask"], X * Y),
    "argument": (Module, (X, {"a": X, "b": Y}), ["x", "a", "b"], X + 10 * (X - 2 * Y)),
    "nested": (Module, (X, [X, (Y,)]), ["x", "more_0", "more_1_0"], X + 10 * (X - 2 * Y)),
    "dataclass": (Module, (X, Pair(X, Y)), ["x", "left", "right"], X + 10 * (X - 2 * Y)),
    "numpy": (Module, (np.array([[1.0, 2.0]], np.float32), Y), ["x", "more"], X + 10 * Y),
    "only keywords": (OnlyKeywords, (X, Y), ["x", "y"], X - 10 * Y),
    "encoding": (OnlyKeywords, Encoding(y=Y, x=X), ["y", "x"], X - 10 * Y),
    "one mapping": (One, Encoding(input_ids=X, mask=Y), ["input_ids", "mask"], X - 10 * Y),
}


@pytest.mark.parametrize("case", CASES)
def test_a_call_by_tensors_in_order_is_the_call_as_written(case: str) -> None:
    kind, examples, names, right = CASES[case]
    module, tensors = arguments.flattened(kind(), examples, "file.py:build")
    assert arguments.names(module, len(tensors)) == names
    assert module(*tensors).tolist() == right.tolist()
    twice = [2 * value for value in tensors]
    assert module(*twice).tolist() != right.tolist(), "the tensors of a call count"


def test_a_module_called_with_tensors_stays_as_it_is() -> None:
    plain = torch.nn.Linear(2, 2)
    assert arguments.flattened(plain, (X,), "b")[0] is plain
    assert arguments.flattened(plain, None, "b") == (plain, ())


def test_keyword_only_parameters_take_declared_tensors_in_order() -> None:
    module, tensors = arguments.flattened(OnlyKeywords(), None, "b")
    assert tensors == ()
    assert module(X, Y).tolist() == (X - 10 * Y).tolist()


def test_weights_keep_their_names_behind_nested_arguments() -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l = torch.nn.Linear(2, 2)

        def forward(self, x: Any, scale: float) -> Any:
            return self.l(x) * scale

    module, _ = arguments.flattened(Net(), (X, 2.0), "b")
    assert sorted(module.state_dict()) == ["l.bias", "l.weight"]
    module.load_state_dict(Net().state_dict())


def test_examples_without_a_tensor_and_unknown_containers_are_refused() -> None:
    with pytest.raises(UsageError, match=r"without a tensor \(float, NoneType\)"):
        arguments.flattened(Module(), (1.0, None), "b")

    class Cache:
        def __init__(self) -> None:
            self.keys = X

    with pytest.raises(UsageError, match=r"is a Cache, unknown to torch\.utils\._pytree"):
        arguments.flattened(Module(), (X, Cache()), "b")

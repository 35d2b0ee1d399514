"""What hooks see of a module: what its modules return, at which places, what folds into what, and
the landmarks between.
"""

from __future__ import annotations

from typing import Any

import pytest

from evenbench.harness import Session
from evenbench.harness.core.intermediate_tensors import Within

torch = pytest.importorskip("torch")

from evenbench.backends.torch.tensor_capture import WatchedSession  # noqa: E402


class Calls(Session):
    """A module that is called with ones."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def bind(self, inputs: Any) -> None: ...

    def step(self) -> None:
        with torch.inference_mode():
            self.made = self.module(torch.linspace(-1, 1, 8).reshape(1, 2, 2, 2))

    def fetch(self) -> Any:
        return {"y": self.made.numpy()}

    def attest(self) -> Any: ...


def network() -> Any:
    """Two convolutions with batch norms and one ReLU for both, in place; a head that keeps the
    three best; and what is not touched.
    """

    class Head(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            values, indices = x.flatten(1).sigmoid().topk(3, dim=1)
            return values, indices

    class Doubled(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x, 2 * x

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.ModuleList(
                torch.nn.Sequential(
                    torch.nn.Conv2d(2, 2, 1), torch.nn.BatchNorm2d(2), torch.nn.Dropout()
                )
                for _ in range(2)
            )
            self.relu = torch.nn.ReLU(inplace=True)
            self.doubled = Doubled()
            self.head = Head()

        def forward(self, x: Any) -> Any:
            for block in self.body:
                x = self.relu(block(x))
            return self.head(self.doubled(x)[1])[0] + 1

    made = Network().eval()
    with torch.no_grad():
        for block in made.body:
            block[0].weight.copy_(
                torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).reshape(2, 2, 1, 1)
            )  # so that some numbers are negative
            block[0].bias.zero_()
    return made


def watched(only: Any = None, taken: tuple[str, ...] = ()) -> tuple[list[Within], dict[str, Any]]:
    module = network()
    session = WatchedSession(Calls(module), module, only, taken)
    try:
        session.step()
        return session.within, dict(session.fetch())
    finally:
        session.close()


def test_modules_are_told_with_their_places_and_what_folds_into_them() -> None:
    within, made = watched()
    told = {each.name: each for each in within}
    assert list(told) == [
        *("body.0.0", "body.0.1", "body.0.2", "body.0", "relu"),
        *("body.1.0", "body.1.1", "body.1.2", "body.1", "relu#2"),
        *("doubled[0]", "doubled[1]"),
        *("head:sigmoid", "head[0]", "head[1]"),
    ]
    assert told["body.0.0"].places == ("/body.0/body.0.0", "body.0.0")
    assert (told["relu"].places, told["relu#2"].places) == (("/relu", "relu"), ("/relu", "relu"))
    passed = ["body.0.2", "body.0", "body.1.2", "body.1", "doubled[0]"]
    assert [name for name, each in told.items() if not each.places] == passed, (
        "handed on as it came"
    )
    assert {name: each.folded_into for name, each in told.items() if each.folded_into} == {
        "body.0.1": "body.0.0",
        "body.1.1": "body.1.0",
    }
    assert (told["body.0.1"].inputs, told["relu"].inputs) == (("body.0.0",), ("body.0",))
    assert told["head:sigmoid"].places == ("/head:sigmoid", "head:sigmoid")
    assert told["head[1]"].places == ("/head", "head"), "the module returns the landmark itself"
    assert made["body.0.1"].min() < 0 == made["relu"].min(), (
        "kept as it was before the ReLU wrote into it"
    )
    assert set(made) == {*told, "y"}


def test_only_what_is_asked_for_is_kept_and_names_of_outputs_stay_free() -> None:
    within, made = watched(only=("relu#2", "head[0]"))
    assert [each.name for each in within] == ["relu#2", "head[0]"]
    assert set(made) == {"relu#2", "head[0]", "y"}
    within, _ = watched(taken=("relu",))
    assert [each.name for each in within if each.name.startswith("relu")] == ["relu#2", "relu#3"]

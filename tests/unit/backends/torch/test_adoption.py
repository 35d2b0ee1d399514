"""Modules as `build` returns them: stored in other types, lazy, compiled, random, with a state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness import Model, UsageError

torch = pytest.importorskip("torch")

from evenbench.backends.torch import adoption, float64_mode, unsteadiness, weights  # noqa: E402
from evenbench.backends.torch import model as torch_model  # noqa: E402

nn = torch.nn
X = torch.linspace(-1, 1, 8)[None]


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float64"])
def test_stored_weights_become_float32_without_another_value(stored: str) -> None:
    dtype = getattr(torch, stored)
    module = nn.Linear(8, 4).to(dtype)
    before = module.weight.detach().double()
    adopted, (example,) = adoption.adopted(module, (X.to(dtype),), "b")
    assert {value.dtype for value in adopted.parameters()} == {torch.float32}
    assert example.dtype == torch.float32
    assert torch.equal(adopted.weight.detach().double(), before.float().double())
    assert stored in adoption.cast_note(adopted)
    assert not adoption.cast_note(nn.Linear(8, 4))


def test_a_float64_buffer_beside_float32_weights_stays() -> None:
    module = nn.Linear(8, 4)
    module.register_buffer("mean", torch.zeros(8, dtype=torch.float64))
    adopted, _ = adoption.adopted(module, (X,), "b")
    assert adopted.mean.dtype == torch.float64


def test_lazy_parameters_take_their_shapes_from_the_example() -> None:
    adopted, _ = adoption.adopted(nn.Sequential(nn.LazyLinear(3)), (X,), "b")
    assert adopted[0].weight.shape == (3, 8)
    with pytest.raises(UsageError, match="lazy parameters without shapes"):
        adoption.adopted(nn.Sequential(nn.LazyLinear(3)), (), "b")


def test_modules_without_a_float64_golden_are_refused_with_a_way_out() -> None:
    quantised = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 4)), {nn.Linear})
    refused: list[tuple[Any, str]] = [
        (nn.Linear(8, 4, device="meta"), "meta device, without values"),
        (torch.jit.script(nn.Linear(8, 4)), "run the file model.pt"),
        (quantised, "give --precision int8-dynamic"),
    ]
    for module, words in refused:
        with pytest.raises(UsageError, match=words):
            adoption.adopted(module, (X,), "file.py:build")


def test_the_module_inside_torch_compile_is_the_model() -> None:
    inner = nn.Linear(8, 4)
    assert adoption.uncompiled(torch.compile(inner)) is inner
    assert adoption.uncompiled(inner) is inner


def test_layers_in_a_plain_list_need_no_gradient() -> None:
    module = nn.Module()
    module.layers = [nn.Linear(8, 4)]
    adoption.adopted(module, (X,), "b")
    assert not any(value.requires_grad for value in module.layers[0].parameters())


class OfItsOwn(nn.Module):
    """float32 on the way, a float64 table, and a layer in no state dict."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.rest = nn.Linear(8, 8), [nn.Linear(8, 4)]
        self.register_buffer("mean", torch.linspace(0, 1, 8, dtype=torch.float64))

    def forward(self, x: Any) -> Any:
        shifted = (x - self.mean).float() + torch.arange(8, dtype=torch.float32) / 7
        return self.rest[0](torch.softmax(self.first(shifted).float(), -1, dtype=torch.float32))


def test_a_golden_widens_the_types_of_the_module_itself() -> None:
    module = OfItsOwn().double()
    with torch.inference_mode(), float64_mode.wide():
        wide = module(X.double())
    x = X.double().numpy() - np.linspace(0, 1, 8) + np.arange(8) / 7
    layers = [module.first, module.rest[0]]
    weights = [layer.weight.detach().double().numpy() for layer in layers]
    biases = [layer.bias.detach().double().numpy() for layer in layers]
    scores = np.exp(x @ weights[0].T + biases[0])
    right = scores / scores.sum(-1, keepdims=True) @ weights[1].T + biases[1]
    assert wide.dtype == torch.float64
    assert np.abs(wide.numpy() - right).max() < 1e-14


DRAWN = """
import numpy as np
import torch

class Table(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.l = torch.nn.Linear(8, 4)
        self.table = torch.randn(4) + torch.from_numpy(np.random.standard_normal(4))

    def forward(self, x):
        return self.l(x) + self.table

def build():
    return Table(), (torch.ones(1, 8),)
"""


def test_every_build_draws_the_same_tables(tmp_path: Path) -> None:
    file = tmp_path / "drawn.py"
    file.write_text(DRAWN)
    model = Model("drawn", build=f"{file}:build")
    first, second = torch_model.build(model), torch_model.build(model)
    assert first.table.tolist() == second.table.tolist()
    assert first.l.weight.tolist() == second.l.weight.tolist()


def test_the_cause_of_unsteady_outputs_is_a_state_or_a_draw() -> None:
    class Streaming(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("past", torch.zeros(1, 8))

        def forward(self, x: Any) -> Any:
            self.past = x
            return x

    class Dropout(nn.Module):
        def forward(self, x: Any) -> Any:
            return nn.functional.dropout(x, 0.5)

    zeros = torch.zeros(1, 8)
    assert "keeps a state: past changes" in unsteadiness.cause(Streaming(), (zeros,))
    assert "draws random numbers" in unsteadiness.cause(Dropout(), (zeros,))
    assert unsteadiness.cause(nn.Linear(8, 4), (zeros,)) == ""


def test_the_digest_covers_types_that_numpy_lacks() -> None:
    one, other = torch.ones(3, dtype=torch.bfloat16), torch.tensor([1.0, 1.0, 2.0]).bfloat16()
    assert weights.digest({"w": one}) != weights.digest({"w": other})
    assert weights.digest({"w": one}) == weights.digest({"w": one.clone()})

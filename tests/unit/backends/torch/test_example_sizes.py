"""Example inputs of a build function: which batch sizes they open, and other sizes by `--shape`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evenbench.backends.torch import example_inputs, tensor_specs
from evenbench.harness import BATCH, Model, UsageError

torch = pytest.importorskip("torch")

BUILDS = """
import torch

class Text(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(50, 8)
    def forward(self, ids, mask):
        return (self.embedding(ids) * mask.unsqueeze(-1)).sum(1)

def text():
    return Text(), (torch.arange(48).reshape(4, 12), torch.ones(4, 12, dtype=torch.int64))

class Rows(torch.nn.Module):
    def forward(self, rows):
        return torch.softmax(rows @ rows.T, -1) @ rows

def rows():
    return Rows(), (torch.arange(20.0).reshape(4, 5) / 20,)

class Fixed(torch.nn.Module):
    def forward(self, image):
        return image.reshape(4, 5)

def fixed():
    return Fixed(), (torch.arange(20.0).reshape(4, 5),)
"""


@pytest.fixture
def model(tmp_path: Any) -> Any:
    file = tmp_path / "sizes.py"
    file.write_text(BUILDS)
    return lambda name, **arguments: Model("m", build=f"{file}:{name}", arguments=arguments)


def shapes(model: Model) -> list[Any]:
    inputs, outputs = tensor_specs.describe(model)
    return [spec.shape for spec in (*inputs, *outputs)]


def test_an_example_batch_above_one_opens_the_batch(model: Any) -> None:
    asked = model("text")
    assert shapes(asked) == [(BATCH, 12), (BATCH, 12), (BATCH, 8)]
    assert tensor_specs.examples(asked) == {"given": True, "first_size": 4}


def test_rows_that_influence_one_another_are_no_batch(model: Any) -> None:
    """Outputs follow the number of rows, as in a batch, but a row alone has another answer."""
    assert shapes(model("rows")) == [(4, 5), (4, 5)]


def test_a_module_for_one_batch_size_stays_fixed(model: Any) -> None:
    assert shapes(model("fixed")) == [(4, 5), (4, 5)]


def test_a_shape_resizes_examples_and_keeps_their_values(model: Any) -> None:
    """A sequence length from the command line, with valid ids and masks."""
    for shape in ("1x16,1x16", "1x16"):
        longer = model("text", shape=shape)
        assert shapes(longer) == [(BATCH, 16), (BATCH, 16), (BATCH, 8)]
        inputs, _ = tensor_specs.describe(longer)
        longer = Model("m", build=longer.build, arguments=longer.arguments, inputs=tuple(inputs))
        samples = example_inputs.samples(longer)
        assert samples["ids"].shape[1:] == (16,)
        assert set(np.unique(samples["ids"])) <= set(range(12)), "the first example, repeated"
        assert (samples["mask"] == 1).all()


@pytest.mark.parametrize("shape", ["1x16,1x3,1x4", "16", "1x3x16,1x16"])
def test_a_shape_that_does_not_fit_the_examples_is_refused(model: Any, shape: str) -> None:
    with pytest.raises(UsageError, match="returned example inputs 4x12,4x12; give a shape with"):
        tensor_specs.describe(model("text", shape=shape))

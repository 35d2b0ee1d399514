"""What a golden says that one step computes and has to read: counted by hand here, for torch
modules and ONNX files.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.backends import flops
from evenbench.backends.onnx import description
from evenbench.backends.torch import float64_reference, weights
from evenbench.backends.torch import session as torch_session
from evenbench.harness import BATCH, Cell, Model, TensorSpec

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")


class Words(torch.nn.Module):  # type: ignore[misc]
    """A table of 100 rows of 8, of which a step needs three, and a product with [8, 4]."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(100, 8)
        self.head = torch.nn.Linear(8, 100 if tied else 4)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, tokens: Any) -> Any:
        return self.head(self.table(tokens))


def test_a_table_is_read_by_row_unless_a_product_reads_all_of_it() -> None:
    assert weights.read_per_step(Words()) == 8 * 4 + 4
    assert weights.read_per_step(Words(tied=True)) == 8 * 100 + 100


def test_the_golden_counts_its_own_step() -> None:
    model = Model(
        "words",
        build="a:b",
        inputs=(TensorSpec("t", (BATCH, 3), "int64"),),
        outputs=(TensorSpec("y", (BATCH, 3, 4)),),
    )
    session = torch_session.TorchSession(
        Words().double(), Cell(model, "reference", batch=2), torch.inference_mode
    )
    session.bind({"t": np.zeros((2, 3), np.int64)})
    found = float64_reference.Reference().work(session)
    assert found["flops"] == 2 * (2 * 3) * 8 * 4
    assert (found["weights"], found["weight_bytes"], found["why_not"]) == (8 * 4 + 4, None, "")


class Folded(torch.nn.Module):  # type: ignore[misc]
    """A product of constants, [16, 16] squared, before the product with the input."""

    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Parameter(torch.ones(16, 16), requires_grad=False)

    def forward(self, x: Any) -> Any:
        return x.clone().view(-1, 16) @ (self.a @ self.a)


def test_products_of_constants_do_not_count() -> None:
    x = torch.ones(4, 16)
    assert flops.of_call(lambda: Folded()(x))["total"] == 2 * (16**3 + 4 * 16 * 16)
    assert flops.of_call(lambda: Folded()(x), [x])["total"] == 2 * 4 * 16 * 16


def test_nodes_on_constants_do_not_count() -> None:
    from onnx import helper

    nodes = [helper.make_node("MatMul", ["a", "a"], ["b"]), helper.make_node("MatMul", "xb", "y")]
    shapes = {"a": [16, 16], "b": [16, 16], "x": [4, 16], "y": [4, 16]}
    assert flops.of_onnx(nodes, shapes)["total"] == 2 * (16**3 + 4 * 16 * 16)
    assert flops.of_onnx(nodes, shapes, ["x"])["total"] == 2 * 4 * 16 * 16


def test_what_the_counter_cannot_follow_is_not_counted_and_no_error() -> None:
    def refuse() -> None:
        raise NotImplementedError("no such key")

    assert flops.of_call(refuse)["total"] is None
    assert "NotImplementedError: no such key" in flops.of_call(refuse)["why_not"]


def graph(tmp_path: Path) -> Any:
    """The same in ONNX, with an open batch: Gather from the table, MatMul in fp16."""
    from onnx import TensorProto, helper, numpy_helper

    table = numpy_helper.from_array(np.zeros((100, 8), np.float16), "table")
    head = numpy_helper.from_array(np.zeros((8, 4), np.float16), "head")
    nodes = [
        helper.make_node("Gather", ["table", "t"], ["e"]),
        helper.make_node("MatMul", ["e", "head"], ["y"]),
    ]
    tokens = helper.make_tensor_value_info("t", TensorProto.INT64, ["n", 3])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["n", 3, 4])
    return helper.make_model(helper.make_graph(nodes, "words", [tokens], [answer], [table, head]))


@pytest.mark.parametrize("batch", [1, 5])
def test_a_file_is_counted_at_the_batch_of_the_cell(batch: int, tmp_path: Path) -> None:
    found = description.work(graph(tmp_path), batch)
    assert found["flops"] == 2 * (batch * 3) * 8 * 4
    assert (found["weights"], found["weight_bytes"]) == (8 * 4, 2 * 8 * 4)


COUNT = """
import sys
from evenbench.backends import contract_model, flops
import torch
network = contract_model.build()
images = torch.zeros(1, *contract_model.TINY_CNN.inputs[0].concrete(1)[1:])
print(flops.of_call(lambda: network(images), [images])["total"], "torch._dynamo" in sys.modules)
"""


def test_counting_imports_no_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    count, compiler = done.stdout.split()
    assert int(count) > 0
    assert compiler == "False"

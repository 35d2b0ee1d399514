"""What PyTorch's compiled backends do where shapes change: what may be asked of them, and what is
refused before it is computed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.backends.contract_model import TINY_CNN
from evenbench.backends.torch.aot_inductor import PackageSession
from evenbench.backends.torch.torch_compile import TorchCompile
from evenbench.harness import Cell


def cell(backend: str = "torch-compile", precision: str = "fp32", **options: Any) -> Cell:
    return Cell(TINY_CNN, backend, precision, batch=2, options=tuple(options.items()))


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (cell(), ""),
        (cell(shapes="each"), ""),
        (cell(shapes="auto", freezing=True), ""),
        (cell(precision="bf16", shapes="any"), ""),
        (cell(shapes="some"), "shapes is 'each' or 'auto' or 'any', not 'some'"),
        (cell(shapes=True), "shapes is 'each' or 'auto' or 'any', not True"),
        (
            cell(precision="int8-dynamic", shapes="any"),
            "int8-dynamic programs have a fixed shape",
        ),
        (cell(precision="int8-dynamic"), ""),
    ],
)
def test_which_shapes_may_be_compiled_for(asked: Cell, reason: str) -> None:
    found = TorchCompile().supports(asked)
    assert reason in found if reason else found == ""


def test_what_is_compiled_for_other_shapes_is_another_artifact() -> None:
    keys = [
        TorchCompile().artifact_key(cell(**asked))
        for asked in ({}, {"shapes": "each"}, {"shapes": "any"})
    ]
    assert [key.get("shapes") for key in keys] == [None, "each", "any"]


def test_a_package_is_handed_the_shape_that_it_was_compiled_for() -> None:
    """Compiled code checks nothing: of fewer numbers it would read what lies behind them."""
    session = PackageSession(lambda *tensors: tensors, Path("model.pt2"), {}, cell("torch-aot"))
    with pytest.raises(
        ValueError,
        match=r"image is \[1, 3, 16, 16\]; the package was compiled for \[2, 3, 16, 16\]",
    ):
        session.bind({"image": np.zeros((1, 3, 16, 16), np.float32)})

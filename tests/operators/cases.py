"""The operator tests that the onnx package ships, as files in a folder."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

SLOW = ("averagepool", "lppool", "maxpool")
"""The modules that take seconds to import, because they compute their expectations in loops."""

MODEL, DATA = "model.onnx", "test_data_set_0"


def collect(without: Iterable[str] = ()) -> list[Any]:
    """Every test of `onnx.backend.test.case.node` by name, except the modules `without`."""
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="onnx.backend.test")
    node = importlib.import_module("onnx.backend.test.case.node")
    _import_all(node, set(without))
    return sorted(node._NodeTestCases, key=lambda case: case.name)


def _import_all(package: Any, without: set[str]) -> None:
    for _, name, is_package in pkgutil.iter_modules(package.__path__):
        if name not in without:
            module = importlib.import_module(f"{package.__name__}.{name}")
            if is_package:
                _import_all(module, without)


def stratified(cases: Sequence[Any], count: int) -> list[Any]:
    """`count` tests at equal distances in order of names: every operator family is among them."""
    step = len(cases) / count
    return [cases[int(index * step)] for index in range(count)]


def operator_of(case: Any) -> str:
    """The operator of a test; the first node of an expanded function counts."""
    nodes = case.model.graph.node
    return str(nodes[0].op_type) if nodes else "none"


def write(case: Any, folder: Path) -> Path:
    """Write the model of a case and its data as ONNX's own folder of test data; returns the model.

    Raises ValueError for data without a tensor form.
    """
    import onnx

    file = folder / MODEL
    onnx.save(case.model, str(file))
    return file


def given(case: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first data set of a case: inputs and expected outputs by name."""
    inputs, outputs = case.data_sets[0]
    graph = case.model.graph
    return (
        dict(zip((value.name for value in graph.input), inputs, strict=False)),
        dict(zip((value.name for value in graph.output), outputs, strict=False)),
    )

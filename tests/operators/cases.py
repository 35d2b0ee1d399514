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


def write(case: Any, folder: Path, with_data: bool = True) -> Path:
    """Write the model of a case; returns the file.

    With data, a folder of ONNX test data is beside the model, with inputs and expected outputs,
    where all of these are tensors or sequences.
    """
    import onnx

    file = folder / MODEL
    onnx.save(case.model, str(file))
    if with_data:
        graph, (inputs, outputs) = case.model.graph, case.data_sets[0]
        protos = {
            f"{kind}_{index}.pb": _proto(value, declared)
            for kind, values, declarations in (
                ("input", inputs, graph.input),
                ("output", outputs, graph.output),
            )
            for index, (value, declared) in enumerate(zip(values, declarations, strict=False))
        }
        if all(protos.values()):
            (folder / DATA).mkdir()
            for name, proto in protos.items():
                (folder / DATA / name).write_bytes(proto.SerializeToString())
    return file


def _proto(value: Any, declared: Any) -> Any:
    """The value in ONNX's form; None for an optional value or a map."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    if isinstance(value, TensorProto):
        return value
    if declared.type.HasField("tensor_type"):
        return numpy_helper.from_array(np.asarray(value), declared.name)
    if declared.type.HasField("sequence_type") and isinstance(value, list):
        return numpy_helper.from_list(value, declared.name)
    return None

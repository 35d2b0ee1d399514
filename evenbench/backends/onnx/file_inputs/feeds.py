"""Arrays by name as feeds of a session: sequences joined, narrow types as ONNX Runtime's values.

numpy has no bfloat16, float8 or int4; ONNX Runtime takes these types as values of its own.
"""

from __future__ import annotations

import ctypes
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from evenbench.harness import Cell, Model
from evenbench.harness.inputs import element_types

ELEMENT = re.compile(r"(?P<name>.+)\[(?P<index>\d+)\]", re.DOTALL)
"""The name of an element of a sequence, such as `frames[2]`."""

SEQUENCES = "sequences"
"""The model argument with the names of sequence inputs, as JSON."""

SEQUENCE_OUTPUTS = "sequence_outputs"
"""The model argument with the names of sequence outputs, as JSON."""

PACKED: Mapping[str, int] = {"int4": 4, "uint4": 4, "float4_e2m1fn": 4, "int2": 2, "uint2": 2}
"""Types with several elements per byte, and the bits of an element."""

KINDS: Mapping[str, tuple[str, int]] = {
    "tensor(bfloat16)": ("bfloat16", 16),
    "tensor(float8e4m3fn)": ("float8_e4m3fn", 17),
    "tensor(float8e4m3fnuz)": ("float8_e4m3fnuz", 18),
    "tensor(float8e5m2)": ("float8_e5m2", 19),
    "tensor(float8e5m2fnuz)": ("float8_e5m2fnuz", 20),
    "tensor(uint4)": ("uint4", 21),
    "tensor(int4)": ("int4", 22),
    "tensor(float4e2m1)": ("float4_e2m1fn", 23),
    "tensor(float8e8m0)": ("float8_e8m0fnu", 24),
    "tensor(uint2)": ("uint2", 25),
    "tensor(int2)": ("int2", 26),
}
"""ONNX Runtime's names of narrow types: the dtype of a `TensorSpec`, and ONNX's number."""


def elements(name: str, count: int) -> list[str]:
    """The names of the elements of a sequence input."""
    return [f"{name}[{index}]" for index in range(count)]


def sequences_of(model: Model, argument: str = SEQUENCES) -> list[str]:
    """The names of the sequences among the inputs, or outputs, of a user's ONNX file."""
    names: list[str] = json.loads(model.arguments.get(argument, "[]"))
    return names


def joined(arrays: Mapping[str, Any], sequences: Sequence[str]) -> dict[str, Any]:
    """The arrays by the file's names, with the elements of each sequence as a list."""
    feeds: dict[str, Any] = {name: [] for name in sequences}
    for name, array in arrays.items():
        match = ELEMENT.fullmatch(name)
        if match and match["name"] in sequences:
            feeds[match["name"]].append(array)
        else:
            feeds[name] = array
    return feeds


def separated(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs by name, with the elements of each sequence as `name[0]`, `name[1]`, ..."""
    named: dict[str, Any] = {}
    for name, output in outputs.items():
        if isinstance(output, list):
            named |= dict(zip(elements(name, len(output)), output, strict=True))
        else:
            named[name] = output
    return named


def is_narrow(dtype: str) -> bool:
    """Whether a dtype of a `TensorSpec` needs a value of ONNX Runtime's own."""
    return dtype in [name for name, _ in KINDS.values()]


def refuses(cell: Cell) -> str:
    """The reason why only sessions on values of ONNX Runtime take a cell's inputs, or empty."""
    sequences = sequences_of(cell.model)
    if sequences:
        return f"input {sequences[0]} is a sequence, which only ort takes"
    lists = sequences_of(cell.model, SEQUENCE_OUTPUTS)
    if lists:
        return f"output {lists[0]} is a sequence, which only ort returns"
    for spec in cell.model.inputs:
        if spec.dtype == element_types.TEXT or is_narrow(spec.dtype):
            words = "text" if spec.dtype == element_types.TEXT else spec.dtype
            return f"input {spec.name} is {words}, which only ort takes"
    return ""


def value(runtime: Any, array: Any) -> Any:
    """The array as ONNX Runtime's value, copied."""
    import numpy as np

    number = next(number for name, number in KINDS.values() if name == str(array.dtype))
    ort_value = runtime.OrtValue.ortvalue_from_shape_and_type(list(array.shape), number)
    data = _packed(array) if str(array.dtype) in PACKED else np.ascontiguousarray(array)
    ctypes.memmove(ort_value.data_ptr(), data.ctypes.data, data.nbytes)
    return ort_value


def prepared(session: Any, runtime: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The feeds of a session, with narrow arrays as ONNX Runtime's values.

    If an output is narrow, every feed is such a value, because plain calls return numpy's arrays.
    """
    every = any(output.type in KINDS for output in session.get_outputs())
    ready: dict[str, Any] = {}
    for name, array in arrays.items():
        if not isinstance(array, list) and is_narrow(str(array.dtype)):
            ready[name] = value(runtime, array)
        else:
            ready[name] = runtime.OrtValue.ortvalue_from_numpy(array) if every else array
    return ready


def run(session: Any, runtime: Any, names: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
    """The outputs of a step: arrays, or values of narrow types for `fetched`."""
    ready = prepared(session, runtime, feeds)
    if any(not isinstance(feed, runtime.OrtValue) for feed in ready.values()):
        return list(session.run(list(names), ready))
    return list(session.run_with_ort_values(list(names), ready))


def fetched(output: Any) -> Any:
    """An output of `run` as a fresh array; sequences and optional outputs stay as they are."""
    if not hasattr(output, "data_type"):
        return output
    if output.data_type() not in KINDS:
        return output.numpy()
    return _read(output)


def _read(output: Any) -> Any:
    import numpy as np

    name, _ = KINDS[output.data_type()]
    dtype, shape = element_types.dtype_of(name), output.shape()
    size = output.tensor_size_in_bytes()
    raw = np.frombuffer(ctypes.string_at(output.data_ptr(), size), np.uint8)
    if name not in PACKED:
        return raw.view(dtype).reshape(shape).copy()
    bits = PACKED[name]
    parts = (raw[:, None] >> np.arange(0, 8, bits, dtype=np.uint8)) & (2**bits - 1)
    elements = parts.reshape(-1)[: int(np.prod(shape))].astype(np.uint8)
    if name.startswith("float"):
        return elements.view(dtype).reshape(shape)
    sign = 2 ** (bits - 1) if name.startswith("int") else 0
    return ((elements ^ sign).astype(np.int8) - sign).astype(dtype).reshape(shape)


def _packed(array: Any) -> Any:
    """Two or four elements per byte, the first in the lowest bits."""
    import numpy as np

    bits = PACKED[str(array.dtype)]
    is_float = str(array.dtype).startswith("float")
    plain = array.view(np.uint8) if is_float else array.astype(np.int8).view(np.uint8)
    flat = plain.reshape(-1) & (2**bits - 1)
    padded = np.concatenate([flat, np.zeros(-flat.size % (8 // bits), np.uint8)])
    parts = padded.reshape(-1, 8 // bits) << np.arange(0, 8, bits, dtype=np.uint8)
    return np.bitwise_or.reduce(parts, axis=1).astype(np.uint8)

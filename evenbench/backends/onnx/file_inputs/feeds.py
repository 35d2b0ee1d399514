"""Arrays by name as feeds of a session: sequences joined, narrow types as ONNX Runtime's values.

numpy has no bfloat16, float8 or int4; ONNX Runtime takes these types as values of its own.
"""

from __future__ import annotations

import ctypes
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from evenbench.harness import Model

ELEMENT = re.compile(r"(?P<name>.+)\[(?P<index>\d+)\]", re.DOTALL)
"""The name of an element of a sequence, such as `frames[2]`."""

SEQUENCES = "sequences"
"""The model argument with the names of sequence inputs, as JSON."""

PACKED = ("int4", "uint4", "float4_e2m1fn", "int2", "uint2")
"""Types with several elements per byte."""

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
}
"""ONNX Runtime's names of narrow types: the dtype of a `TensorSpec`, and ONNX's number."""


def elements(name: str, count: int) -> list[str]:
    """The names of the elements of a sequence input."""
    return [f"{name}[{index}]" for index in range(count)]


def sequences_of(model: Model) -> list[str]:
    """The names of the sequence inputs of a user's ONNX file."""
    names: list[str] = json.loads(model.arguments.get(SEQUENCES, "[]"))
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


def is_narrow(dtype: str) -> bool:
    """Whether a dtype of a `TensorSpec` needs a value of ONNX Runtime's own."""
    return dtype in [name for name, _ in KINDS.values()]


def value(runtime: Any, array: Any) -> Any:
    """The array as ONNX Runtime's value, copied."""
    import numpy as np

    number = next(number for name, number in KINDS.values() if name == str(array.dtype))
    made = runtime.OrtValue.ortvalue_from_shape_and_type(list(array.shape), number)
    data = _packed(array) if str(array.dtype) in PACKED else np.ascontiguousarray(array)
    ctypes.memmove(made.data_ptr(), data.ctypes.data, data.nbytes)
    return made


def fed(runtime: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The feeds of a session, with narrow arrays as ONNX Runtime's values."""
    return {
        name: value(runtime, array)
        if not isinstance(array, list) and is_narrow(str(array.dtype))
        else array
        for name, array in arrays.items()
    }


def run(session: Any, runtime: Any, names: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
    """The outputs of a step: arrays, or values of narrow types for `fetched`."""
    kinds = {output.name: output.type for output in session.get_outputs()}
    if all(kinds[name] not in KINDS for name in names):
        return list(session.run(list(names), feeds))
    values = {
        name: feed
        if isinstance(feed, runtime.OrtValue)
        else runtime.OrtValue.ortvalue_from_numpy(feed)
        for name, feed in feeds.items()
    }
    return list(session.run_with_ort_values(list(names), values))


def fetched(output: Any) -> Any:
    """An output of `run` as a fresh array; sequences and optional outputs stay as they are."""
    if not hasattr(output, "data_type"):
        return output
    if output.data_type() not in KINDS:
        return output.numpy()
    return _read(output)


def _read(output: Any) -> Any:
    import numpy as np

    from evenbench.harness.inputs import element_types

    name, _ = KINDS[output.data_type()]
    dtype, shape = element_types.dtype_of(name), output.shape()
    size = output.tensor_size_in_bytes()
    raw = np.frombuffer(ctypes.string_at(output.data_ptr(), size), np.uint8)
    if name not in PACKED:
        return raw.view(dtype).reshape(shape).copy()
    halves = np.stack([raw & 15, raw >> 4], -1).reshape(-1)[: int(np.prod(shape))]
    if name == "int4":  # the upper bit of four is the sign
        halves = (halves ^ 8).astype(np.int8) - 8
    whole = halves.astype(dtype) if name != "float4_e2m1fn" else halves.view(dtype)
    return whole.reshape(shape)


def _packed(array: Any) -> Any:
    """Two elements of four bits per byte, the first in the lower half."""
    import numpy as np

    name = str(array.dtype)
    plain = (
        array.view(np.uint8) if name == "float4_e2m1fn" else array.astype(np.int8).view(np.uint8)
    )
    flat = plain.reshape(-1) & 15
    padded = np.concatenate([flat, np.zeros(flat.size % 2, np.uint8)])
    return padded[0::2] | (padded[1::2] << 4)

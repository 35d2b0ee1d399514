"""Arrays by name as feeds of a session: sequences joined, narrow types as ONNX Runtime's values.

numpy has no bfloat16, float8 or int4; ONNX Runtime takes these types as values of its own.
"""

from __future__ import annotations

import ctypes
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from evenbench.harness import Cell, Model
from evenbench.harness.inputs import element_types

ELEMENT = re.compile(r"(?P<name>.+)\[(?P<index>\d+)\]", re.DOTALL)
"""The name of an element of a sequence, such as `frames[2]`."""

SEQUENCES = "sequences"
"""The model argument with the names of sequence inputs, as JSON."""

SEQUENCE_OUTPUTS = "sequence_outputs"
"""The model argument with the names of sequence outputs, as JSON."""

ABSENT = "absent_inputs"
"""The model argument with the names of absent optional inputs, as JSON."""

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


def sequences_of(model: Model, argument: str = SEQUENCES) -> list[str]:
    """The names in an argument of a user's ONNX file: the sequences among inputs, or others."""
    names: list[str] = json.loads(model.arguments.get(argument, "[]"))
    return names


def of_model(arrays: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """The feeds of a user's ONNX file for the arrays of a model's inputs."""
    return joined(arrays, sequences_of(model), sequences_of(model, ABSENT))


def joined(
    arrays: Mapping[str, Any], sequences: Sequence[str], absent: Sequence[str] = ()
) -> dict[str, Any]:
    """The arrays by the file's names, with the elements of each sequence as a list.

    An `absent` optional input is None.
    """
    feeds: dict[str, Any] = {**dict.fromkeys(absent), **{name: [] for name in sequences}}
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


TENSORS, LISTS = "tensors", "lists"
"""Kinds of values beyond numpy's numbers: tensors of text and narrow types; sequences and maps."""


def refuses(cell: Cell, takes: Collection[str] = ()) -> str:
    """The reason why a runtime does not take the values of a cell, or an empty string.

    `takes` are the kinds of values for sessions.
    """
    reason = "" if LISTS in takes else _lists(cell)
    return reason or ("" if TENSORS in takes else _exotic_tensors(cell))


def _lists(cell: Cell) -> str:
    for argument, words in (
        (SEQUENCES, "input {} is a sequence, which only ort takes"),
        (ABSENT, "input {} is optional and absent, which only ort takes"),
        (SEQUENCE_OUTPUTS, "output {} is a sequence, a map or optional, which only ort returns"),
    ):
        names = sequences_of(cell.model, argument)
        if names:
            return words.format(names[0])
    return ""


def _exotic_tensors(cell: Cell) -> str:
    for spec in cell.model.inputs:
        if spec.dtype == element_types.TEXT or is_narrow(spec.dtype):
            words = "text" if spec.dtype == element_types.TEXT else spec.dtype
            return f"input {spec.name} is {words}, which only ort and openvino take"
    return ""


def value(runtime: Any, array: Any) -> Any:
    """The array as ONNX Runtime's value, copied."""
    number = next(number for name, number in KINDS.values() if name == str(array.dtype))
    ort_value = runtime.OrtValue.ortvalue_from_shape_and_type(list(array.shape), number)
    data = raw_bytes(array)
    ctypes.memmove(ort_value.data_ptr(), data.ctypes.data, data.nbytes)
    return ort_value


def prepared(session: Any, runtime: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The feeds of a session, with narrow arrays as ONNX Runtime's values.

    If an output is narrow, every feed is such a value, because plain calls return numpy's arrays.
    """
    every = any(output.type in KINDS for output in session.get_outputs())
    ready: dict[str, Any] = {}
    for name, array in arrays.items():
        if array is not None and not isinstance(array, list) and is_narrow(str(array.dtype)):
            ready[name] = value(runtime, array)
        else:
            is_value = every and array is not None
            ready[name] = runtime.OrtValue.ortvalue_from_numpy(array) if is_value else array
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
    name, _ = KINDS[output.data_type()]
    data = ctypes.string_at(output.data_ptr(), output.tensor_size_in_bytes())
    return from_bytes(data, name, output.shape())


def raw_bytes(array: Any) -> Any:
    """The bytes of a narrow array in a runtime's memory, as uint8 in one dimension."""
    import numpy as np

    if str(array.dtype) in PACKED:
        return _packed(array)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def from_bytes(data: bytes, name: str, shape: Sequence[int]) -> Any:
    """The array of narrow type `name` in a runtime's memory."""
    import numpy as np

    dtype, raw = element_types.dtype_of(name), np.frombuffer(data, np.uint8)
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

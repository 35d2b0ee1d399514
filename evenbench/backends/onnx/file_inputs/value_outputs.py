"""Outputs of other kinds than tensors, as arrays by name: sequences, maps, absent values.

A sequence becomes its elements, `parts[0]`, `parts[1]` and so on; an empty one its length,
`parts.length`. A map becomes `scores.keys` and `scores.values`, in order of keys. Maps with equal
keys in a sequence, as sklearn-onnx writes per sample, become two arrays with a row per map. An
absent optional value becomes `y.present`, which is false.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

KEYS, VALUES, LENGTH, PRESENT = ".keys", ".values", ".length", ".present"
"""The ends of names of arrays made of sequences, maps and absent values."""

Maps = Sequence[Mapping[Any, Any]]


def elements(name: str, count: int) -> list[str]:
    """The names of the elements of a sequence."""
    return [f"{name}[{index}]" for index in range(count)]


def separated(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs by name, with every sequence, map or absent value as arrays."""
    named: dict[str, Any] = {}
    for name, output in outputs.items():
        named |= _arrays(name, output)
    return named


def _arrays(name: str, output: Any) -> dict[str, Any]:
    import numpy as np

    if output is None:
        return {f"{name}{PRESENT}": np.array(False)}
    if isinstance(output, Mapping):
        keys, values = _rows([output])
        return {f"{name}{KEYS}": keys[0], f"{name}{VALUES}": values[0]}
    if isinstance(output, str):  # numpy's form of a scalar of text
        return {name: np.array(output, object)}
    if not isinstance(output, list):
        return {name: output}
    if not output:
        return {f"{name}{LENGTH}": np.array(0, np.int64)}
    if isinstance(output[0], Mapping) and all(item.keys() == output[0].keys() for item in output):
        keys, values = _rows(output)
        return {f"{name}{KEYS}": keys, f"{name}{VALUES}": values}
    return separated(dict(zip(elements(name, len(output)), output, strict=True)))


def _rows(maps: Maps) -> tuple[Any, Any]:
    """Keys and values [maps, keys] of maps with equal keys, in order of keys."""
    import numpy as np

    keys = sorted(maps[0])
    rows = [[item[key] for key in keys] for item in maps]
    is_text = bool(keys) and isinstance(keys[0], str)
    values = np.asarray(rows)
    if values.size and type(rows[0][0]) is float:  # ONNX Runtime's Python form of a 32-bit number
        values = values.astype(np.float32)
    return np.asarray([keys] * len(maps), object if is_text else np.int64), values

"""Rules for numbers within the domain of an operator, such as positive scales and divisors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evenbench.backends.onnx.file_inputs.usage import Usage, between, whole

Rule = dict[str, Any] | None

LEAST_POSITIVE = 0.1


def _range(low: float, high: float) -> Callable[[Usage], Rule]:
    return lambda usage: between(low, high)


def _divisor(usage: Usage) -> Rule:
    """Integers without 0. Floats of any size divide."""
    return between(1, 9) if usage.declared.is_integer else None


def _exponent(usage: Usage) -> Rule:
    return between(0, 3) if usage.declared.is_integer else between(0.5, 3.0)


def _shift(usage: Usage) -> Rule:
    return between(0, 7)


def _base(usage: Usage) -> Rule:
    """Positive bases: a negative base has no real power with a fractional exponent."""
    exponent = usage.constant(1)
    if exponent is not None and (exponent == exponent.round()).all():
        return None
    return between(1, 9) if usage.declared.is_integer else between(LEAST_POSITIVE, 3.0)


def _casts(usage: Usage) -> Rule:
    """Text that a Cast reads as numbers."""
    if usage.declared.dtype != "str" or usage.attribute("to") == 8:
        return None
    to_float = usage.attribute("to") in (1, 10, 11, 16)
    return {"choices": ["3.14", "-2.5", "100", "0"] if to_float else ["3", "100", "0", "42"]}


def _boxes(usage: Usage) -> Rule:
    """Overlapping boxes along a diagonal: corners [y1, x1, y2, x2], or centres and sides."""
    boxes = usage.count // 4
    if usage.attribute("center_point_box", 0):
        return whole([value for box in range(boxes) for value in (box / 2, box / 2, 1.0, 1.0)])
    return whole([value for box in range(boxes) for value in (box / 2,) * 2 + (box / 2 + 1,) * 2])


def _regions(usage: Usage) -> Rule:
    """Regions [x1, y1, x2, y2] of an image."""
    side = min((usage.shape(0) or [1, 1, 8, 8])[-2:])
    width = usage.size[-1]
    corners = [0.0, 0.0, side * 0.75, side * 0.5]
    row = corners if width == 4 else [0.0, *corners]
    return whole(row * (usage.count // len(row)))


def _encoded(usage: Usage) -> Rule:
    """Keys of a LabelEncoder or a mapping, so that texts are known."""
    keys = usage.attribute("keys_strings") or usage.attribute("cats_strings")
    numbers = usage.attribute("keys_int64s") or usage.attribute("cats_int64s")
    tensor = usage.attribute("keys_tensor")
    if keys:
        return {"choices": [key.decode() for key in keys]}
    if numbers:
        return {"choices": list(numbers)}
    if tensor is not None:
        from onnx import numpy_helper

        return {"choices": [_plain(key) for key in numpy_helper.to_array(tensor).reshape(-1)]}
    return None


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return value.decode() if isinstance(value, bytes) else value


POSITIVE = (
    *(("BatchNormalization", 4), ("Sqrt", 0), ("Log", 0), ("Reciprocal", 0)),
    *(("QuantizeLinear", 1), ("DequantizeLinear", 1), ("ReduceLogSum", 0)),
    *(("QLinearConv", place) for place in (1, 4, 6)),
    *(("QLinearMatMul", place) for place in (1, 4, 6)),
    *(("ReduceLogSumExp", 0), ("DynamicQuantizeLinear", 1)),
)
"""Inputs that are scales, variances or arguments of a logarithm."""

RULES: Mapping[tuple[str, int], Callable[[Usage], Rule]] = {
    **{key: _range(LEAST_POSITIVE, 2.0) for key in POSITIVE},
    ("Adagrad", 3): _range(LEAST_POSITIVE, 2.0),
    ("Adam", 5): _range(LEAST_POSITIVE, 2.0),
    ("Acosh", 0): _range(1.1, 9.0),
    ("Acos", 0): _range(-0.9, 0.9),
    ("Asin", 0): _range(-0.9, 0.9),
    ("Atanh", 0): _range(-0.9, 0.9),
    ("Bernoulli", 0): _range(0.0, 1.0),
    ("GridSample", 1): _range(-1.0, 1.0),
    ("Div", 1): _divisor,
    ("Mod", 1): _divisor,
    ("Pow", 0): _base,
    ("Pow", 1): _exponent,
    ("BitShift", 1): _shift,
    ("Cast", 0): _casts,
    ("NonMaxSuppression", 0): _boxes,
    ("NonMaxSuppression", 1): _range(0.1, 1.0),
    ("RoiAlign", 1): _regions,
    ("MaxRoiPool", 1): _regions,
    ("LabelEncoder", 0): _encoded,
    ("CategoryMapper", 0): _encoded,
    ("OneHotEncoder", 0): _encoded,
}
"""By operator and place of the input."""

"""Made-up inputs by rules per input: a range, choices, or fixed values.

A rule is a JSON object with one of: `low` and `high`, both included; `choices`, a list for random
draws; `values`, all elements in order, or a single element for the whole tensor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.tensor_specs import TensorSpec
from evenbench.harness.core.types import Model
from evenbench.harness.inputs import element_types

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

SAMPLES = 8
"""The number of made-up samples."""

HIGHEST = 99
"""The highest made-up integer without a rule. Wide enough to differ, small enough for sums."""

WORDS = ("a", "the", "cat", "owl", "runs", "on", "évian", "42")
"""Made-up text without a rule."""

SOURCE = "evenbench.harness.inputs:made_up"
"""The late name of `harness.inputs.made_up`."""

RULES = "values"
"""The model argument with the rules of all inputs, as JSON."""

Rule = Mapping[str, Any]


def rules_of(model: Model) -> dict[str, Rule]:
    """The rules of a model's inputs by name; empty without rules."""
    rules: dict[str, Rule] = json.loads(model.arguments.get(RULES, "{}"))
    return rules


def samples(model: Model, seed: int) -> dict[str, Array]:
    """`SAMPLES` samples per input, by the model's rules or the defaults of the dtypes."""
    import numpy as np

    generator, rules = np.random.default_rng(seed), rules_of(model)
    return {spec.name: sample(spec, rules.get(spec.name, {}), generator) for spec in model.inputs}


def sample(spec: TensorSpec, rule: Rule, generator: Any, count: int = SAMPLES) -> Array:
    """`count` samples of an input, as an array [count, ...] of the input's dtype."""
    import numpy as np

    shape = (count, *spec.sample)
    if "values" in rule:
        return _fixed(spec, rule["values"], shape)
    if "choices" in rule:
        picks = generator.integers(0, len(rule["choices"]), shape)
        return _cast(np.asarray(rule["choices"], _wide(spec))[picks], spec)
    if spec.dtype == element_types.TEXT:
        words: Array = np.asarray(WORDS)[generator.integers(0, len(WORDS), shape)]
        return words
    if element_types.is_float(spec.dtype) or spec.dtype.startswith("complex"):
        return _real(spec, rule, generator, shape)
    least, greatest = element_types.integer_limits(spec.dtype)
    low = max(int(rule.get("low", 0)), least)
    high = min(int(rule.get("high", HIGHEST)), greatest)
    return _cast(generator.integers(low, max(low, high), shape, endpoint=True), spec)


def _real(spec: TensorSpec, rule: Rule, generator: Any, shape: tuple[int, ...]) -> Array:
    if "low" in rule:
        return _cast(generator.uniform(rule["low"], rule["high"], shape), spec)
    values = generator.standard_normal(shape)
    if spec.dtype.startswith("complex"):
        values = values + 1j * generator.standard_normal(shape)
    return _cast(values, spec)


def _fixed(spec: TensorSpec, values: Any, shape: tuple[int, ...]) -> Array:
    """The same values for every sample; values of a whole batch of one lose the batch axis."""
    import numpy as np

    flat, count = np.asarray(values, _wide(spec)).reshape(-1), math.prod(shape[1:])
    if flat.size not in (1, count):
        raise UsageError(
            f"{spec.name} has {count} elements, but {flat.size} values are given; give one value "
            f"for all, or {count}"
        )
    whole = flat if flat.size == 1 else flat.reshape(shape[1:])
    return _cast(np.broadcast_to(whole, shape).copy(), spec)


def _wide(spec: TensorSpec) -> str | None:
    """A type without loss for the numbers of a rule; None for the type of the numbers."""
    if spec.dtype == element_types.TEXT:
        return "str"
    return None if spec.dtype.startswith("complex") else "float64" if _narrow(spec) else spec.dtype


def _narrow(spec: TensorSpec) -> bool:
    return element_types.dtype_of(spec.dtype).isbuiltin == 2


def _cast(values: Array, spec: TensorSpec) -> Array:
    if spec.dtype == element_types.TEXT:
        return values.astype("str")
    return values.astype(element_types.dtype_of(spec.dtype))

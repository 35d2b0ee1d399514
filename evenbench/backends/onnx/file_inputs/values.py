"""Valid made-up values of a file's inputs, from the nodes that use each input."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from evenbench.backends.onnx.file_inputs import index_rules, number_rules, shape_rules
from evenbench.backends.onnx.file_inputs.consumers import Consumers
from evenbench.backends.onnx.file_inputs.declared import Declared
from evenbench.backends.onnx.file_inputs.usage import Usage, whole

NAMES: Sequence[tuple[re.Pattern[str], Mapping[str, Any]]] = (
    (re.compile(r"(^|_)(sr|sample_?rate|sampling_?rate)$", re.I), {"values": [16000]}),
    (re.compile(r"(^|_)mask$|^mask(_|$)|_mask_", re.I), {"values": [1]}),
    (re.compile(r"^(is_?)?training(_mode)?$", re.I), {"values": [0]}),
)
"""Rules for integers and flags by the input's name, where the graph has no rule."""

POSITIONS = re.compile(r"position_?ids|(^|_)positions?$", re.I)


def rules(
    graph: Consumers, inputs: Sequence[Declared], shapes: Mapping[str, Sequence[int]]
) -> dict[str, dict[str, Any]]:
    """A rule of `harness.inputs.made_up_samples` per input, with the reason in `why`.

    Inputs without a rule are missing. `shapes` are the shapes at one batch size.
    """
    chosen = {}
    for declared in inputs:
        if declared.kind != "tensor" or declared.dtype == "":
            continue
        rule = _rule(graph, declared, shapes[declared.name])
        if rule:
            chosen[declared.name] = rule
    return chosen


def _rule(graph: Consumers, declared: Declared, shape: Sequence[int]) -> dict[str, Any]:
    discrete = declared.is_integer or declared.dtype == "bool"
    named = _by_name(declared, shape) if discrete else {}
    if named:
        return named
    merged: dict[str, Any] = {}
    for node, place, tensor in graph.of(declared.name):
        usage = Usage(graph, node, place, tensor, declared, shape)
        rule = _of_usage(usage)
        if rule is None:
            continue
        if "low" not in rule:  # fixed values leave no choice
            return {**rule, "why": usage.words}
        merged = _narrower(merged, {**rule, "why": usage.words})
    return merged


def _by_name(declared: Declared, shape: Sequence[int]) -> dict[str, Any]:
    if POSITIONS.search(declared.name) and shape and declared.is_integer:
        rows, length = _product(shape[:-1]), shape[-1]
        return {"values": [*range(length)] * rows, "why": "positions, by the name"}
    for pattern, rule in NAMES:
        if pattern.search(declared.name):
            return {**rule, "why": "by the name"}
    return {}


def _product(sizes: Sequence[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


def _of_usage(usage: Usage) -> dict[str, Any] | None:
    use = (usage.node.op_type, usage.place)
    if use in shape_rules.RULES:
        # A part of a shape, joined with others before the use, has no size of its own.
        shape = usage.shape(usage.place)
        is_part = shape is not None and _product(shape) != usage.count
        return whole([1] * usage.count) if is_part else shape_rules.RULES[use](usage)
    rule = index_rules.RULES.get(use) or number_rules.RULES.get(use)
    return rule(usage) if rule else None


def _narrower(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The range within both ranges; the first if both have no value in common."""
    if not one:
        return other
    low, high = max(one["low"], other["low"]), min(one["high"], other["high"])
    return {**one, "low": low, "high": high} if low <= high else one

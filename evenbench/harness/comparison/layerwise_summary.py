"""The result of a layer-wise comparison in sentences, for the terminal and for records."""

from __future__ import annotations

from collections.abc import Sequence

from evenbench.harness.accuracy.tensor_comparison import Row
from evenbench.harness.comparison.layerwise import LayerwiseComparison
from evenbench.harness.core import quantities

FEW = 3
"""Tensors named in a sentence; the JSON value has all."""

SEEN = {
    "alone": "it diverges as well when no other tensor is captured",
    "together": "it does not diverge when no other tensor is captured: "
    "capturing keeps a runtime from fusing operators, and that changed it",
    "bisected": "it was found by capturing one tensor at a time; "
    "the difference disappears when all are captured, so operator fusion causes it",
    "behind": "all matched tensors before it agree: the difference arises behind them",
    "outputs": "no tensor within diverges, captured together or alone: "
    "the difference arises on the way to this output, by a fusion",
}
"""The certainty of the first diverging tensor."""


def sentences(result: LayerwiseComparison) -> list[str]:
    """Return the result in sentences."""
    rule = result.rule
    lines = [
        f"needed is the error in units of the tolerance of {rule['precision']} "
        f"(rtol {rule['rtol']:g}, atol {rule['atol']:g} of the scale), "
        f"against {rule['against']}; input {result.batch}",
        *_not_compared(result),
    ]
    first = result.first
    if first is None:
        tensors = quantities.count(len(result.rows), "tensor")
        outputs = quantities.count(len(result.outputs), "output")
        return [*lines, f"nothing diverges: {tensors} and {outputs} agree"]
    lines += [
        f"the first diverging tensor is {_description(first, result.cells[1])}",
        SEEN[result.seen],
    ]
    is_rounding = first.decided or first.reordered or first.resized
    if is_rounding and first.inputs_needed <= 1 and first.inputs:
        lines.append(
            "its inputs agree: nearly equal values were ordered, cut or rounded in another way"
        )
    beyond = result.beyond_order
    if first.reordered and beyond:
        lines.append(
            "the first tensor that diverges in more than its order is "
            f"{_description(beyond, result.cells[1])}"
        )
    lines += _resized(result)
    if not any(row.parts for row in result.outputs):
        lines.append("the outputs agree all the same")
    return lines


def _resized(result: LayerwiseComparison) -> list[str]:
    resized = [row for row in result.rows if row.resized]
    if not resized:
        return []
    many = f"in {len(resized)} tensors" if len(resized) > 1 else "in this tensor"
    return [
        f"sizes differ from {resized[0].name} on ({resized[0].note}), {many}: "
        "how many rows are kept depends on the data"
    ]


def _description(row: Row, second: str) -> str:
    """Return a diverging tensor's names, operator, inputs and error."""
    inputs = f" of {_few(row.inputs)}" if row.inputs else ""
    other = f" ({row.other} in {second})" if row.other else ""
    error = "" if row.resized or row.decided else f"{row.needed:.3g} times the tolerance"
    remark = f"{error} ({row.note})" if error and row.note else error or row.note
    return f"{row.name}{other}, made by {row.operator}{inputs}: {remark}"


def _not_compared(result: LayerwiseComparison) -> list[str]:
    """Return sentences on the matching of tensors, and on tensors left out."""
    if result.by == "names":
        alone = quantities.count(result.only_in_one, "tensor is", "tensors are")
        left = f"{alone} in one of the two only, and not compared"
        return [left] if result.only_in_one else []
    matched = sum(row.operator != "output" for row in result.rows)
    lines = [
        "matched by their places in the module, their order and their shapes: "
        f"{quantities.count(matched, 'tensor')}"
    ]
    if result.folded:
        lines.append(
            f"{len(result.folded)} of the module are in no file, because the following batch norm "
            f"is folded into them: {_few(result.folded)}"
        )
    for cell, names in zip(result.cells, result.unmatched, strict=True):
        if names:
            lines.append(
                f"{len(names)} of {cell} have a place too and could not be matched: {_few(names)}"
            )
    return lines


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW} more (--json names all)" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more

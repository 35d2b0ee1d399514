"""Descriptions of TorchScript files, read by torch."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends import flops
from evenbench.backends.torch import description
from evenbench.backends.torch.files import archive_safety
from evenbench.harness import UsageError

if TYPE_CHECKING:
    import torch


CASTS = (
    "aten::to",
    "aten::quantize_per_tensor",
    "aten::quantize_per_channel",
    "aten::dequantize",
    "aten::_to_copy",
)


def describe(file: Path, shapes: Sequence[Sequence[int]] = ()) -> dict[str, Any]:
    """The facts about a traced or scripted module.

    TorchScript records no input shapes; work is counted only if `shapes` are given.
    """
    archive_safety.check(file)
    torch = description.imported_torch(file)
    warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated.*")
    try:
        module = torch.jit.load(str(file), map_location="cpu").eval()
        graph = module.inlined_graph
    except Exception as error:  # C++ errors of the reader, or any error of the stored code
        raise UsageError(
            f"{file}: torch {torch.__version__} cannot read this TorchScript file "
            f"({description.error_summary(error)}); save it again"
        ) from error
    inputs = [_value(value) for value in list(graph.inputs())[1:]]  # the first is the module itself
    nodes = list(_nodes(graph))
    parameters = description.parameters(
        [*module.parameters(), *module.buffers(), *_constants(nodes)]
    )
    for value, shape in zip(inputs, shapes, strict=False):
        value["shape"] = list(shape)
    return description.facts(
        description.SCRIPT,
        file,
        made_by=f"TorchScript, read by torch {torch.__version__}",
        inputs=inputs,
        outputs=[_value(value) for value in graph.outputs()],
        parameters=parameters,
        flops=_flops(module, inputs, shapes),
        operators=description.histogram(
            node.kind() for node in nodes if not node.kind().startswith("prim::")
        ),
        computes_in=description.float_names(parameters),
        precision_changes=[change for node in nodes if (change := _change(node))],
        details={"class": module.original_name, "frozen": not list(module.parameters())},
    )


def _nodes(block: Any) -> Iterator[Any]:
    """Every node, including nodes inside branches and loops."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _value(value: Any) -> dict[str, Any]:
    kind = value.type()
    sizes = kind.sizes() if kind.kind() == "TensorType" else None
    dtype = kind.dtype() if kind.kind() == "TensorType" else None
    return {
        "name": value.debugName(),
        "dtype": str(dtype or kind).removeprefix("torch."),
        "shape": list(sizes) if sizes else None,
    }


def _constants(nodes: Iterable[Any]) -> Iterator[torch.Tensor]:
    """The weights of a frozen module: constants of the graph."""
    import torch

    for node in nodes:
        if node.kind() == "prim::Constant" and node.outputsSize() == 1:
            value = node.output().toIValue()
            if isinstance(value, torch.Tensor) and value.ndim:  # scalars are arguments
                yield value


def _change(node: Any) -> dict[str, Any] | None:
    if node.kind() not in CASTS:
        return None
    before, after = (
        _value(value)["dtype"] for value in (next(node.inputs()), next(node.outputs()))
    )
    unknown = "Tensor"  # saved graphs do not always keep the types of activations
    if before == after != unknown:
        return None
    names = [name if name != unknown else "?" for name in (before, after)]
    return {
        "node": node.output().debugName(),
        "operator": node.kind(),
        "from": names[0],
        "to": names[1],
        "of": "activations",
    }


def _flops(
    module: Any, inputs: Sequence[Mapping[str, Any]], shapes: Sequence[Sequence[int]]
) -> dict[str, Any]:
    import torch

    if len(shapes) != len(inputs):
        return flops.not_counted(
            f"the file does not record the shapes of its {len(inputs)} inputs; "
            "give the shapes with --shape"
        )
    zeros = [torch.zeros(list(shape)) for shape in shapes]
    try:
        return flops.of_call(lambda: module(*zeros))
    except Exception as error:
        return flops.not_counted(
            f"the module rejects float32 inputs of these shapes: {description.error_summary(error)}"
        )

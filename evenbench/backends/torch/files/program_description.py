"""Descriptions of exported programs, read by torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evenbench.backends import flops
from evenbench.backends.torch import description
from evenbench.backends.torch.files import archive_safety
from evenbench.harness import UsageError


def describe(file: Path) -> dict[str, Any]:
    """The facts about an ExportedProgram. Open sizes take the values of the example inputs."""
    torch = description.imported_torch(file)
    archive_safety.check(file)
    try:
        program = torch.export.load(str(file))
    except Exception as error:
        raise UsageError(
            f"{file}: torch {torch.__version__} cannot read this exported program "
            f"({description.error_summary(error)}); export it again"
        ) from error
    signature, nodes = program.graph_signature, list(program.graph.nodes)
    values = {node.name: node.meta.get("val") for node in nodes}
    parameters = description.parameters(
        [
            *program.state_dict.values(),
            *(value for value in program.constants.values() if hasattr(value, "dtype")),
        ]
    )
    return description.facts(
        description.PROGRAM,
        file,
        made_by=f"torch.export, read by torch {torch.__version__}",
        inputs=[_value(name, values.get(name)) for name in signature.user_inputs],
        outputs=[_value(name, values.get(name)) for name in signature.user_outputs],
        parameters=parameters,
        flops=_flops(program),
        operators=description.histogram(
            str(node.target) for node in nodes if node.op == "call_function"
        ),
        computes_in=description.float_names(parameters),
        precision_changes=[change for node in nodes if (change := _change(node))],
        details={
            "open_sizes": {
                str(name): str(constraint) for name, constraint in program.range_constraints.items()
            }
        },
    )


def _value(name: Any, value: Any) -> dict[str, Any]:
    if not hasattr(value, "dtype"):
        return {"name": str(name), "dtype": type(value).__name__, "shape": None}
    shape = [size if isinstance(size, int) else str(size) for size in value.shape]
    return {"name": str(name), "dtype": str(value.dtype).removeprefix("torch."), "shape": shape}


def _flops(program: Any) -> dict[str, Any]:
    """The operations of a run on the example inputs, or on zeros for programs of fixed shapes."""
    import torch

    arguments, keywords = program.example_inputs or ((), {})
    if not program.example_inputs:
        values = [
            node.meta["val"]
            for node in program.graph.nodes
            if node.name in program.graph_signature.user_inputs
        ]
        if not all(isinstance(size, int) for value in values for size in value.shape):
            return flops.not_counted("the program has open sizes and no example inputs")
        arguments = tuple(torch.zeros(tuple(value.shape), dtype=value.dtype) for value in values)
    try:
        return flops.of_call(lambda: program.module()(*arguments, **keywords))
    except Exception as error:
        return flops.not_counted(f"the program fails here: {description.error_summary(error)}")


def _change(node: Any) -> dict[str, Any] | None:
    if node.op != "call_function" or not node.args or not hasattr(node.args[0], "meta"):
        return None
    before, after = node.args[0].meta.get("val"), node.meta.get("val")
    operator = str(node.target)
    converts = "_to_copy" in operator or "to.dtype" in operator or "quantize" in operator
    if (
        not converts
        or not hasattr(before, "dtype")
        or not hasattr(after, "dtype")
        or before.dtype == after.dtype
    ):
        return None
    names = [str(value.dtype).removeprefix("torch.") for value in (before, after)]
    return {
        "node": node.name,
        "operator": operator,
        "from": names[0],
        "to": names[1],
        "of": _source_of(node.args[0]),
    }


def _source_of(node: Any) -> str:
    held = node.op in ("get_attr", "placeholder") and str(node.target).startswith(
        ("p_", "b_", "c_", "_frozen")
    )
    return "weights" if held else "activations"

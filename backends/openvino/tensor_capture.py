"""The tensors within a network that OpenVINO's PyTorch frontend converted: made outputs of a copy
of it, and told by their modules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends import module_scopes
from harness import Attestation, Session
from harness.core.intermediate_tensors import Within

if TYPE_CHECKING:
    from harness.core.session import Arrays

MODULE = "__module"
"""What the frontend calls the module that it converts; the modules within follow after dots."""

PASSIVE_NODES = ("Constant", "Parameter", "Result")
"""Nodes that compute nothing."""


class WatchedSession(Session):
    """A session on what `expose` wrote: the declared outputs, which come first in the file, and
    those that are added to them by `names`.
    """

    def __init__(self, session: Any, names: Sequence[str]) -> None:
        self.session, self.names = session, names

    def bind(self, inputs: Arrays) -> None:
        self.session.bind(inputs)

    def step(self) -> None:
        self.session.step()

    def attest(self) -> Attestation:
        made: Attestation = self.session.attest()
        return made

    def fetch(self) -> Mapping[str, Any]:
        request, compiled = self.session.request, self.session.compiled
        ports = {
            spec.name: port
            for spec, port in zip(self.session.cell.model.outputs, compiled.outputs, strict=False)
        }
        ports |= {name: compiled.output(name) for name in self.names}
        return {name: request.get_tensor(port).data.copy() for name, port in ports.items()}

    def close(self) -> None:
        self.session.close()


def expose(
    file: Path, into: Path, only: Collection[str] | None, declared: Sequence[str], wrappers: int
) -> list[Within]:
    """Write the network in `file` (.xml) as `into` with tensors within as further outputs: those in
    `only`, or all. Returns these.

    They are in the order in which OpenVINO sorts its operators, and have these operators' names,
    with the number of the output behind where there are several. Those that the network returns are
    fetched as what the model has `declared`, in this order. Left out are constants. So many
    `wrappers` were around the module.
    """
    import openvino as ov

    model = ov.Core().read_model(str(file))
    ordered = model.get_ordered_ops()
    operators = [each for each in ordered if each.get_type_name() not in PASSIVE_NODES]
    variable = _input_dependent(ordered)
    nodes = [_node(each, wrappers) for each in operators]
    returned = {
        _tensor_name(result.input_value(0)): name
        for result, name in zip(model.get_results(), declared, strict=True)
    }
    places = module_scopes.places(nodes, returned)
    found = []
    for operator, node in zip(operators, nodes, strict=True):
        for index, name in enumerate(node.outputs):
            port, fetched = operator.output(index), returned.get(name, "")
            if name not in variable or port.get_element_type().is_dynamic():
                continue
            if not fetched:
                if only is not None and name not in only:
                    continue
                port.get_tensor().add_names({name})
                model.add_outputs([port])
            inputs = tuple(each for each in node.inputs if each in variable)
            found.append(Within(name, node.operator, inputs, fetched, places.get(name, ())))
    ov.save_model(model, str(into), compress_to_fp16=False)
    return found


def _node(operator: Any, wrappers: int) -> module_scopes.Node:
    inputs = tuple(
        _tensor_name(operator.input_value(index)) for index in range(operator.get_input_size())
    )
    outputs = tuple(
        _tensor_name(operator.output(index)) for index in range(operator.get_output_size())
    )
    return module_scopes.Node(
        operator.get_type_name(), inputs, outputs, _scope(operator.get_friendly_name(), wrappers)
    )


def _scope(name: str, wrappers: int) -> module_scopes.Scope | None:
    """The module of an operator that is called `__module.detector.rpn/aten::topk/TopK_1`; None for
    what no module made.
    """
    module, slash, _ = name.partition("/")
    if not slash or module.partition(".")[0] != MODULE:
        return None
    known = module_scopes.unwrapped(module.removeprefix(MODULE).removeprefix("."), wrappers)
    return None if known is None else module_scopes.of_name(known)


def _tensor_name(port: Any) -> str:
    """How a tensor is called here: as the operator that makes it."""
    node = port.get_node()
    name = str(node.get_friendly_name())
    return name if node.get_output_size() == 1 else f"{name}:{port.get_index()}"


def _input_dependent(operators: Sequence[Any]) -> set[str]:
    """The tensors that depend on an input."""
    found: set[str] = set()
    for each in operators:
        inputs = {_tensor_name(each.input_value(index)) for index in range(each.get_input_size())}
        if each.get_type_name() == "Parameter" or inputs & found:
            found.update(
                _tensor_name(each.output(index)) for index in range(each.get_output_size())
            )
    return found

"""Tensor capture within models of OpenVINO's PyTorch frontend: tensors become further outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends import module_scopes
from evenbench.harness import Attestation, Session
from evenbench.harness.core.intermediate_tensors import Within

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

MODULE = "__module"
"""The frontend's name of the converted module; submodules follow after dots."""

PASSIVE_NODES = ("Constant", "Parameter", "Result")
"""Nodes without computation."""


class WatchedSession(Session):
    """A session on a file from `expose`: the declared outputs first, then the tensors `names`."""

    def __init__(self, session: Any, names: Sequence[str]) -> None:
        self.session, self.names = session, names

    def bind(self, inputs: Arrays) -> None:
        self.session.bind(inputs)

    def step(self) -> None:
        self.session.step()

    def attest(self) -> Attestation:
        attestation: Attestation = self.session.attest()
        return attestation

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
    """Write the model `file` (.xml) to `into` with inner tensors as outputs, and return these.

    `only` selects tensors by name; None selects all. Tensors are in OpenVINO's execution order,
    named by operator, with the output's number if an operator has several. `fetched` of a returned
    tensor is its name in `declared`. Constants are left out. `wrappers` is the number of wrapper
    modules around the module.
    """
    import openvino as ov

    model = ov.Core().read_model(str(file))
    ordered = model.get_ordered_ops()
    operators = [operator for operator in ordered if operator.get_type_name() not in PASSIVE_NODES]
    variable = _input_dependent(ordered)
    nodes = [_node(operator, wrappers) for operator in operators]
    returned = {
        _tensor_name(result.input_value(0)): name
        for result, name in zip(model.get_results(), declared, strict=True)
    }
    places = module_scopes.places(nodes, returned)
    tensors = []
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
            inputs = tuple(tensor for tensor in node.inputs if tensor in variable)
            tensors.append(Within(name, node.operator, inputs, fetched, places.get(name, ())))
    ov.save_model(model, str(into), compress_to_fp16=False)
    return tensors


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
    """Return the module of an operator like `__module.detector.rpn/aten::topk/TopK_1`, or None."""
    module, slash, _ = name.partition("/")
    if not slash or module.partition(".")[0] != MODULE:
        return None
    path = module_scopes.unwrapped(module.removeprefix(MODULE).removeprefix("."), wrappers)
    return None if path is None else module_scopes.of_name(path)


def _tensor_name(port: Any) -> str:
    """Return a tensor's name: the operator's, with the number of the output if several."""
    node = port.get_node()
    name = str(node.get_friendly_name())
    return name if node.get_output_size() == 1 else f"{name}:{port.get_index()}"


def _input_dependent(operators: Sequence[Any]) -> set[str]:
    """Return the tensors that depend on an input."""
    dependent: set[str] = set()
    for operator in operators:
        inputs = {
            _tensor_name(operator.input_value(index)) for index in range(operator.get_input_size())
        }
        if operator.get_type_name() == "Parameter" or inputs & dependent:
            dependent.update(
                _tensor_name(operator.output(index)) for index in range(operator.get_output_size())
            )
    return dependent

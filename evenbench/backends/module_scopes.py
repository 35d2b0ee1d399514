"""Places of a traced graph's tensors in the module, from the scopes recorded by exporters.

A tensor leaving the scope of a module is an output of the module, whether the exporter wrote a
single operator, several, or folded a neighbour's weights. Between modules, a few functions are
landmarks: exporters keep each as a single operator.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

LANDMARKS: Mapping[str, str] = {
    "TopK": "topk",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "SoftMax": "softmax",
    "RoiAlign": "roi_align",
    "ROIAlign": "roi_align",
    "Resize": "interpolate",
    "Interpolate": "interpolate",
    "Exp": "exp",
    "NonZero": "nonzero",
}
"""ONNX and OpenVINO operators mapped to the equivalent PyTorch function. Detectors sort, select and
sample with these functions.
"""

FUNCTIONS = frozenset(LANDMARKS.values()) - {"nonzero"}
"""Landmarks with equal tensors in PyTorch itself. PyTorch transposes the indices of `nonzero`."""

WRAPPER = "inner"
"""The attribute name of the user's module inside the wrappers added before an export."""

CALL = re.compile(r"_\d+$")
"""The suffix for repeated calls of a module in scopes of PyTorch's older exporter. Some modules
have names of this form as well.
"""

AGAIN = re.compile(r"@\d+")
"""The suffix for repeated calls in scopes of PyTorch's newer exporter."""


@dataclass(frozen=True)
class Scope:
    """The call of a module that created an operator.

    `call` identifies the call as far as the graph permits; `module` is common to all calls of the
    module, and `parents` holds the enclosing modules. `names` holds the places of the call's
    outputs, the likeliest first.
    """

    call: str
    module: str
    parents: tuple[str, ...]
    names: tuple[str, ...]

    def holds(self, other: Scope) -> bool:
        """Whether an operator of `other` is inside this call, in the module or a submodule."""
        return other.call == self.call or self.module in other.parents


@dataclass(frozen=True)
class Node:
    """An operator of a graph with input names, output names and scope.

    Operators inserted by a conversion have no scope.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scope: Scope | None = None


def of_path(node: str, wrappers: int) -> Scope | None:
    """The scope in a node name by PyTorch's older exporter.

    In `/detector/rpn/head/conv/conv.0/conv.0.0_1/Conv` each step is a module by the attribute name
    in the parent, numbers included. The first `wrappers` modules are left out. None for a name
    without a scope, and for an operator of a wrapper.
    """
    if not node.startswith("/"):
        return None
    parts = node.split("/")[1:-1]
    if parts[:wrappers] != [WRAPPER] * wrappers:
        return None
    parts = _without_wrapper(parts[wrappers:]) if wrappers else parts
    module = [*parts[:-1], CALL.sub("", parts[-1])] if parts else []
    spellings = list(dict.fromkeys((tuple(parts), tuple(module))))
    names = (*map(path, spellings), *map(qualified, spellings))
    parents = tuple(path(parts[:depth]) for depth in range(len(parts)))
    return Scope(path(parts), path(module), parents, names)


def _without_wrapper(parts: list[str]) -> list[str]:
    """`0`, `0.1` from `inner.0`, `inner.0.1`: numeric module names are prefixed by the wrapper."""
    numbers = []
    for index, part in enumerate(parts):
        number = part.removeprefix(f"{WRAPPER}.")
        if number == part or not CALL.sub("", number).replace(".", "").isnumeric():
            return numbers + parts[index:]
        numbers.append(number)
    return numbers


def of_names(names: Sequence[str], wrappers: int) -> Scope | None:
    """The scope of a node by PyTorch's newer exporter.

    `names` holds the full names of the enclosing modules, outermost first.
    """
    calls = [call for name in names if (call := unwrapped(name, wrappers)) is not None]
    if not calls:
        return None
    modules = [AGAIN.sub("", call) for call in calls]
    return Scope(calls[-1], modules[-1], tuple(modules[:-1]), (modules[-1],))


def of_name(name: str) -> Scope:
    """The scope of an operator with only a known module name, such as `detector.rpn`."""
    parts = name.split(".") if name else []
    return Scope(name, name, tuple(".".join(parts[:depth]) for depth in range(len(parts))), (name,))


def unwrapped(name: str, wrappers: int) -> str | None:
    """The full name of a module without the wrappers; None for a wrapper."""
    inside = f"{name}."
    around = f"{WRAPPER}." * wrappers
    return inside.removeprefix(around).rstrip(".") if inside.startswith(around) else None


def path(parts: Sequence[str]) -> str:
    """The steps of a scope joined into a name, `/` for the outermost."""
    return "/" + "/".join(parts)


def step(name: str) -> str:
    """The step of a full module name in PyTorch's older exporter: `body.0` of `backbone.body.0`."""
    atoms = name.split(".")
    for index in reversed(range(len(atoms))):
        if not atoms[index].isnumeric():
            return ".".join(atoms[index:])
    return name


def qualified(parts: Sequence[str]) -> str:
    """The full name of a module from steps: `backbone.body.0` of `backbone`, `body`, `body.0`."""
    name = before = ""
    for part in parts:
        number = part.removeprefix(f"{before}.")
        known = before and part != number and number.replace(".", "").isnumeric()
        name = f"{name}.{number}" if known else f"{name}.{part}" if name else part
        before = part
    return name


def places(nodes: Iterable[Node], outputs: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The known places of a graph's tensors in the module, the likeliest place first.

    `outputs` holds the outputs of the graph. A tensor read only by operators without a scope counts
    as leaving the module, because such operators belong to no module.
    """
    nodes = list(nodes)
    readers: dict[str, list[Scope | None]] = defaultdict(list)
    for node in nodes:
        for name in node.inputs:
            readers[name].append(node.scope)
    places = {}
    for node in nodes:
        if node.scope is None:
            continue
        for value in node.outputs:
            if value in outputs or _leaves(node.scope, readers[value]):
                # Outputs of the whole model are known by their declared names.
                names = tuple(name for name in node.scope.names if name.strip("/"))
            elif node.operator in LANDMARKS:
                names = tuple(landmark(name, LANDMARKS[node.operator]) for name in node.scope.names)
            else:
                continue
            if names:
                places[value] = names
    return places


def landmark(place: str, function: str) -> str:
    """The place of the output of a function called by a module."""
    return f"{place}:{function}"


def _leaves(scope: Scope, readers: Sequence[Scope | None]) -> bool:
    known = [reader for reader in readers if reader is not None]
    return any(not scope.holds(reader) for reader in known) if known else bool(readers)

"""Where in a module the tensors of a traced graph are made, told from the scopes that exporters
write beside its operators.

What a module returns is what leaves its scope, whatever an exporter makes of it: one operator,
several, or one into which a neighbour's weights were folded. Between the modules a few functions
are landmarks, which exporters keep as one operator each.
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
"""Operators of ONNX and of OpenVINO that stand for one function of PyTorch, by its name: where a
detector orders, cuts and samples.
"""

FUNCTIONS = frozenset(LANDMARKS.values()) - {"nonzero"}
"""Those of them whose tensor is the same in PyTorch itself, which lays the indices of `nonzero` out
the other way round.
"""

WRAPPER = "inner"
"""The name of the module within those that we put around it before it is exported."""

CALL = re.compile(r"_\d+$")
"""What PyTorch's older exporter appends to the scope of a module that is called again; also how
some modules are named.
"""

AGAIN = re.compile(r"@\d+")
"""What its newer exporter appends."""


@dataclass(frozen=True)
class Scope:
    """The call of a module in which an operator was made.

    `call` tells it from every other call, as far as the graph does; `module` is common to all calls
    of the module, `parents` are those of the modules around it. `names` are the places of what it
    returns, the likeliest first.
    """

    call: str
    module: str
    parents: tuple[str, ...]
    names: tuple[str, ...]

    def holds(self, other: Scope) -> bool:
        """Whether an operator of `other` is within this call: made by the module itself or by a
        module in it.
        """
        return other.call == self.call or self.module in other.parents


@dataclass(frozen=True)
class Node:
    """An operator of a graph: what it reads and makes, by name, and where it was made, which is not
    known of what a conversion put in.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scope: Scope | None = None


def of_path(node: str, wrappers: int) -> Scope | None:
    """The scope that PyTorch's older exporter writes into a node's name, as
    `/detector/rpn/head/conv/conv.0/conv.0.0_1/Conv`.

    Each step is a module as its parent calls it, with numbers that belong to it. `wrappers` modules
    of ours are left out. None for a name without a scope, and for an operator of a wrapper.
    """
    if not node.startswith("/"):
        return None
    parts = node.split("/")[1:-1]
    if parts[:wrappers] != [WRAPPER] * wrappers:
        return None
    parts = _without_wrapper(parts[wrappers:]) if wrappers else parts
    once = [*parts[:-1], CALL.sub("", parts[-1])] if parts else []
    spelled = list(dict.fromkeys((tuple(parts), tuple(once))))
    names = (*map(path, spelled), *map(qualified, spelled))
    return Scope(
        path(parts), path(once), tuple(path(parts[:depth]) for depth in range(len(parts))), names
    )


def _without_wrapper(parts: list[str]) -> list[str]:
    """`0`, `0.1` of `inner.0`, `inner.0.1`: where modules have numbers only, a step begins with the
    wrapper's name for them.
    """
    made = []
    for index, part in enumerate(parts):
        number = part.removeprefix(f"{WRAPPER}.")
        if number == part or not CALL.sub("", number).replace(".", "").isnumeric():
            return made + parts[index:]
        made.append(number)
    return made


def of_names(names: Sequence[str], wrappers: int) -> Scope | None:
    """The scope that PyTorch's newer exporter writes beside a node: the modules around it by their
    full names, outermost first.
    """
    known = [name for each in names if (name := unwrapped(each, wrappers)) is not None]
    if not known:
        return None
    modules = [AGAIN.sub("", name) for name in known]
    return Scope(known[-1], modules[-1], tuple(modules[:-1]), (modules[-1],))


def of_name(name: str) -> Scope:
    """The scope of an operator of which only its module's full name is known, such as
    `detector.rpn`.
    """
    parts = name.split(".") if name else []
    return Scope(name, name, tuple(".".join(parts[:depth]) for depth in range(len(parts))), (name,))


def unwrapped(name: str, wrappers: int) -> str | None:
    """A module's full name without our wrappers around it; None for one of these."""
    inside = f"{name}."
    around = f"{WRAPPER}." * wrappers
    return inside.removeprefix(around).rstrip(".") if inside.startswith(around) else None


def path(parts: Sequence[str]) -> str:
    """The steps of a scope as one name, `/` for the outermost."""
    return "/" + "/".join(parts)


def step(name: str) -> str:
    """What PyTorch's older exporter calls a module of this full name: `body.0` of
    `backbone.body.0`.
    """
    atoms = name.split(".")
    for index in reversed(range(len(atoms))):
        if not atoms[index].isnumeric():
            return ".".join(atoms[index:])
    return name


def qualified(parts: Sequence[str]) -> str:
    """The full name of a module from the steps to it, as far as these tell: `backbone.body.0` of
    `backbone`, `body`, `body.0`.
    """
    name = before = ""
    for part in parts:
        number = part.removeprefix(f"{before}.")
        known = before and part != number and number.replace(".", "").isnumeric()
        name = f"{name}.{number}" if known else f"{name}.{part}" if name else part
        before = part
    return name


def places(nodes: Iterable[Node], outputs: Collection[str]) -> dict[str, tuple[str, ...]]:
    """For the tensors of a graph of which it is known: where in the module they are made, the
    likeliest place first.

    `outputs` are the graph's own. What only operators without a scope read counts as leaving, for
    these belong to no module.
    """
    nodes = list(nodes)
    readers: dict[str, list[Scope | None]] = defaultdict(list)
    for node in nodes:
        for name in node.inputs:
            readers[name].append(node.scope)
    found = {}
    for node in nodes:
        if node.scope is None:
            continue
        for value in node.outputs:
            if value in outputs or _leaves(node.scope, readers[value]):
                names = tuple(
                    name for name in node.scope.names if name.strip("/")
                )  # what the model returns has names of its own
            elif node.operator in LANDMARKS:
                names = tuple(landmark(name, LANDMARKS[node.operator]) for name in node.scope.names)
            else:
                continue
            if names:
                found[value] = names
    return found


def landmark(place: str, function: str) -> str:
    """The place of what a function makes that a module calls."""
    return f"{place}:{function}"


def _leaves(scope: Scope, readers: Sequence[Scope | None]) -> bool:
    known = [reader for reader in readers if reader is not None]
    return any(not scope.holds(reader) for reader in known) if known else bool(readers)

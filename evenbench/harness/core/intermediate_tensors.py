"""Tensors within a network, for layer-wise comparison."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Within:
    """A tensor within a network: name, operator or module, and the names of its input tensors.

    `fetched` names the tensor to read instead, if any: in a quantised graph, the dequantised
    tensor. `places` are the likely origins in the model's module, best first: a module's name for
    its return value, or `name:function` for a result of a function in `module_places.LANDMARKS`;
    empty if unknown. Places match tensors of an exported file with the module's tensors.
    `folded_into` names the tensor whose operator usually absorbs this operator on export, such as a
    convolution before a batch norm: the file then has one tensor for both.
    """

    name: str
    operator: str
    inputs: tuple[str, ...] = ()
    fetched: str = ""
    places: tuple[str, ...] = ()
    folded_into: str = ""


@dataclass(frozen=True)
class Exposed:
    """The result of `Backend.expose`: tensors in order of computation, and the meaning of names.

    Tensors of two cells are matched by name if `names` are equal, else by places in a common
    module. `unchanged` is true if watching does not alter the computation: the artifact for all
    tensors then serves any subset.
    """

    names: str
    tensors: tuple[Within, ...]
    unchanged: bool = False

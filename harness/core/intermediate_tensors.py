"""Tensors within a network, for layer-wise comparison."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Within:
    """A tensor within a network: its name, the operator or module that makes it, and the names of
    the tensors that it is made of.

    `fetched` is the tensor that has its value, where that is another one: a quantised graph hands
    on what went through int8. `places` say where in the model's module it is made, the likeliest
    first: a module's name for what the module returns, and `name:function` for what a function of
    `module_places.LANDMARKS` makes within it; empty where that is not known. Tensors of an exported
    file and of the module itself are matched by them. `folded_into` is the tensor that this one's
    operator is merged into by most exporters, as a batch norm is into the convolution before it:
    the file then has one tensor for both.
    """

    name: str
    operator: str
    inputs: tuple[str, ...] = ()
    fetched: str = ""
    places: tuple[str, ...] = ()
    folded_into: str = ""


@dataclass(frozen=True)
class Exposed:
    """What `Backend.expose` wrote: its tensors in the order in which they are computed, and in
    words what their names mean.

    Tensors of two cells may be compared by name where `names` are equal, and by their places in one
    module otherwise. `unchanged` says that looking at some tensors changes nothing: what was
    written for all serves for any of them.
    """

    names: str
    tensors: tuple[Within, ...]
    unchanged: bool = False

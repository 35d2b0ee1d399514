"""Matching of intermediate tensors between two networks, by their places in a common module.

Names differ between a module and an exported file, and between files of different exporters:
operators are split, merged and renamed. The return values of modules survive an export, and so do a
few functions between modules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Tensors = Mapping[str, Mapping[str, Any]]
"""The tensors of one side in order of computation, by name, with the fields of `backend.Within`."""


@dataclass(frozen=True)
class Placed:
    """A fetched tensor: its place, its kind of numbers (`f`loat, `i`nteger, `b`oolean), and its
    shape.
    """

    name: str
    place: str
    kind: str
    shape: tuple[int, ...]


def common(one: Tensors, other: Tensors) -> tuple[dict[str, str], dict[str, str]]:
    """For each side, the places of tensors that have a place on the other side too, by name.

    A file may have folded a batch norm into the convolution before. The single tensor of both then
    is the batch norm's, and the convolution's own output is in no tensor of the file.
    """
    one_places, other_places = _places(one), _places(other)
    return _with_place(one, other_places), _with_place(other, one_places)


def _places(tensors: Tensors) -> set[str]:
    return {place for tensor in tensors.values() for place in tensor["places"]}


def _with_place(tensors: Tensors, known: Collection[str]) -> dict[str, str]:
    places = {
        name: place
        for name, tensor in tensors.items()
        if (place := next((place for place in tensor["places"] if place in known), ""))
    }
    for name, tensor in tensors.items():
        if tensor["folded_into"] in places and name not in places:
            places[name] = places.pop(tensor["folded_into"])
    return {name: places[name] for name in tensors if name in places}


def paired(one: Sequence[Placed], other: Sequence[Placed]) -> list[tuple[str, str]]:
    """Pairs of corresponding tensors, in the order of the first side.

    A place has a tensor for every call and every output of the module. Tensors of one kind and
    shape are paired in order if both sides have equally many. Tensors with data-dependent sizes are
    paired in order if the numbers of axes are equal. Ambiguous tensors are left out.
    """
    groups, other_groups = _grouped(one), _grouped(other)
    links: dict[str, str] = {}
    for key, group in groups.items():
        links.update(_paired_group(group, other_groups.get(key, [])))
    return [(tensor.name, links[tensor.name]) for tensor in one if tensor.name in links]


def _grouped(tensors: Sequence[Placed]) -> dict[tuple[str, str], list[Placed]]:
    """The tensors by place and kind."""
    groups: dict[tuple[str, str], list[Placed]] = defaultdict(list)
    for tensor in tensors:
        groups[tensor.place, tensor.kind].append(tensor)
    return groups


def _paired_group(one: Sequence[Placed], other: Sequence[Placed]) -> dict[str, str]:
    equal_axes = [len(tensor.shape) for tensor in one] == [len(tensor.shape) for tensor in other]
    if equal_axes and sorted(tensor.shape for tensor in one) != sorted(
        tensor.shape for tensor in other
    ):
        return {a.name: b.name for a, b in zip(one, other, strict=True)}
    links: dict[str, str] = {}
    for shape in dict.fromkeys(tensor.shape for tensor in one):
        a, b = ([tensor.name for tensor in side if tensor.shape == shape] for side in (one, other))
        if len(a) == len(b):
            links.update(zip(a, b, strict=True))
    one = [tensor for tensor in one if tensor.name not in links]
    other = [tensor for tensor in other if tensor.name not in set(links.values())]
    for axes in {len(tensor.shape) for tensor in one}:
        a, b = (
            [tensor.name for tensor in side if len(tensor.shape) == axes] for side in (one, other)
        )
        if len(a) == len(b) == 1:
            links.update(zip(a, b, strict=True))
    return links


def nearest(tensors: Tensors, name: str, known: Collection[str]) -> tuple[str, ...]:
    """The nearest tensors among `known` on all paths from a tensor back to the inputs."""
    sources: dict[str, None] = {}
    seen: set[str] = set()
    ahead = list(tensors[name]["inputs"]) if name in tensors else []
    while ahead:
        source = ahead.pop()
        if source in seen:
            continue
        seen.add(source)
        if source in known:
            sources[source] = None
        elif source in tensors:
            ahead += tensors[source]["inputs"]
    return tuple(sorted(sources, key=list(tensors).index))


def left_out(
    sides: Sequence[Tensors], links: Sequence[tuple[str, str]], outputs: Collection[str] = ()
) -> dict[str, Any]:
    """The placed tensors without a partner.

    `folded` are tensors absent from a file, because a batch norm was folded into their operator;
    `unmatched` are the others, by side. The model's `outputs` are compared anyway.
    """
    matched = [{link[side] for link in links} for side in (0, 1)]
    folded = [_folded(side, known) for side, known in zip(sides, matched, strict=True)]
    unmatched = [
        tuple(
            name
            for name, tensor in side.items()
            if tensor["places"] and not {name, tensor["fetched"]} & {*known, *gone, *outputs}
        )
        for side, known, gone in zip(sides, matched, folded, strict=True)
    ]
    return {"folded": (*folded[0], *folded[1]), "unmatched": (unmatched[0], unmatched[1])}


def _folded(tensors: Tensors, matched: Collection[str]) -> list[str]:
    return [
        tensor["folded_into"]
        for name, tensor in tensors.items()
        if name in matched and tensor["folded_into"] not in ("", *matched)
    ]


def about(
    sides: Sequence[Tensors], links: Sequence[tuple[str, str]], outputs: Collection[str]
) -> dict[str, dict[str, Any]]:
    """The operator and inputs of every paired tensor, by the first side's names.

    Inputs come from both sides, because a side may lack the operators between its modules.
    `outputs` are the model's, by their common names.
    """
    shown = [{one: one for one, _ in links}, {other: one for one, other in links}]

    def sources(names: Sequence[str]) -> list[str]:
        inputs = [
            shown[side][source]
            for side in (0, 1)
            for source in nearest(sides[side], names[side], shown[side])
        ]
        return list(dict.fromkeys(inputs))

    described: dict[str, dict[str, Any]] = {
        name: {"operator": "output", "inputs": sources((name, name))} for name in outputs
    }
    for one, other in links:
        described[one] = {
            "operator": sides[0][one]["operator"],
            "inputs": [name for name in sources((one, other)) if name != one],
            "other": other if other != one else "",
        }
    return described

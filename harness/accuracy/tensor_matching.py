"""Which tensor of one network is which of another, told by the places in their common module where
both are made.

By name alone that cannot be told of a module and a file of it, nor of two files by different
exporters: operators are split, merged and named anew. What a module returns stays, and so do a few
functions between modules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Tensors = Mapping[str, Mapping[str, Any]]
"""The tensors of one side by name, each with the fields of `backend.Within`, in the order in which
they are computed.
"""


@dataclass(frozen=True)
class Placed:
    """A tensor that was fetched: its place, what kind of numbers it holds (`f`loating, `i`nteger,
    `b`oolean), and its shape.
    """

    name: str
    place: str
    kind: str
    shape: tuple[int, ...]


def common(one: Tensors, other: Tensors) -> tuple[dict[str, str], dict[str, str]]:
    """Of each side the tensors whose place the other one has too, with that place: a tensor may
    have several names for its place.

    Where a file has no place for a batch norm but one for the convolution that it is folded into,
    its one tensor there is what the batch norm returns, and what the convolution returned is in no
    tensor of it.
    """
    known = [{place for each in side.values() for place in each["places"]} for side in (one, other)]
    return _chosen(one, known[1]), _chosen(other, known[0])


def _chosen(tensors: Tensors, known: Collection[str]) -> dict[str, str]:
    found = {
        name: place
        for name, each in tensors.items()
        if (place := next((place for place in each["places"] if place in known), ""))
    }
    for name, each in tensors.items():
        if each["folded_into"] in found and name not in found:
            found[name] = found.pop(each["folded_into"])
    return {name: found[name] for name in tensors if name in found}


def paired(one: Sequence[Placed], other: Sequence[Placed]) -> list[tuple[str, str]]:
    """The tensors of both sides that are one another's, in the order of the first one.

    At a place there are as many as the module was called, or has answers. Those of one kind and
    shape are paired in their order where both sides have as many. Where sizes depend on the data,
    and so differ, order decides among as many of the same number of axes. What can still be told in
    no way is left out.
    """
    groups = [_grouped(side) for side in (one, other)]
    found: dict[str, str] = {}
    for key, mine in groups[0].items():
        found.update(_together(mine, groups[1].get(key, [])))
    return [(each.name, found[each.name]) for each in one if each.name in found]


def _grouped(tensors: Sequence[Placed]) -> dict[tuple[str, str], list[Placed]]:
    """By place and kind."""
    found: dict[tuple[str, str], list[Placed]] = defaultdict(list)
    for each in tensors:
        found[each.place, each.kind].append(each)
    return found


def _together(mine: Sequence[Placed], theirs: Sequence[Placed]) -> dict[str, str]:
    as_many = [len(each.shape) for each in mine] == [len(each.shape) for each in theirs]
    if as_many and sorted(each.shape for each in mine) != sorted(each.shape for each in theirs):
        return {one.name: other.name for one, other in zip(mine, theirs, strict=True)}
    found: dict[str, str] = {}
    for shape in dict.fromkeys(each.shape for each in mine):
        alike = [[each.name for each in side if each.shape == shape] for side in (mine, theirs)]
        if len(alike[0]) == len(alike[1]):
            found.update(zip(*alike, strict=True))
    rest = [
        [each for each in side if each.name not in done]
        for side, done in ((mine, found), (theirs, set(found.values())))
    ]
    for axes in {len(each.shape) for each in rest[0]}:
        alike = [[each.name for each in side if len(each.shape) == axes] for side in rest]
        if len(alike[0]) == len(alike[1]) == 1:
            found.update(zip(*alike, strict=True))
    return found


def nearest(tensors: Tensors, name: str, known: Collection[str]) -> tuple[str, ...]:
    """The tensors among `known` that a tensor is made of, with none of them between."""
    found: dict[str, None] = {}
    seen: set[str] = set()
    ahead = list(tensors[name]["inputs"]) if name in tensors else []
    while ahead:
        each = ahead.pop()
        if each in seen:
            continue
        seen.add(each)
        if each in known:
            found[each] = None
        elif each in tensors:
            ahead += tensors[each]["inputs"]
    return tuple(sorted(found, key=list(tensors).index))


def left_out(
    sides: Sequence[Tensors], links: Sequence[tuple[str, str]], outputs: Collection[str] = ()
) -> dict[str, Any]:
    """What has a place and is not paired: `folded`, what no file has because the batch norm behind
    it is folded into what made it, and the `unmatched` of both sides; the model's `outputs` are
    compared all the same."""
    matched = [{link[side] for link in links} for side in (0, 1)]
    gone = [_folded(side, known) for side, known in zip(sides, matched, strict=True)]
    left = [
        tuple(
            name
            for name in side
            if side[name]["places"]
            and not {name, side[name]["fetched"]} & {*known, *lost, *outputs}
        )
        for side, known, lost in zip(sides, matched, gone, strict=True)
    ]
    return {"folded": (*gone[0], *gone[1]), "unmatched": (left[0], left[1])}


def _folded(tensors: Tensors, matched: Collection[str]) -> list[str]:
    return [
        each["folded_into"]
        for name, each in tensors.items()
        if name in matched and each["folded_into"] not in ("", *matched)
    ]


def about(
    sides: Sequence[Tensors], links: Sequence[tuple[str, str]], outputs: Collection[str]
) -> dict[str, dict[str, Any]]:
    """What is to be told of tensors that are paired: by the first side's names, with what both
    sides make them of.

    A side may know no operators between its modules, so that the other one has to tell. `outputs`
    are the model's, by their common names.
    """
    shown = [{one: one for one, _ in links}, {other: one for one, other in links}]

    def sources(names: Sequence[str]) -> list[str]:
        found = [
            shown[side][each]
            for side in (0, 1)
            for each in nearest(sides[side], names[side], shown[side])
        ]
        return list(dict.fromkeys(found))

    told: dict[str, dict[str, Any]] = {
        name: {"operator": "output", "inputs": sources((name, name))} for name in outputs
    }
    for one, other in links:
        inputs = [name for name in sources((one, other)) if name != one]
        told[one] = {
            "operator": sides[0][one]["operator"],
            "inputs": inputs,
            "other": other if other != one else "",
        }
    return told

"""Tensors present in both cells of a layer-wise comparison, matched by name or by module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from evenbench.harness.accuracy import tensor_comparison, tensor_matching
from evenbench.harness.accuracy.tensor_capture import Watch
from evenbench.harness.accuracy.tensor_matching import Tensors
from evenbench.harness.comparison.layerwise_cells import CellPair
from evenbench.harness.core.errors import UsageError

Files = tuple[Mapping[str, Path], Mapping[str, Path]]
"""The .npy files of both sides, by the name of the fetched tensor."""


@dataclass(frozen=True)
class MatchedTensors:
    """The tensors present in both cells. `names` is in order of computation.

    `about` has the operator and inputs of each tensor, `fetched` each side's own name for a
    tensor, and `artifacts` the artifacts with fetchable tensors.
    """

    names: tuple[str, ...]
    about: Tensors
    fetched: tuple[Mapping[str, str], Mapping[str, str]]
    artifacts: tuple[Path, Path]
    by: str = "names"
    only_in_one: int = 0
    unmatched: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    folded: tuple[str, ...] = ()

    @property
    def unseen(self) -> str:
        """The label of a difference found in no matched tensor.

        `outputs` if all tensors were matched: only operator fusion explains the difference.
        `behind` otherwise: an unmatched tensor may explain the difference.
        """
        return "outputs" if self.by == "names" else "behind"

    def alone(self, name: str, artifacts: tuple[Path, Path]) -> MatchedTensors:
        """The match of a single tensor, in artifacts with the tensor fetchable."""
        fetched = ({name: self.fetched[0][name]}, {name: self.fetched[1][name]})
        return replace(self, names=(name,), fetched=fetched, artifacts=artifacts)


def by_name(sides: Sequence[Tensors], artifacts: Sequence[Path]) -> MatchedTensors:
    """Match tensors with equal names, for two cells with the same meaning of a name."""
    common = tuple(name for name in sides[0] if name in sides[1])
    fetched = [{name: str(side[name]["fetched"] or name) for name in common} for side in sides]
    return MatchedTensors(
        common,
        sides[0],
        (fetched[0], fetched[1]),
        (artifacts[0], artifacts[1]),
        only_in_one=sum(map(len, sides)) - 2 * len(common),
    )


@contextmanager
def by_place(
    pair: CellPair, batch: int, sides: Sequence[Tensors], meanings: tuple[str, str]
) -> Iterator[tuple[MatchedTensors, Files]]:
    """Match tensors by their place in the module and by their shapes on a batch.

    Yields the files of both sides too, valid until the block ends. Raises UsageError if neither
    side records places of tensors.
    """
    placed_names = tensor_matching.common(sides[0], sides[1])
    if not placed_names[0]:
        raise UsageError(_no_places(pair, meanings))
    names = [
        {name: str(sides[side][name]["fetched"] or name) for name in placed_names[side]}
        for side in (0, 1)
    ]
    artifacts = [pair.expose(side, batch, tuple(names[side].values()))[0] for side in (0, 1)]
    watches = [Watch(tuple(fetched.values()), (batch,)) for fetched in names]
    with (
        pair.fetched(0, artifacts[0], watches[0]) as one,
        pair.fetched(1, artifacts[1], watches[1]) as other,
    ):
        files = (one[batch], other[batch])
        placed = [
            [
                tensor_comparison.placed(name, placed_names[side][name], files[side][fetched])
                for name, fetched in names[side].items()
                if fetched in files[side]
            ]
            for side in (0, 1)
        ]
        links = tensor_matching.paired(placed[0], placed[1])
        yield _linked(pair, sides, links, names, (artifacts[0], artifacts[1])), files


def _linked(
    pair: CellPair,
    sides: Sequence[Tensors],
    links: Sequence[tuple[str, str]],
    names: Sequence[Mapping[str, str]],
    artifacts: tuple[Path, Path],
) -> MatchedTensors:
    outputs = [spec.name for spec in pair.first.model.outputs]
    fetched = [{link[0]: names[side][link[side]] for link in links} for side in (0, 1)]
    matched = MatchedTensors(
        tuple(one for one, _ in links),
        tensor_matching.about(sides, links, outputs),
        (fetched[0], fetched[1]),
        artifacts,
        "places",
    )
    return replace(matched, **tensor_matching.left_out(sides, links, outputs))


def _no_places(pair: CellPair, meanings: tuple[str, str]) -> str:
    return (
        f"cannot match the tensors of {pair.first.id} ({meanings[0]}) and {pair.second.id} "
        f"({meanings[1]}): their names have different meanings, and no tensor of both has a known "
        "place in the module. Compare two ONNX files by one exporter and opset, two cells that "
        "call the module, or a module and a file exported from it"
    )

"""The tensors of two cells side by side: fetched by a process of each, compared, and searched for
the first that parts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.accuracy import tensor_comparison, tensor_matching
from harness.accuracy.tensor_capture import EXPOSE, WATCH, Watch
from harness.accuracy.tensor_comparison import Row
from harness.core import registry
from harness.core.errors import UsageError
from harness.core.types import Cell
from harness.runner.job import Job
from harness.runner.preparation import Prepared, Preparer, Refusal


@dataclass(frozen=True)
class Parting:
    """What came of it. `rows` are in the order of computation, the model's outputs among them;
    `first` parts before all others.

    `seen` says how `first` was found: `alone` where it parts as well when nothing else is looked
    at, `together` where only then, `bisected` where the difference vanished as long as all tensors
    were looked at, `outputs` where only the answers can tell, `behind` where they part behind all
    tensors that could be matched. Tensors are matched `by` their names, or by their places in the
    module; `unmatched` are those of each side that have a place of their own, and `folded` the
    convolutions of the module that a file has no more.
    """

    cells: tuple[str, str]
    names: str
    batch: int
    outputs: tuple[Row, ...]
    rows: tuple[Row, ...]
    first: Row | None
    seen: str
    rule: Mapping[str, Any]
    only_in_one: int = 0
    by: str = "names"
    unmatched: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    folded: tuple[str, ...] = ()

    @property
    def beyond_order(self) -> Row | None:
        """The first tensor that parts in more than the order of its rows, which may be all that the
        first one differs in.
        """
        return next((row for row in self.rows if row.parts and not row.reordered), None)


def find(
    first: Cell,
    second: Cell,
    timeout_seconds: float = 600.0,
    tell: Callable[[str], None] = lambda text: None,
) -> Parting:
    """Where two cells part on the same inputs. Raises UsageError, in words, where they cannot be
    compared or run.
    """
    _check(first, second)
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(
            first,
            second,
            Preparer(timeout_seconds, lambda kind, text: tell(f"{kind}: {text}")),
            Path(folder),
        )
        return Search(pair, tell).run()


def of_file(cell: Cell) -> Cell:
    """The same cell run by the golden that reads files such as the cell's. Raises UsageError where
    there is none.
    """
    goldens = [
        name
        for name, row in registry.rows().items()
        if row.role == "golden" and registry.find(name).portable_artifact
    ]
    if not goldens or not registry.find(cell.backend).portable_artifact:
        raise UsageError(
            f"{cell.id} runs no file that a golden can read; name a second cell, or 'golden'"
        )
    return replace(cell, backend=goldens[0])


def _check(first: Cell, second: Cell) -> None:
    for name in ("inputs", "batch"):
        one, other = (
            cell.batch if name == "batch" else getattr(cell.model, name) for cell in (first, second)
        )
        if one != other:
            raise UsageError(
                f"{first.id} and {second.id} have different {name}; compare cells that can read the same bytes"
            )
    if first.model.fingerprint != second.model.fingerprint and not (
        first.model.file and second.model.file
    ):
        raise UsageError(
            f"{first.id} and {second.id} are different models, whose tensors have nothing to do with one another"
        )


@dataclass
class Pair:
    """Two cells, prepared, and what is fetched of them."""

    first: Cell
    second: Cell
    preparer: Preparer
    folder: Path

    def __post_init__(self) -> None:
        prepared = self._prepare(self.first)
        # A golden that is asked to run what the first cell runs gets its very artifact.
        judge = registry.row(self.second.backend).role == "golden" and self.second == replace(
            self.first, backend=self.second.backend
        )
        self.prepared = [prepared, prepared if judge else self._prepare(self.second)]
        self.inputs = self.prepared[0].inputs.path  # the same bytes for both
        self.runs = 0
        self.unchanged: dict[int, tuple[Path, Mapping[str, Any]]] = {}

    def _prepare(self, cell: Cell) -> Prepared:
        try:
            return self.preparer.prepare(cell)
        except Refusal as refusal:
            raise UsageError(f"{cell.id} cannot run here: {refusal.reply.reason}") from None

    def _work(self, job: Job) -> Mapping[str, Any]:
        reply = self.preparer.work(job)
        if reply.value is None:
            raise UsageError(f"{job.cell.id} cannot be looked into: {reply.reason}")
        return reply.value

    def expose(
        self, side: int, batch: int, only: tuple[str, ...] | None
    ) -> tuple[Path, Mapping[str, Any]]:
        """An artifact of one side whose tensors can be fetched, and what it says of them all where
        looking at one changes no other.
        """
        if side in self.unchanged:
            return self.unchanged[side]
        cell, into = (self.first, self.second)[side], self._new()
        folders = {"artifact": self.prepared[side].artifact.path, "inputs": self.inputs}
        told = self._work(
            Job(EXPOSE, cell, Watch(only, (batch,)), folder=str(into), folders=folders)
        )
        if told["unchanged"]:
            self.unchanged[side] = (into, told)
        return into, told

    @contextmanager
    def fetched(
        self, side: int, artifact: Path | None, watch: Watch
    ) -> Iterator[dict[int, dict[str, Path]]]:
        """The files of what one side computes, by batch and name, until the block is left."""
        cell, out = (self.first, self.second)[side], self._new()
        folders = {
            "artifact": str(artifact or self.prepared[side].artifact.path),
            "inputs": self.inputs,
        }
        told = self._work(Job(WATCH, cell, watch, folder=str(out), folders=folders))["names"]
        try:
            yield {
                int(at): {name: out / f"{at}-{number}.npy" for number, name in enumerate(names)}
                for at, names in told.items()
            }
        finally:
            for file in out.iterdir():
                file.unlink()

    def _new(self) -> Path:
        self.runs += 1
        made = self.folder / str(self.runs)
        made.mkdir()
        return made


@dataclass(frozen=True)
class Matched:
    """The tensors that both cells have: `names` in the order of computation, what is `about` them,
    and by which name each side hands them out of its artifact, in which they can be fetched."""

    names: tuple[str, ...]
    about: tensor_matching.Tensors
    fetched: tuple[Mapping[str, str], Mapping[str, str]]
    artifacts: tuple[Path, Path]
    by: str = "names"
    only_in_one: int = 0
    unmatched: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    folded: tuple[str, ...] = ()

    @property
    def unseen(self) -> str:
        """How a difference is told that is in none of them: only where all tensors were matched it
        must come of a fusion.
        """
        return "outputs" if self.by == "names" else "behind"


class Search:
    """From the answers to the first tensor that parts."""

    def __init__(self, pair: Pair, tell: Callable[[str], None]) -> None:
        from harness.accuracy import parity

        self.pair, self.tell = pair, tell
        cells = (pair.first, pair.second)
        tolerances = [parity.tolerance_for(cell.precision, cell.model.tolerance) for cell in cells]
        looser = max((0, 1), key=lambda side: (tolerances[side].atol, side == 0))
        self.tolerance = tolerances[looser]
        self.right = 0 if looser == 1 else 1
        """The side that the other one is measured against: the exacter one, or the second of two
        equals.
        """
        told = {"rtol": self.tolerance.rtol, "atol": self.tolerance.atol}
        self.rule = {"precision": cells[looser].precision, **told, "against": cells[self.right].id}

    def run(self) -> Parting:
        """Answers first, over all batches; then every tensor of the batch that differs most; then
        the first that parts, alone.
        """
        pair = self.pair
        self.tell("the answers of both on every input")
        with pair.fetched(0, None, Watch()) as one, pair.fetched(1, None, Watch()) as other:
            answers = {at: self._rows(one[at], other[at], {}, {}) for at in one}
        batch = max(answers, key=lambda at: max((row.needed for row in answers[at]), default=0.0))
        outputs = tuple(answers[batch])
        exposed = [pair.expose(side, batch, None) for side in (0, 1)]
        names, other_names = (str(told["names"]) for _, told in exposed)
        sides = [{str(each["name"]): each for each in told["tensors"]} for _, told in exposed]
        if names == other_names:
            matched = self._by_name(sides, [path for path, _ in exposed])
            found = self._compared(batch, matched)
        else:
            matched, found = self._by_place(batch, sides, (names, other_names))
        first, seen = self._first(batch, found, matched, outputs)
        meaning = names if matched.by == "names" else "places in the module"
        told = {
            name: getattr(matched, name) for name in ("only_in_one", "by", "unmatched", "folded")
        }
        return Parting(
            (pair.first.id, pair.second.id),
            meaning,
            batch,
            outputs,
            tuple(found),
            first,
            seen,
            self.rule,
            **told,
        )

    def _by_name(
        self, sides: Sequence[tensor_matching.Tensors], artifacts: Sequence[Path]
    ) -> Matched:
        common = tuple(name for name in sides[0] if name in sides[1])
        fetched = [{name: str(side[name]["fetched"] or name) for name in common} for side in sides]
        missing = sum(map(len, sides)) - 2 * len(common)
        self._tell_of(common)
        return Matched(
            common,
            sides[0],
            (fetched[0], fetched[1]),
            (artifacts[0], artifacts[1]),
            only_in_one=missing,
        )

    def _by_place(
        self, batch: int, sides: Sequence[tensor_matching.Tensors], meanings: tuple[str, str]
    ) -> tuple[Matched, list[Row]]:
        """Both sides' tensors, matched by where in the module they are made and by the shapes that
        they have on this batch; compared.
        """
        pair = self.pair
        chosen = tensor_matching.common(sides[0], sides[1])
        if not chosen[0]:
            raise UsageError(
                f"{pair.first.id} has {meanings[0]}, {pair.second.id} {meanings[1]}: one name does not stand for one tensor in both, and "
                "no tensor of both is known to be made at one place of the module. Compare two cells that run ONNX files of one exporter "
                "and opset, two that call the module itself, or one of each whose file was exported from it"
            )
        names = [
            {name: str(sides[side][name]["fetched"] or name) for name in chosen[side]}
            for side in (0, 1)
        ]
        artifacts = [pair.expose(side, batch, tuple(names[side].values()))[0] for side in (0, 1)]
        watches = [Watch(tuple(each.values()), (batch,)) for each in names]
        with (
            pair.fetched(0, artifacts[0], watches[0]) as one,
            pair.fetched(1, artifacts[1], watches[1]) as other,
        ):
            files = (one[batch], other[batch])
            placed = [
                [
                    tensor_comparison.placed(name, chosen[side][name], files[side][fetched])
                    for name, fetched in names[side].items()
                    if fetched in files[side]
                ]
                for side in (0, 1)
            ]
            links = tensor_matching.paired(placed[0], placed[1])
            self._tell_of(links)
            fetched = [{link[0]: names[side][link[side]] for link in links} for side in (0, 1)]
            outputs = [spec.name for spec in pair.first.model.outputs]
            about = tensor_matching.about(sides, links, outputs)
            whole = Matched(
                tuple(one for one, _ in links),
                about,
                (fetched[0], fetched[1]),
                (artifacts[0], artifacts[1]),
                "places",
            )
            matched = replace(whole, **tensor_matching.left_out(sides, links, outputs))
            return matched, self._judged(files, matched)

    def _tell_of(self, common: Sequence[Any]) -> None:
        """Say how many tensors both have. Raises UsageError where that is none."""
        if not common:
            first, second = self.pair.first.id, self.pair.second.id
            raise UsageError(
                f"{first} and {second} have no tensor in common: their answers can be compared, and no more"
            )
        self.tell(f"{len(common)} tensors of both")

    def _first(
        self, batch: int, found: Sequence[Row], matched: Matched, outputs: Sequence[Row]
    ) -> tuple[Row | None, str]:
        """The first tensor that parts, of those that were looked at together, and how sure that is."""
        first = next((row for row in found if row.parts), None)
        if first is None:
            return (
                self._bisect(batch, matched, outputs)
                if any(row.parts for row in outputs)
                else (None, "")
            )
        if first.name not in matched.names:
            return first, matched.unseen
        self.tell(f"{first.name} alone")
        alone = self._alone(batch, first.name, matched)
        return first, "alone" if alone and alone.parts else "together"

    def _compared(self, batch: int, matched: Matched) -> list[Row]:
        watches = [
            Watch(tuple(known[name] for name in matched.names), (batch,))
            for known in matched.fetched
        ]
        artifacts = matched.artifacts
        with (
            self.pair.fetched(0, artifacts[0], watches[0]) as one,
            self.pair.fetched(1, artifacts[1], watches[1]) as other,
        ):
            return self._judged((one[batch], other[batch]), matched)

    def _judged(
        self, files: tuple[Mapping[str, Path], Mapping[str, Path]], matched: Matched
    ) -> list[Row]:
        order = {name: index for index, name in enumerate(matched.names)}
        return self._rows(
            self._named(0, files[0], matched),
            self._named(1, files[1], matched),
            order,
            matched.about,
        )

    def _named(self, side: int, files: Mapping[str, Path], matched: Matched) -> dict[str, Path]:
        """The files by the names that both sides know their tensors by, the model's outputs among
        them.
        """
        told = {
            name: files[fetched]
            for name, fetched in matched.fetched[side].items()
            if fetched in files
        }
        declared = {spec.name for spec in (self.pair.first, self.pair.second)[side].model.outputs}
        return {name: file for name, file in files.items() if name in declared} | told

    def _alone(self, batch: int, name: str, matched: Matched) -> Row | None:
        """One tensor, where nothing else within is looked at: what was fused around it stays fused."""
        artifacts = [
            self.pair.expose(side, batch, (matched.fetched[side][name],))[0] for side in (0, 1)
        ]
        fetched = [{name: known[name]} for known in matched.fetched]
        alone = replace(
            matched,
            names=(name,),
            fetched=(fetched[0], fetched[1]),
            artifacts=(artifacts[0], artifacts[1]),
        )
        return next((row for row in self._compared(batch, alone) if row.name == name), None)

    def _bisect(
        self, batch: int, matched: Matched, outputs: Sequence[Row]
    ) -> tuple[Row | None, str]:
        """The first tensor that parts when it is looked at alone, by halves; the answers themselves
        where no tensor does.
        """
        within = [name for name in matched.names if name not in {row.name for row in outputs}]
        low, high, found = 0, len(within), next(row for row in outputs if row.parts)
        while low < high:
            middle = (low + high) // 2
            self.tell(f"{within[middle]} alone")
            row = self._alone(batch, within[middle], matched)
            if row and row.parts:
                found, high = row, middle
            else:
                low = middle + 1
        return found, "bisected" if found.name in within else matched.unseen

    def _rows(
        self,
        one: Mapping[str, Path],
        other: Mapping[str, Path],
        order: Mapping[str, int],
        about: tensor_matching.Tensors,
    ) -> list[Row]:
        """A row for every tensor that both have, in the order of computation; what has no place in
        it comes last.
        """
        found: dict[str, Row] = {}
        for name in sorted(
            (name for name in one if name in other), key=lambda name: order.get(name, len(order))
        ):
            told = about.get(name, {"operator": "output", "inputs": ()})
            files = (one[name], other[name])
            worst = max(
                (found[each].needed for each in told["inputs"] if each in found), default=0.0
            )
            found[name] = tensor_comparison.compare(
                name, told, (files[1 - self.right], files[self.right]), worst, self.tolerance
            )
        return list(found.values())

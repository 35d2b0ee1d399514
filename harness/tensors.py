"""The tensors of two cells side by side: fetched by a process of each, compared, and searched for the first that parts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import registry
from harness.preparation import Prepared, Preparer, Refusal
from harness.types import Cell, UsageError
from harness.watching import EXPOSE, WATCH, Watch
from harness.worker import Job

EXACT_BYTES = 4
"""Whole numbers of so many bytes are indices, sizes and labels, which are equal or not; narrower ones are quantised values."""


@dataclass(frozen=True)
class Row:
    """One tensor of both cells: how far they are apart, in units of what is allowed (1 is the limit), and the worst of its inputs."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    needed: float
    max_abs: float
    scale: float
    inputs_needed: float
    note: str = ""
    decided: bool = False
    """Whether it holds indices, sizes, labels or truths, which are equal or not."""

    @property
    def parts(self) -> bool:
        """Whether it is off by more than is allowed."""
        return self.needed > 1


@dataclass(frozen=True)
class Parting:
    """What came of it. `rows` are in the order of computation, the model's outputs among them; `first` parts before all others.

    `seen` says how `first` was found: `alone` where it parts as well when nothing else is looked at, `together` where only then,
    `bisected` where the difference vanished as long as all tensors were looked at, `outputs` where only the answers can tell.
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


def find(first: Cell, second: Cell, timeout_seconds: float = 600.0, tell: Callable[[str], None] = lambda text: None) -> Parting:
    """Where two cells part on the same inputs. Raises UsageError, in words, where they cannot be compared or run."""
    _check(first, second)
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(first, second, Preparer(timeout_seconds, lambda kind, text: tell(f"{kind}: {text}")), Path(folder))
        return Search(pair, tell).run()


def of_file(cell: Cell) -> Cell:
    """The same cell run by the golden that reads files such as the cell's. Raises UsageError where there is none."""
    goldens = [name for name, row in registry.rows().items() if row.role == "golden" and registry.find(name).portable_artifact]
    if not goldens or not registry.find(cell.backend).portable_artifact:
        raise UsageError(f"{cell.id} runs no file that a golden can read; name a second cell, or 'golden'")
    return replace(cell, backend=goldens[0])


def _check(first: Cell, second: Cell) -> None:
    for name in ("inputs", "batch"):
        one, other = (cell.batch if name == "batch" else getattr(cell.model, name) for cell in (first, second))
        if one != other:
            raise UsageError(f"{first.id} and {second.id} have different {name}; compare cells that can read the same bytes")
    if first.model.fingerprint != second.model.fingerprint and not (first.model.file and second.model.file):
        raise UsageError(f"{first.id} and {second.id} are different models, whose tensors have nothing to do with one another")


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
        judge = registry.row(self.second.backend).role == "golden" and self.second == replace(self.first, backend=self.second.backend)
        self.prepared = [prepared, prepared if judge else self._prepare(self.second)]
        self.inputs = self.prepared[0].inputs.path  # the same bytes for both
        self.runs = 0

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

    def expose(self, side: int, batch: int, only: tuple[str, ...] | None) -> tuple[Path, Mapping[str, Any]]:
        """An artifact of one side whose tensors can be fetched, and what it says of them."""
        cell, into = (self.first, self.second)[side], self._new()
        folders = {"artifact": self.prepared[side].artifact.path, "inputs": self.inputs}
        return into, self._work(Job(EXPOSE, cell, folder=str(into), folders=folders, watch=Watch(only, (batch,))))

    @contextmanager
    def fetched(self, side: int, artifact: Path | None, watch: Watch) -> Iterator[dict[int, dict[str, Path]]]:
        """The files of what one side computes, by batch and name, until the block is left."""
        cell, out = (self.first, self.second)[side], self._new()
        folders = {"artifact": str(artifact or self.prepared[side].artifact.path), "inputs": self.inputs}
        told = self._work(Job(WATCH, cell, folder=str(out), folders=folders, watch=watch))["names"]
        try:
            yield {int(at): {name: out / f"{at}-{number}.npy" for number, name in enumerate(names)} for at, names in told.items()}
        finally:
            for file in out.iterdir():
                file.unlink()

    def _new(self) -> Path:
        self.runs += 1
        made = self.folder / str(self.runs)
        made.mkdir()
        return made


class Search:
    """From the answers to the first tensor that parts."""

    def __init__(self, pair: Pair, tell: Callable[[str], None]) -> None:
        from harness import parity

        self.pair, self.tell = pair, tell
        self.fetched: list[dict[str, str]] = [{}, {}]
        cells = (pair.first, pair.second)
        tolerances = [parity.tolerance_for(cell.precision, cell.model.tolerance) for cell in cells]
        looser = max((0, 1), key=lambda side: (tolerances[side].atol, side == 0))
        self.tolerance = tolerances[looser]
        self.right = 0 if looser == 1 else 1
        """The side that the other one is measured against: the exacter one, or the second of two equals."""
        told = {"rtol": self.tolerance.rtol, "atol": self.tolerance.atol}
        self.rule = {"precision": cells[looser].precision, **told, "against": cells[self.right].id}

    def run(self) -> Parting:
        """Answers first, over all batches; then every tensor of the batch that differs most; then the first that parts, alone."""
        pair = self.pair
        self.tell("the answers of both on every input")
        with pair.fetched(0, None, Watch()) as one, pair.fetched(1, None, Watch()) as other:
            answers = {at: self._rows(one[at], other[at], {}, {}) for at in one}
        batch = max(answers, key=lambda at: max((row.needed for row in answers[at]), default=0.0))
        outputs = tuple(answers[batch])
        exposed = [pair.expose(side, batch, None) for side in (0, 1)]
        names, other_names = (str(told["names"]) for _, told in exposed)
        if names != other_names:
            raise UsageError(
                f"{pair.first.id} has {names}, {pair.second.id} {other_names}: one name does not stand for one tensor in both. Compare two "
                "cells that run ONNX files of one exporter and opset, or two that call the module itself"
            )
        made, there = ({str(each["name"]): each for each in told["tensors"]} for _, told in exposed)
        self.fetched = [{name: str(each["fetched"] or name) for name, each in side.items()} for side in (made, there)]
        common = [name for name in made if name in there]
        if not common:
            raise UsageError(f"{pair.first.id} and {pair.second.id} have no tensor in common: their answers can be compared, and no more")
        self.tell(f"{len(common)} tensors of both on input {batch}")
        rows = self._compared([path for path, _ in exposed], batch, common, made)
        first = next((row for row in rows if row.parts), None)
        seen = ""
        if first and first.name not in self.fetched[0]:
            seen = "outputs"
        elif first:
            self.tell(f"{first.name} alone")
            alone = self._alone(batch, first.name, made)
            seen = "alone" if alone and alone.parts else "together"
        elif any(row.parts for row in outputs):
            first, seen = self._bisect(batch, common, made, outputs)
        missing = len(made) + len(there) - 2 * len(common)
        return Parting((pair.first.id, pair.second.id), names, batch, outputs, tuple(rows), first, seen, self.rule, missing)

    def _compared(self, artifacts: Sequence[Path], batch: int, names: Sequence[str], made: Mapping[str, Any]) -> list[Row]:
        watches = [Watch(tuple(known[name] for name in names), (batch,)) for known in self.fetched]
        with self.pair.fetched(0, artifacts[0], watches[0]) as one, self.pair.fetched(1, artifacts[1], watches[1]) as other:
            order = {name: index for index, name in enumerate(names)}
            return self._rows(self._named(0, one[batch]), self._named(1, other[batch]), order, made)

    def _named(self, side: int, files: Mapping[str, Path]) -> dict[str, Path]:
        """The files by the names that both sides know their tensors by, the model's outputs among them."""
        told = {name: files[fetched] for name, fetched in self.fetched[side].items() if fetched in files}
        hidden = {fetched for name, fetched in self.fetched[side].items() if fetched != name}
        return told | {name: file for name, file in files.items() if name not in self.fetched[side] and name not in hidden}

    def _alone(self, batch: int, name: str, made: Mapping[str, Any]) -> Row | None:
        """One tensor, where nothing else within is looked at: what was fused around it stays fused."""
        artifacts = [self.pair.expose(side, batch, (self.fetched[side][name],))[0] for side in (0, 1)]
        rows = self._compared(artifacts, batch, [name], made)
        return next((row for row in rows if row.name == name), None)

    def _bisect(self, batch: int, names: Sequence[str], made: Mapping[str, Any], outputs: Sequence[Row]) -> tuple[Row | None, str]:
        """The first tensor that parts when it is looked at alone, by halves; the answers themselves where no tensor does."""
        within = [name for name in names if name not in {row.name for row in outputs}]
        low, high, found = 0, len(within), next(row for row in outputs if row.parts)
        while low < high:
            middle = (low + high) // 2
            self.tell(f"{within[middle]} alone")
            row = self._alone(batch, within[middle], made)
            if row and row.parts:
                found, high = row, middle
            else:
                low = middle + 1
        return found, "bisected" if found.name in within else "outputs"

    def _rows(
        self, one: Mapping[str, Path], other: Mapping[str, Path], order: Mapping[str, int], made: Mapping[str, Any]
    ) -> list[Row]:
        """A row for every tensor that both have, in the order of computation; what has no place in it comes last."""
        rows: dict[str, Row] = {}
        for name in sorted((name for name in one if name in other), key=lambda name: order.get(name, len(order))):
            about = made.get(name, {"operator": "output", "inputs": ()})
            files = (one[name], other[name])
            worst = max((rows[each].needed for each in about["inputs"] if each in rows), default=0.0)
            rows[name] = self._row(name, about, (files[1 - self.right], files[self.right]), worst)
        return list(rows.values())

    def _row(self, name: str, about: Mapping[str, Any], files: tuple[Path, Path], inputs_needed: float) -> Row:
        import numpy as np

        from harness import parity

        tried, wanted = (np.load(file) for file in files)
        about_it = {"operator": str(about["operator"]), "inputs": tuple(about["inputs"]), "inputs_needed": inputs_needed}
        facts: dict[str, Any] = {"name": name, **about_it}
        if tried.shape != wanted.shape:
            note = f"{list(tried.shape)} against {list(wanted.shape)}"
            return Row(**facts, shape=tried.shape, needed=parity.INCOMPARABLE, max_abs=parity.INCOMPARABLE, scale=0.0, note=note)
        if not tried.size:
            return Row(**facts, shape=tried.shape, needed=0.0, max_abs=0.0, scale=0.0)
        if tried.dtype.kind not in "fiu" or (tried.dtype.kind in "iu" and tried.dtype.itemsize >= EXACT_BYTES):
            wrong = int(np.count_nonzero(tried != wanted))
            note = f"{wrong} of {tried.size} differ" if wrong else ""
            needed = parity.INCOMPARABLE if wrong else 0.0
            return Row(**facts, shape=tried.shape, needed=needed, max_abs=float(wrong > 0), scale=0.0, note=note, decided=True)
        tried, wanted = (value.astype(np.float64) for value in (tried, wanted))
        same = ~np.isfinite(tried) & ((tried == wanted) | (np.isnan(tried) & np.isnan(wanted)))  # masks of attention, such as -inf
        tried, wanted = np.where(same, 0.0, tried), np.where(same, 0.0, wanted)
        if not np.all(np.isfinite(wanted)):
            return Row(**facts, shape=tried.shape, needed=parity.INCOMPARABLE, max_abs=parity.INCOMPARABLE, scale=0.0, note="not finite")
        error = parity.measure(name, tried, wanted, None, self.tolerance, False)
        note = "not finite" if error.nonfinite else ""
        return Row(**facts, shape=tried.shape, needed=error.needed_elementwise, max_abs=error.max_abs, scale=error.scale, note=note)

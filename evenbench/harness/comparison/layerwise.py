"""Layer-wise comparison of two cells: fetches tensors, and finds the first divergent tensor."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evenbench.harness.accuracy import tensor_comparison
from evenbench.harness.accuracy.tensor_capture import Watch
from evenbench.harness.accuracy.tensor_comparison import Row
from evenbench.harness.accuracy.tensor_matching import Tensors
from evenbench.harness.comparison import layerwise_tensors
from evenbench.harness.comparison.layerwise_cells import CellPair
from evenbench.harness.comparison.layerwise_tensors import Files, MatchedTensors
from evenbench.harness.core import quantities, registry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Cell
from evenbench.harness.runner.preparation import Preparer


@dataclass(frozen=True)
class LayerwiseComparison:
    """The compared tensors of two cells, and the first divergent tensor, if any.

    `rows` is in order of computation and includes the model's outputs. `seen` tells the evidence
    for `first`:

    - `alone`: diverges even when no other tensor is fetched;
    - `together`: diverges only when all tensors are fetched;
    - `bisected`: found by fetching single tensors, because fetching all hides the difference;
    - `outputs`: no inner tensor diverges, only an output;
    - `behind`: the divergence lies behind all matched tensors.

    Tensors are matched `by` names or by places in the module. `unmatched` lists the tensors of
    each side with a place but no partner, `folded` the module's convolutions missing from a file.
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
        """The first tensor with a difference beyond the order of its rows."""
        return next((row for row in self.rows if row.parts and not row.reordered), None)


def find(
    first: Cell,
    second: Cell,
    timeout_seconds: float = 600.0,
    report: Callable[[str], None] = lambda text: None,
) -> LayerwiseComparison:
    """Find the first tensor at which two cells diverge on the same inputs.

    `report` receives progress messages. Raises UsageError if the cells cannot be compared or run.
    """
    _check(first, second)
    preparer = Preparer(timeout_seconds, lambda kind, text: report(f"{kind}: {text}"))
    with tempfile.TemporaryDirectory() as folder:
        return DivergenceSearch(CellPair(first, second, preparer, Path(folder)), report).run()


def golden_of_file(cell: Cell) -> Cell:
    """The same cell on the golden backend for the cell's file. Raises UsageError if none exists."""
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
    names = f"{first.id} and {second.id}"
    for name, same in (
        ("inputs", first.model.inputs == second.model.inputs),
        ("batch", first.batch == second.batch),
    ):
        if not same:
            raise UsageError(f"{names} have different {name}; compare cells with equal inputs")
    files = first.model.file and second.model.file
    if first.model.fingerprint != second.model.fingerprint and not files:
        raise UsageError(
            f"{names} are different models; compare two cells of one model, or two files"
        )


class DivergenceSearch:
    """Searches two cells for the first divergent tensor, beginning with the outputs."""

    def __init__(self, pair: CellPair, report: Callable[[str], None]) -> None:
        from evenbench.harness.accuracy.tolerances import tolerance_for  # imports numpy

        self.pair, self.report = pair, report
        cells = (pair.first, pair.second)
        tolerances = [tolerance_for(cell.precision, cell.model.tolerance) for cell in cells]
        looser = max((0, 1), key=lambda side: (tolerances[side].atol, side == 0))
        self.tolerance = tolerances[looser]
        self.reference = 0 if looser == 1 else 1
        """The side with the tighter tolerance, or the second of two equals."""
        self.rule = {
            "precision": cells[looser].precision,
            "rtol": self.tolerance.rtol,
            "atol": self.tolerance.atol,
            "against": cells[self.reference].id,
        }

    def run(self) -> LayerwiseComparison:
        """Compare all outputs, then every tensor of the worst batch, then the first alone."""
        pair = self.pair
        batch, outputs = self._worst_batch()
        exposed = [pair.expose(side, batch, None) for side in (0, 1)]
        meanings = [str(description["names"]) for _, description in exposed]
        sides = [
            {str(tensor["name"]): tensor for tensor in description["tensors"]}
            for _, description in exposed
        ]
        if meanings[0] == meanings[1]:
            matched = layerwise_tensors.by_name(sides, [path for path, _ in exposed])
            self._report_matched(matched)
            rows = self._compare(batch, matched)
        else:
            places = layerwise_tensors.by_place(pair, batch, sides, (meanings[0], meanings[1]))
            with places as (matched, files):
                self._report_matched(matched)
                rows = self._rows_of(files, matched)
        first, seen = self._first(batch, rows, matched, outputs)
        return LayerwiseComparison(
            (pair.first.id, pair.second.id),
            meanings[0] if matched.by == "names" else "places in the module",
            batch,
            outputs,
            tuple(rows),
            first,
            seen,
            self.rule,
            matched.only_in_one,
            matched.by,
            matched.unmatched,
            matched.folded,
        )

    def _worst_batch(self) -> tuple[int, tuple[Row, ...]]:
        """The batch with the largest difference of outputs, and a row per output."""
        self.report("comparing the outputs on every input")
        with (
            self.pair.fetched(0, None, Watch()) as one,
            self.pair.fetched(1, None, Watch()) as other,
        ):
            outputs = {batch: self._rows(one[batch], other[batch], {}, {}) for batch in one}
        worst = max(outputs, key=lambda at: max((row.needed for row in outputs[at]), default=0.0))
        return worst, tuple(outputs[worst])

    def _report_matched(self, matched: MatchedTensors) -> None:
        if not matched.names:
            raise UsageError(
                f"{self.pair.first.id} and {self.pair.second.id} have no tensor in common; "
                "only their outputs can be compared"
            )
        self.report(f"{quantities.count(len(matched.names), 'tensor')} of both")

    def _first(
        self, batch: int, rows: Sequence[Row], matched: MatchedTensors, outputs: Sequence[Row]
    ) -> tuple[Row | None, str]:
        """The first divergent tensor, and the evidence; see `LayerwiseComparison.seen`."""
        first = next((row for row in rows if row.parts), None)
        if first is None:
            return (
                self._bisect(batch, matched, outputs)
                if any(row.parts for row in outputs)
                else (None, "")
            )
        if first.name not in matched.names:
            return first, matched.unseen
        alone = self._alone(batch, first.name, matched)
        return first, "alone" if alone and alone.parts else "together"

    def _alone(self, batch: int, name: str, matched: MatchedTensors) -> Row | None:
        """Compare one tensor without fetching others, so operators around it stay fused."""
        self.report(f"{name} alone")
        one, other = (
            self.pair.expose(side, batch, (matched.fetched[side][name],))[0] for side in (0, 1)
        )
        rows = self._compare(batch, matched.alone(name, (one, other)))
        return next((row for row in rows if row.name == name), None)

    def _bisect(
        self, batch: int, matched: MatchedTensors, outputs: Sequence[Row]
    ) -> tuple[Row | None, str]:
        """Binary search for the first tensor that diverges alone; an output if none does."""
        within = [name for name in matched.names if name not in {row.name for row in outputs}]
        low, high, first = 0, len(within), next(row for row in outputs if row.parts)
        while low < high:
            middle = (low + high) // 2
            row = self._alone(batch, within[middle], matched)
            if row and row.parts:
                first, high = row, middle
            else:
                low = middle + 1
        return first, "bisected" if first.name in within else matched.unseen

    def _compare(self, batch: int, matched: MatchedTensors) -> list[Row]:
        """Fetch the matched tensors of both sides and compare each."""
        watches = [
            Watch(tuple(own[name] for name in matched.names), (batch,)) for own in matched.fetched
        ]
        artifacts = matched.artifacts
        with (
            self.pair.fetched(0, artifacts[0], watches[0]) as one,
            self.pair.fetched(1, artifacts[1], watches[1]) as other,
        ):
            return self._rows_of((one[batch], other[batch]), matched)

    def _rows_of(self, files: Files, matched: MatchedTensors) -> list[Row]:
        order = {name: index for index, name in enumerate(matched.names)}
        one, other = (self._by_shared_name(side, files[side], matched) for side in (0, 1))
        return self._rows(one, other, order, matched.about)

    def _by_shared_name(
        self, side: int, files: Mapping[str, Path], matched: MatchedTensors
    ) -> dict[str, Path]:
        """Files keyed by the names shared by both sides, including the model's outputs."""
        outputs = {spec.name for spec in (self.pair.first, self.pair.second)[side].model.outputs}
        return {name: file for name, file in files.items() if name in outputs} | {
            name: files[fetched]
            for name, fetched in matched.fetched[side].items()
            if fetched in files
        }

    def _rows(
        self,
        one: Mapping[str, Path],
        other: Mapping[str, Path],
        order: Mapping[str, int],
        about: Tensors,
    ) -> list[Row]:
        """One row per tensor of both, in order of computation; tensors outside `order` last."""
        rows: dict[str, Row] = {}
        common = [name for name in one if name in other]
        for name in sorted(common, key=lambda name: order.get(name, len(order))):
            facts = about.get(name, {"operator": "output", "inputs": ()})
            files = (one[name], other[name])
            pair_of_files = (files[1 - self.reference], files[self.reference])
            worst = max((rows[at].needed for at in facts["inputs"] if at in rows), default=0.0)
            rows[name] = tensor_comparison.compare(
                name, facts, pair_of_files, worst, self.tolerance
            )
        return list(rows.values())

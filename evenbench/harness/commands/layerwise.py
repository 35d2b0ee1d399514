"""`evenbench layerwise`: the first diverging tensor of two cells on the same input bytes."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness import __version__
from evenbench.harness.accuracy.tensor_comparison import Row
from evenbench.harness.collection import selection, selection_flags
from evenbench.harness.collection.selection_flags import ALL_DECLARED, Selection
from evenbench.harness.commands import arguments
from evenbench.harness.commands import console as terminal
from evenbench.harness.commands.parser import Parser
from evenbench.harness.comparison import layerwise
from evenbench.harness.comparison.layerwise import LayerwiseComparison
from evenbench.harness.comparison.layerwise_summary import sentences
from evenbench.harness.core import exit_codes, registry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Cell
from evenbench.harness.environment import measurement_lock
from evenbench.harness.results import records
from evenbench.harness.runner import launcher

if TYPE_CHECKING:
    from rich.console import Console

AGREE, PART = exit_codes.PASS, exit_codes.WORSE

FOLDER = "diff"
"""The folder in the results folder; readers of outcomes skip this name."""

GOLDEN = "golden"
"""Second cell: the golden of the first cell."""

FILE = "file"
"""Second cell: the first cell's own file in the reference evaluator of the format."""

SHOWN = 12
"""Rows of the table around the first diverging tensor; `--all` shows every row."""

EPILOG = f"""\
Examples:
  evenbench layerwise resnet18-ort-fp32-cpu-b1 resnet18-openvino-fp32-cpu-b1
  evenbench layerwise resnet18-ort-int8-static-cpu-b1 {GOLDEN}
  evenbench layerwise resnet18-openvino-fp32-cpu-b1 {FILE}
`{GOLDEN}` is the reference that judges the first cell; `{FILE}` is the first
cell's own file, run in float64 by the reference evaluator of its format.
Docs: docs/how-to/look-into-a-model.md
"""

EXIT_CODES = {
    AGREE: "all tensors and outputs agree within the tolerance",
    PART: "the cells diverge; the first tensor is named",
}


@dataclass(frozen=True)
class LayerwiseOptions:
    """The options of `evenbench layerwise`."""

    first: str
    second: str
    selection: Selection = ALL_DECLARED
    all: bool = False
    timeout: float = 600.0
    results: str = ""
    json: bool = False


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    command.add_argument("first", metavar="CELL", help="id or key of a cell")
    command.add_argument("second", metavar="CELL", help=f"another cell, {GOLDEN} or {FILE}")
    selection_flags.add_arguments(command, filters=False)
    command.add_argument(
        "--all", action="store_true", help="show all tensors, not only those near the first"
    )
    arguments.add_timeout(command)
    command.add_argument(
        "--results", metavar="DIR", help="results folder for a record [default: no record]"
    )
    arguments.add_json_flag(command)


def run(options: LayerwiseOptions) -> int:
    """Search the first diverging tensor and return the exit code."""
    launcher.interrupt_when_ended()
    first, second = _cells(options)
    # The folder is made before the search, which takes minutes.
    folder = (
        records.folder(records.folder(Path(options.results)) / FOLDER) if options.results else None
    )
    console = terminal.console(stderr=True)
    with measurement_lock.alone():
        result = layerwise.find(
            first,
            second,
            options.timeout,
            lambda text: console.print(text, soft_wrap=True, markup=False),
        )
    if folder:
        records.append(
            folder / f"{records.timestamp().replace(':', '-')}-{secrets.token_hex(2)}.jsonl",
            record(first, second, result),
        )
    if options.json:
        print(json.dumps(as_json(result)))
    else:
        show(result, terminal.console(), options.all)
    return PART if diverges(result) else AGREE


def _cells(options: LayerwiseOptions) -> tuple[Cell, Cell]:
    """Return both cells. Raises UsageError for an unknown cell, and for twice the same."""
    names = [options.first] + ([options.second] if options.second not in (GOLDEN, FILE) else [])
    chosen = replace(options.selection, cell=tuple(names))
    cells = [entry.cell for entry in selection.select(chosen, options.timeout)]
    first, *others = (next(cell for cell in cells if name in (cell.id, cell.key)) for name in names)
    if options.second == GOLDEN:
        others = [registry.golden_cell(first, registry.golden_for(first).name)]
    if options.second == FILE:
        others = [layerwise.golden_of_file(first)]
    if first.key == others[0].key:
        raise UsageError(f"{first.id} is compared with itself; name two cells")
    return first, others[0]


def diverges(result: LayerwiseComparison) -> bool:
    """Return whether any tensor or output differs by more than the tolerance."""
    return result.first is not None or any(row.parts for row in result.outputs)


# -- output ----------------------------------------------------------------------------------------


def record(first: Cell, second: Cell, result: LayerwiseComparison) -> dict[str, Any]:
    """Return the recorded line: the two cells, the sentences, and the value of `--json`."""
    return {
        "diff": records.DIFF.newest,
        "evenbench": __version__,
        "time": records.timestamp(),
        "cell": first.described(),
        "second": second.described(),
        "outcome": "parts" if diverges(result) else "agrees",
        "words": sentences(result),
        "found": as_json(result),
    }


def as_json(result: LayerwiseComparison) -> dict[str, Any]:
    """Return the result as plain JSON."""
    facts = ("names", "batch", "seen", "rule", "only_in_one", "by")
    return {
        "cells": list(result.cells),
        **{name: getattr(result, name) for name in facts},
        "unmatched": dict(zip(result.cells, map(list, result.unmatched), strict=True)),
        "folded": list(result.folded),
        "first": result.first and _row(result.first),
        "beyond_order": result.beyond_order and _row(result.beyond_order),
        "outputs": [_row(row) for row in result.outputs],
        "tensors": [_row(row) for row in result.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        **vars(row),
        "inputs": list(row.inputs),
        "shape": list(row.shape),
        "parts": row.parts,
    }


def show(result: LayerwiseComparison, console: Console, everything: bool = False) -> None:
    """Print the table of tensors with a mark at the first divergence, and the sentences."""
    from rich.table import Table

    start, end = (0, len(result.rows)) if everything else _window(result)
    table = Table(box=None, header_style="bold")
    for heading in ("", "tensor", "operator", "shape", "needed", "its inputs", "max |error|", ""):
        table.add_column(heading, overflow="fold")
    for row in result.rows[start:end]:
        is_first = result.first and row.name == result.first.name
        mark = "->" if is_first else "x" if row.parts else ""
        size = "x".join(map(str, row.shape)) or "1"
        numbers = (f"{row.needed:.3g}", f"{row.inputs_needed:.3g}", f"{row.max_abs:.2g}")
        table.add_row(mark, row.name, row.operator, size, *numbers, row.note)
    console.print(table)
    hidden = len(result.rows) - len(result.rows[start:end])
    if hidden:
        console.print(f"{hidden} more tensors: --all shows them", markup=False)
    for sentence in sentences(result):
        console.print(sentence, soft_wrap=True, markup=False)


def _window(result: LayerwiseComparison) -> tuple[int, int]:
    """Return the range of rows around the first diverging tensor, or the worst."""
    worst = max(range(len(result.rows)), key=lambda index: result.rows[index].needed)
    first = result.first.name if result.first else ""
    at = next((index for index, row in enumerate(result.rows) if first == row.name), worst)
    start = max(0, at - SHOWN // 2)
    return start, start + SHOWN

"""`evenbench diff`: the first tensor at which two cells part, of all that lie between the same
input bytes and their answers.
"""

from __future__ import annotations

import argparse
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import __version__
from harness.accuracy.tensor_comparison import Row
from harness.collection import selection
from harness.commands import console as terminal
from harness.comparison import layerwise
from harness.comparison.layerwise import LayerwiseComparison
from harness.core import registry
from harness.core.errors import UsageError
from harness.core.types import Cell
from harness.environment import measurement_lock
from harness.results import records
from harness.runner import launcher

if TYPE_CHECKING:
    from rich.console import Console

AGREE, PART = 0, 1

FOLDER = "diff"
"""Within the results folder, where readers of outcomes do not look."""

GOLDEN = "golden"
"""In the place of the second cell: what judges the first one."""

FILE = "file"
"""In the place of the second cell: the very file that the first one runs, by the golden that reads
such files.
"""

FEW = 3
"""Tensors that are named in a sentence; the JSON has all."""

SHOWN = 12
"""Rows of the table around the first tensor that parts; `--all` shows every one."""

EPILOG = """\
  evenbench diff model-ort-fp32-cpu-b1 model-openvino-fp32-cpu-b1 model.onnx
  evenbench diff resnet18-ort-int8-static-cpu-b1 resnet18-ort-fp32-cpu-b1 benchmarks/matrix.py --json
  evenbench diff resnet18-torch-eager-bf16-cpu-b1 golden benchmarks/matrix.py
  evenbench diff resnet18-openvino-fp32-cpu-b1 file benchmarks/matrix.py
  evenbench diff resnet18-torch-eager-fp32-cpu-b1 resnet18-ort-fp32-cpu-b1 benchmarks/matrix.py
`golden` is what judges the first cell; `file` is the file that it runs, in float64 by the reference evaluator of its format.
both cells read the same bytes: those of the batch whose answers differ most. Two cells that run ONNX files of one exporter are compared
tensor by tensor; two that call a PyTorch module, module by module. A module and a file of it, or two files by different exporters, are
compared at the places that both are known to share: what a module returns, and a few functions between modules. What could not be matched
is counted and named. The rule is that of parity, elementwise, at the looser precision of the two.

exit codes:
  0  nothing parts: all tensors and answers agree within the tolerance
  1  they part: the first tensor is named, with its operator and its inputs
  4  these two cells cannot be compared, or one of them cannot run: the line says why
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    command.add_argument(
        "first", metavar="CELL", help="a cell's id or key, as `evenbench list` shows it"
    )
    command.add_argument(
        "second", metavar="CELL", help=f"another one, or {GOLDEN!r} or {FILE!r}, as explained below"
    )
    selection.add_arguments(command)
    command.add_argument(
        "--all",
        action="store_true",
        help="show every tensor, not only those around the first that parts (or the worst)",
    )
    command.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="of one process (600)"
    )
    command.add_argument(
        "--results",
        metavar="DIR",
        help=f"keep what is found in its folder {FOLDER}, where `evenbench report` reads it",
    )
    command.add_argument(
        "--json", action="store_true", help="one JSON value on standard output instead of text"
    )


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    launcher.interrupt_when_ended()
    first, second = _cells(options)
    # Made before the search, which takes minutes.
    folder = (
        records.folder(records.folder(Path(options.results)) / FOLDER) if options.results else None
    )
    console = terminal.console(stderr=True)
    with measurement_lock.alone():
        found = layerwise.find(
            first,
            second,
            options.timeout,
            lambda text: console.print(text, soft_wrap=True, markup=False),
        )
    if folder:
        records.append(
            folder / f"{records.timestamp().replace(':', '-')}-{secrets.token_hex(2)}.jsonl",
            line(first, second, found),
        )
    if options.json:
        print(json.dumps(as_json(found)))
    else:
        show(found, terminal.console(), options.all)
    return PART if parts(found) else AGREE


def parts(found: LayerwiseComparison) -> bool:
    """Whether any tensor or any answer differs by more than is allowed."""
    return found.first is not None or any(row.parts for row in found.outputs)


def line(first: Cell, second: Cell, found: LayerwiseComparison) -> dict[str, Any]:
    """What is kept of a search: the two cells, what came of it in words, and everything that
    `--json` prints.
    """
    made = {"diff": records.DIFF.newest, "evenbench": __version__, "time": records.timestamp()}
    outcome = "parts" if parts(found) else "agrees"
    cells = {"cell": first.described(), "second": second.described()}
    return {**made, **cells, "outcome": outcome, "words": in_words(found), "found": as_json(found)}


def _cells(options: argparse.Namespace) -> tuple[Cell, Cell]:
    """Both cells. Raises UsageError where one is not there, or they are the same."""
    if options.cell or options.expression:
        raise UsageError("diff takes its two cells as arguments; leave --cell and -k out")
    named = [options.first] + ([options.second] if options.second not in (GOLDEN, FILE) else [])
    chosen = argparse.Namespace(**{**vars(options), "cell": named})
    cells = [entry.cell for entry in selection.select(chosen)]
    found = [next(cell for cell in cells if name in (cell.id, cell.key)) for name in named]
    if options.second == GOLDEN:
        found.append(registry.golden_cell(found[0], registry.golden_for(found[0]).name))
    if options.second == FILE:
        found.append(layerwise.golden_of_file(found[0]))
    if found[0].key == found[1].key:
        raise UsageError(f"{found[0].id} is compared with itself; name two cells")
    return found[0], found[1]


def as_json(found: LayerwiseComparison) -> dict[str, Any]:
    """Everything that was found, as plain JSON."""

    def row(each: Row) -> dict[str, Any]:
        return {
            **vars(each),
            "inputs": list(each.inputs),
            "shape": list(each.shape),
            "parts": each.parts,
        }

    listed = {
        "outputs": [row(each) for each in found.outputs],
        "tensors": [row(each) for each in found.rows],
    }
    first, beyond = (row(each) if each else None for each in (found.first, found.beyond_order))
    told = {
        name: getattr(found, name)
        for name in ("names", "batch", "seen", "rule", "only_in_one", "by")
    }
    told |= {
        "unmatched": dict(zip(found.cells, map(list, found.unmatched), strict=True)),
        "folded": list(found.folded),
    }
    return {"cells": list(found.cells), **told, "first": first, "beyond_order": beyond, **listed}


def show(found: LayerwiseComparison, console: Console, everything: bool = False) -> None:
    """The tensors as a table, the first that parts marked, and what that means in words."""
    from rich.table import Table

    worst = max(range(len(found.rows)), key=lambda index: found.rows[index].needed)
    at = next(
        (
            index
            for index, row in enumerate(found.rows)
            if found.first and row.name == found.first.name
        ),
        worst,
    )
    start = 0 if everything else max(0, at - SHOWN // 2)
    end = len(found.rows) if everything else start + SHOWN
    table = Table(box=None, header_style="bold")
    for heading in ("", "tensor", "operator", "shape", "needed", "its inputs", "max |error|", ""):
        table.add_column(heading, overflow="fold")
    for row in found.rows[start:end]:
        mark = "->" if found.first and row.name == found.first.name else "x" if row.parts else ""
        size = "x".join(map(str, row.shape)) or "1"
        numbers = (f"{row.needed:.3g}", f"{row.inputs_needed:.3g}", f"{row.max_abs:.2g}")
        table.add_row(mark, row.name, row.operator, size, *numbers, row.note)
    console.print(table)
    hidden = len(found.rows) - len(found.rows[start:end])
    if hidden:
        console.print(f"{hidden} more tensors: --all shows them", markup=False)
    for line in in_words(found):
        console.print(line, soft_wrap=True, markup=False)


def in_words(found: LayerwiseComparison) -> list[str]:
    """What was found, in sentences."""
    rule = found.rule
    lines = [
        f"needed is the error in units of what {rule['precision']} allows (rtol {rule['rtol']:g}, atol {rule['atol']:g} of the scale), "
        f"against {rule['against']}; input {found.batch}",
    ]
    lines += _not_compared(found)
    if found.first is None:
        return [
            *lines,
            f"nothing parts: {len(found.rows)} tensors and {len(found.outputs)} outputs agree",
        ]
    first = found.first
    lines.append(f"the first tensor that parts is {_told(first, found.cells[1])}")
    lines.append(SEEN[found.seen])
    if (
        (first.decided or first.reordered or first.resized)
        and first.inputs_needed <= 1
        and first.inputs
    ):
        lines.append(
            "its inputs agree: values that are nearly equal were ordered, cut or rounded in another way"
        )
    beyond = found.beyond_order
    if first.reordered and beyond:
        lines.append(
            f"the first that parts in more than its order is {_told(beyond, found.cells[1])}"
        )
    resized = [row for row in found.rows if row.resized]
    if resized:
        many = f"in {len(resized)} tensors" if len(resized) > 1 else "in this tensor"
        lines.append(
            f"sizes differ from {resized[0].name} on ({resized[0].note}), {many}: how many rows are kept depends on the data"
        )
    if not any(row.parts for row in found.outputs):
        lines.append("the answers agree all the same")
    return lines


def _told(row: Row, second: str) -> str:
    """A tensor that parts: its names, what made it of what, and by how much."""
    made_of = f" of {_few(row.inputs)}" if row.inputs else ""
    other = f" ({row.other} in {second})" if row.other else ""
    much = "" if row.resized or row.decided else f"{row.needed:.3g} times what is allowed"
    how = f"{much} ({row.note})" if much and row.note else much or row.note
    return f"{row.name}{other}, made by {row.operator}{made_of}: {how}"


def _not_compared(found: LayerwiseComparison) -> list[str]:
    """How the tensors of both were matched, and what was left out, in sentences."""
    if found.by == "names":
        return (
            [f"{found.only_in_one} tensors are in one of the two only, and were not compared"]
            if found.only_in_one
            else []
        )
    matched = sum(row.operator != "output" for row in found.rows)
    lines = [
        f"{matched} tensors were matched by their places in the module, their order and their shapes"
    ]
    if found.folded:
        lines.append(
            f"{len(found.folded)} of the module are in no file, because the batch norm behind is folded into them: {_few(found.folded)}"
        )
    for cell, names in zip(found.cells, found.unmatched, strict=True):
        if names:
            lines.append(
                f"{len(names)} of {cell} have a place too and could not be matched: {_few(names)}"
            )
    return lines


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW} more (--json names all)" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


SEEN = {
    "alone": "it parts as well when no other tensor is looked at",
    "together": "when no other tensor is looked at, it does not part: looking keeps a runtime from fusing operators, and that changed it",
    "bisected": "it was found by looking at one tensor at a time: the difference vanishes while all are looked at: it comes of a fusion",
    "behind": "all tensors before it that could be matched agree: the difference is made behind them",
    "outputs": "no tensor within parts, whether looked at together or alone: the difference is made on the way to this output, by a fusion",
}
"""How sure the first tensor is, in words."""

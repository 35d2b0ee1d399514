"""`evenbench selftest`: negative controls must come out as mismatch, fallback or impossible."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evenbench.harness.collection import matrix, selection, selection_flags
from evenbench.harness.collection.selection_flags import ALL_DECLARED, Selection
from evenbench.harness.commands import arguments
from evenbench.harness.commands import console as terminal
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes, registry
from evenbench.harness.core.cases import Case, Entry
from evenbench.harness.core.measurements import IMPOSSIBLE
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.types import Model
from evenbench.harness.results.records import Record
from evenbench.harness.runner.schedule import Event, Run

if TYPE_CHECKING:
    from rich.console import Console

EPILOG = """\
Examples:
  evenbench selftest
  evenbench selftest model.onnx
Docs: docs/how-to/dataset-accuracy.md
"""

EXIT_CODES = {
    exit_codes.PASS: "every wrong runtime is caught",
    exit_codes.WORSE: "a wrong runtime slipped through or did not run",
}

LAPS = 16
"""Laps of each boundary: with those of warm-up, more steps than the control needs that turns wrong
late.
"""

SLIPPED, FAILED = "slipped through", "did not run"
CAUGHT = ("mismatch", "fallback")
NOT_APPLICABLE = ("unsupported", "unavailable")


@dataclass(frozen=True)
class SelftestOptions:
    """The options of `evenbench selftest`."""

    selection: Selection = ALL_DECLARED
    json: bool = False


@dataclass(frozen=True)
class Control:
    """A negative control's result.

    The verdict is `caught`, `slipped through`, `did not run` or `does not apply`.
    """

    model: str
    backend: str
    verdict: str
    reason: str
    record: Record


def names() -> tuple[str, ...]:
    """Return the registered negative controls."""
    return tuple(row.name for row in registry.rows().values() if row.role == "negative")


def run_controls(
    models: Sequence[Model],
    results: Path,
    batch: int = 1,
    listen: Callable[[Event], None] = lambda event: None,
    controls: Sequence[str] = (),
) -> list[Control]:
    """Run every control, or `controls`, on every model, with a short plan.

    Verdicts need no precise times.
    """
    backends = tuple(controls) or names()
    cells = matrix.expand(Case(models=tuple(models), backends=backends, batch=(batch,)))
    entries = [Entry(cell, "negative controls", "evenbench selftest") for cell in cells]
    plan = replace(PLANS["quick"], min_seconds=0.0, warmup_max_seconds=0.2, min_samples=LAPS)
    session = Run(entries, plan, results, fresh=True, listen=listen)
    records = session.measure(entries)
    session.finish()
    return [control(record) for record in records]


def control(record: Record) -> Control:
    """Return the control's result for an outcome."""
    outcome = record["outcome"]
    verdict = (
        "caught"
        if outcome in CAUGHT or record["reason"].startswith(IMPOSSIBLE)
        else "does not apply"
        if outcome in NOT_APPLICABLE
        else SLIPPED
        if outcome == "ok"
        else FAILED
    )
    return Control(
        record["cell"]["model"],
        record["cell"]["backend"],
        verdict,
        f"{outcome}: {record['reason']}",
        record,
    )


def show(controls: Sequence[Control], console: Console) -> None:
    """Print a row per control, and the number of catches."""
    from rich.table import Table
    from rich.text import Text

    table = Table("model", "control", "verdict", "reason", box=None, pad_edge=False)
    styles = {"caught": "green", SLIPPED: "bold red", FAILED: "red"}
    for row in controls:
        table.add_row(
            Text(row.model),
            Text(row.backend),
            Text(row.verdict, styles.get(row.verdict, "dim")),
            Text(row.reason),
        )
    console.print(table)
    applied = [row for row in controls if row.verdict != "does not apply"]
    caught = sum(row.verdict == "caught" for row in applied)
    console.print(f"{caught} of {len(applied)} wrong runtimes caught")


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    selection_flags.add_arguments(command)
    arguments.add_json_flag(command)


def run(options: SelftestOptions) -> int:
    """Run every negative control on every model of the targets; return the exit code."""
    entries = selection.select(options.selection)
    models = list({entry.cell.model.name: entry.cell.model for entry in entries}.values())
    with tempfile.TemporaryDirectory() as folder:
        controls = run_controls(models, Path(folder))
    if options.json:
        keys = ("model", "backend", "verdict", "reason")
        print(json.dumps([{key: getattr(row, key) for key in keys} for row in controls]))
    else:
        show(controls, terminal.console())
    wrong = any(row.verdict in (SLIPPED, FAILED) for row in controls)
    return exit_codes.WORSE if wrong else exit_codes.PASS

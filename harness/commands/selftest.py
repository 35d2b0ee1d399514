"""Does the gate bite? Every model through every negative control, each of which must come out as
mismatch or fallback.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.collection import matrix, selection
from harness.commands import console as terminal
from harness.commands.arguments import add_json_flag
from harness.core import registry
from harness.core.cases import Case, Entry
from harness.core.plans import PLANS
from harness.core.types import Model
from harness.results.records import Record
from harness.runner.schedule import Event, Run

if TYPE_CHECKING:
    from rich.console import Console


SLIPPED, FAILED = "slipped through", "did not run"
CAUGHT = ("mismatch", "fallback")
NOT_APPLICABLE = ("unsupported", "unavailable")


@dataclass(frozen=True)
class Control:
    """One negative control's result: `caught`, `slipped through`, `did not run`, or `does not
    apply`, and why.
    """

    model: str
    backend: str
    verdict: str
    reason: str
    record: Record


def names() -> tuple[str, ...]:
    """The registered negative controls."""
    return tuple(row.name for row in registry.rows().values() if row.role == "negative")


def run_controls(
    models: Sequence[Model],
    results: Path,
    batch: int = 1,
    listen: Callable[[Event], None] = lambda event: None,
) -> list[Control]:
    """Run every control on every model, quickly: the verdict needs no precise times."""
    cells = matrix.expand(Case(models=tuple(models), backends=names(), batch=(batch,)))
    entries = [Entry(cell, "negative controls", "evenbench controls") for cell in cells]
    plan = replace(PLANS["quick"], min_seconds=0.0, warmup_max_seconds=0.2)
    session = Run(entries, plan, results, fresh=True, listen=listen)
    records = session.measure(entries)
    session.finish()
    return [control(record) for record in records]


def control(record: Record) -> Control:
    """What an outcome says about the control."""
    outcome = record["outcome"]
    verdict = (
        "caught"
        if outcome in CAUGHT
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


def show(found: Sequence[Control], console: Console) -> None:
    """One row per control, and the count of those that slipped through."""
    from rich.table import Table
    from rich.text import Text

    table = Table("model", "control", "verdict", "what the gate said", box=None, pad_edge=False)
    styles = {"caught": "green", SLIPPED: "bold red", FAILED: "red"}
    for each in found:
        table.add_row(
            Text(each.model),
            Text(each.backend),
            Text(each.verdict, styles.get(each.verdict, "dim")),
            Text(each.reason),
        )
    console.print(table)
    applied = [each for each in found if each.verdict != "does not apply"]
    caught = sum(each.verdict == "caught" for each in applied)
    console.print(f"{caught} of {len(applied)} wrong answers caught")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of `evenbench selftest`."""
    selection.add_arguments(command)
    add_json_flag(command)


def run(options: argparse.Namespace) -> int:
    """Every negative control on every model that the targets name."""
    models = list(
        {entry.cell.model.name: entry.cell.model for entry in selection.select(options)}.values()
    )
    with tempfile.TemporaryDirectory() as folder:
        found = run_controls(models, Path(folder))
    if options.json:
        keys = ("model", "backend", "verdict", "reason")
        print(json.dumps([{key: getattr(each, key) for key in keys} for each in found]))
    else:
        show(found, terminal.console())
    return 1 if any(each.verdict in (SLIPPED, FAILED) for each in found) else 0

"""`evenbench cost`: size, start-up time, running needs and price of each recorded cell."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.commands import arguments
from evenbench.harness.commands import console as terminal
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes
from evenbench.harness.core.quantities import price
from evenbench.harness.deployment import installed_size
from evenbench.harness.results import records

if TYPE_CHECKING:
    from rich.console import Console

    from evenbench.reports.model_scope import Scope
    from evenbench.reports.result_groups import Result
    from evenbench.reports.sections.resources import Needs

EPILOG = """\
Examples:
  evenbench cost --model resnet18
  evenbench cost --model resnet18 --price-per-hour 0.20 --json
Recorded results are read; nothing is measured.
Docs: docs/how-to/choose-under-limits.md
"""

EXIT_CODES = {exit_codes.PASS: "printed"}


@dataclass(frozen=True)
class CostOptions:
    """The options of `evenbench cost`."""

    model: str
    paths: tuple[str, ...] = ()
    results: str = "results"
    price_per_hour: str = ""
    device: str = ""
    batch: int = 0
    shape: str = ""
    json: bool = False


@dataclass(frozen=True)
class CellCost:
    """A cell's needs, and the runtime's installed size, or the reason for None."""

    needs: Needs
    installed_bytes: int | None
    installed_reason: str


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    arguments.add_results_paths(command)
    command.add_argument("--model", required=True, metavar="M", help="name of the model [required]")
    command.add_argument(
        "--price-per-hour",
        metavar="PRICE",
        help="price of the machine, as 0.20 [default: none]",
    )
    arguments.add_recorded_filters(command)
    arguments.add_json_flag(command)


def run(options: CostOptions) -> int:
    """Print the costs of a model's cells. Raises UsageError for an invalid price, and for a model
    without records.
    """
    from evenbench.reports import model_scope
    from evenbench.reports.sections import resources

    paths = options.paths or (options.results,)
    hourly = price(options.price_per_hour) if options.price_per_hour else None
    reading = records.read([Path(path) for path in paths])
    with model_scope.malformed_lines_named(paths):
        scope = model_scope.scope(
            reading.lines, paths, options.model, options.device, options.batch, options.shape
        )
        needs = (resources.Needs(result) for result in scope.members if result.ranks)
        costs = with_installed(needs, installed_size.installed_or_unknown)
        others = [result for result in scope.members if not result.ranks and not result.is_control]
        value = as_json(options.model, scope, costs, others, hourly)
    scope = replace(scope, notes=(*reading.notes, *scope.notes, *notes(costs, hourly)))
    if options.json:
        print(json.dumps({**value, "notes": list(scope.notes)}))
    else:
        _show(options.model, scope, costs, others, hourly, terminal.console())
    return exit_codes.PASS


# -- installed sizes -------------------------------------------------------------------------------


def with_installed(
    members: Iterable[Needs], installed_of: Callable[[str], installed_size.Installed]
) -> list[CellCost]:
    """Return the cells with their installed sizes, by latency; each backend is looked up once."""
    known: dict[str, installed_size.Installed] = {}
    costs = []
    for needs in members:
        backend = str(needs.result.cell.get("backend", ""))
        if backend not in known:
            known[backend] = installed_of(backend)
        here = known[backend]
        environment = needs.result.record.get("environment") or {}
        measured = installed_size.recorded_version(environment, here.distribution)
        reason = here.reason
        if here.bytes is not None and measured != here.version:
            reason = (
                f"measured with {here.distribution} {measured or 'of an unrecorded version'}, "
                f"and {here.version} is installed here"
            )
        costs.append(CellCost(needs, None if reason else here.bytes, reason))
    return sorted(costs, key=lambda cost: cost.needs.inference_seconds or math.inf)


# -- output ----------------------------------------------------------------------------------------


def as_json(
    model: str,
    scope: Scope,
    costs: Sequence[CellCost],
    others: Sequence[Result],
    hourly: float | None,
) -> dict[str, Any]:
    """Return the JSON value without notes."""
    from evenbench.reports.sections import resources

    cells = [
        {
            **resources.plain(cost.needs, hourly),
            "installed_bytes": cost.installed_bytes,
            "installed_reason": cost.installed_reason,
        }
        for cost in costs
    ]
    return {
        "model": model,
        **scope.place,
        "price_per_hour": hourly,
        "cells": cells,
        "not_measured": [
            {"id": result.cell.get("id"), "outcome": result.outcome, "reason": _reason(result)}
            for result in others
        ],
    }


def notes(costs: Sequence[CellCost], hourly: float | None) -> list[str]:
    """Return the reasons for missing values with their cells, and the meaning of a cost."""
    from evenbench.reports.sections import resources

    missing: dict[str, list[str]] = {}
    for cost in costs:
        needs = cost.needs
        reasons = {
            "installed size": cost.installed_reason,
            "steady memory": ""
            if needs.steady_bytes is not None
            else "recorded by an evenbench that did not ask for it",
            "energy": resources.energy_reason(needs),
            "prepare + first answer": ""
            if needs.prepare_seconds is not None
            else "how long preparing took was not recorded",
        }
        for quantity, reason in reasons.items():
            if reason:
                missing.setdefault(f"{quantity} not told: {reason}", []).append(needs.id)
    lines = [f"{text} ({_cells(ids, len(costs))})" for text, ids in missing.items()]
    if hourly is not None and costs:
        lines.append(
            "a cost is that of inferences one after another as they were timed, host to host, "
            "on a machine that does nothing else"
        )
    return lines


def _cells(ids: Sequence[str], total: int) -> str:
    if len(ids) == total:
        return "every cell" if total > 1 else ids[0]
    return ", ".join(ids) if len(ids) <= 3 else f"{', '.join(ids[:2])} and {len(ids) - 2} more"


def _reason(result: Result) -> str:
    return str(result.record.get("reason") or result.record.get("hint") or "no time was recorded")


def _show(
    model: str,
    scope: Scope,
    costs: Sequence[CellCost],
    others: Sequence[Result],
    hourly: float | None,
    console: Console,
) -> None:
    from rich.text import Text

    console.print(Text(", ".join([model, *scope.words, *_model_facts(costs)])))
    for title, columns in _tables(hourly).items() if costs else ():
        _print_table(title, columns, costs, console)
    if not costs:
        console.print("no cell of it was measured and is right.", style="bold")
    if others:
        console.print("not measured", style="bold")
    for result in others:
        text = f"  {result.cell.get('id', '')}: {result.outcome}: {_reason(result)}"
        console.print(Text(text), soft_wrap=True)
    for note in scope.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)


def _model_facts(costs: Sequence[CellCost]) -> Iterable[str]:
    from evenbench.reports import formatting

    if costs and costs[0].needs.parameters is not None:
        yield f"{costs[0].needs.parameters:,} parameters"
    if costs and costs[0].needs.flops is not None:
        yield f"{formatting.amount(costs[0].needs.flops, 'FLOP')} per inference"


def _tables(hourly: float | None) -> Mapping[str, Mapping[str, Callable[[CellCost], str]]]:
    """Return title → heading → the text of a cell."""
    from evenbench.reports.formatting import DASH, SPACE, number, seconds, size

    running: dict[str, Callable[[CellCost], str]] = {
        "host to host": lambda cost: seconds(cost.needs.inference_seconds),
        "peak memory": lambda cost: size(cost.needs.peak_bytes),
        "steady memory": lambda cost: size(cost.needs.steady_bytes),
        "energy": lambda cost: (
            DASH if cost.needs.joules is None else f"{number(cost.needs.joules)}{SPACE}J"
        ),
    }
    if hourly is not None:
        running["cost of a million"] = lambda cost: number(cost.needs.cost(hourly))
    return {
        "to ship": {
            "artifact": lambda cost: size(cost.needs.artifact_bytes),
            "installed": lambda cost: size(cost.installed_bytes),
            "prepare": lambda cost: seconds(cost.needs.prepare_seconds),
            "tuning": lambda cost: seconds(cost.needs.tuning_seconds),
        },
        "to start": {
            "import": lambda cost: seconds(cost.needs.import_seconds),
            "load": lambda cost: seconds(cost.needs.load_seconds),
            "compile": lambda cost: seconds(cost.needs.compile_seconds),
            "first step": lambda cost: seconds(cost.needs.first_step_seconds),
            "first answer": lambda cost: seconds(cost.needs.first_answer_seconds),
            "prepare + first answer": lambda cost: seconds(
                cost.needs.first_answer_unprepared_seconds
            ),
        },
        "to run, one inference": running,
    }


def _print_table(
    title: str,
    columns: Mapping[str, Callable[[CellCost], str]],
    costs: Sequence[CellCost],
    console: Console,
) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None,
        pad_edge=False,
        header_style="dim",
        title=title,
        title_justify="left",
        title_style="bold",
    )
    for heading in ("cell", *columns):
        table.add_column(heading, overflow="fold")
    for cost in costs:
        table.add_row(Text(cost.needs.id), *(Text(show(cost)) for show in columns.values()))
    console.print(table)

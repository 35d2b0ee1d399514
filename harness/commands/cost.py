"""`evenbench footprint --model`: what each recorded cell of a model needs to be shipped, started
and run, and what it costs.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands import console as terminal
from harness.commands import recommend
from harness.core.errors import UsageError
from harness.environment.installers import distribution_of
from harness.results import records

if TYPE_CHECKING:
    from rich.console import Console

    from harness.commands.recommend import Scope
    from reports.results import Result
    from reports.sections.resources import Needs


@dataclass(frozen=True)
class Installed:
    """What a backend's packages hold here: the runtime's distribution, its version, all bytes; or
    in words why that cannot be told.
    """

    distribution: str = ""
    version: str = ""
    bytes: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Told:
    """One cell, and the installed size of what it was measured with: None and a reason where that
    is not here.
    """

    needs: Needs
    installed_bytes: int | None
    installed_reason: str


def price(text: str) -> float:
    """What an hour of the machine costs, in any currency. Raises UsageError for what is no number
    over 0.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise UsageError(
            f"--price-per-hour {text!r} is no price; expected a number over 0, in any currency, such as 0.20"
        )
    return value


def run(options: argparse.Namespace, installed_of: Callable[[str], Installed]) -> int:
    """The view of one model; returns the exit code. `installed_of` looks a backend's packages up,
    and times nothing.

    Raises UsageError for a price that is none, and where nothing is recorded of the model.
    """
    from reports.sections import resources

    asked = price(options.price_per_hour) if options.price_per_hour else None
    reading = records.read([Path(path) for path in options.paths])
    try:
        scope = recommend.scope_of(options, reading.lines)
        found = told(
            (resources.Needs(result) for result in scope.members if result.ranks), installed_of
        )
        others = [result for result in scope.members if not result.ranks and not result.is_control]
        answer = as_json(options.model, scope, found, others, asked)
    except UsageError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:  # a line that was edited by hand
        what = f"an outcome there has not the form of one ({type(error).__name__}: {error})"
        raise UsageError(
            f"{' '.join(options.paths)}: {what}; `evenbench report` leaves such lines out and names them"
        ) from error
    scope = replace(scope, notes=(*reading.notes, *scope.notes, *notes(found, asked)))
    if options.json:
        print(json.dumps({**answer, "notes": list(scope.notes)}))
    else:
        _show(options.model, scope, found, others, asked, terminal.console())
    return 0


def told(members: Iterable[Needs], installed_of: Callable[[str], Installed]) -> list[Told]:
    """Each cell with its installed size, in the order of latency; a backend is looked up once."""
    known: dict[str, Installed] = {}
    found = []
    for needs in members:
        backend = str(needs.result.cell.get("backend", ""))
        if backend not in known:
            known[backend] = _looked_up(backend, installed_of)
        here, measured = known[backend], version_of(needs.result, known[backend].distribution)
        reason = here.reason
        if here.bytes is not None and measured != here.version:
            reason = f"measured with {here.distribution} {measured or 'of an unrecorded version'}, and {here.version} is installed here"
        found.append(Told(needs, None if reason else here.bytes, reason))
    return sorted(found, key=lambda each: each.needs.inference_seconds or math.inf)


def _looked_up(backend: str, installed_of: Callable[[str], Installed]) -> Installed:
    try:
        return installed_of(backend)
    except UsageError:  # a backend of somebody's own, which this installation does not know
        return Installed(reason=f"no backend {backend!r} is known here")


def version_of(result: Result, distribution: str) -> str:
    """The version of a distribution that the measuring process found, by its normalised name; empty
    where it was not recorded.
    """
    packages = (result.record.get("environment") or {}).get("packages") or {}
    return next(
        (
            str(version)
            for name, version in packages.items()
            if distribution_of(str(name)) == distribution
        ),
        "",
    )


def as_json(
    model: str, scope: Scope, found: Sequence[Told], others: Sequence[Result], asked: float | None
) -> dict[str, Any]:
    """The whole answer as JSON, without its notes."""
    from reports.sections import resources

    def one(each: Told) -> dict[str, Any]:
        return {
            **resources.plain(each.needs, asked),
            "installed_bytes": each.installed_bytes,
            "installed_reason": each.installed_reason,
        }

    return {
        "model": model,
        "batch": scope.batch,
        "price_per_hour": asked,
        "cells": [one(each) for each in found],
        "not_measured": [
            {"id": result.cell.get("id"), "outcome": result.outcome, "reason": _why(result)}
            for result in others
        ],
    }


def notes(found: Sequence[Told], asked: float | None) -> list[str]:
    """What was not recorded, each reason once with the cells that it is about; and how a cost is
    meant.
    """
    from reports.sections import resources

    missing: dict[str, list[str]] = {}
    for each in found:
        reasons = {
            "installed size": each.installed_reason,
            "steady memory": ""
            if each.needs.steady_bytes is not None
            else "recorded by an evenbench that did not ask for it",
            "energy": resources.energy_reason(each.needs),
            "prepare + first answer": ""
            if each.needs.prepare_seconds is not None
            else "how long preparing took was not recorded",
        }
        for what, reason in reasons.items():
            if reason:
                missing.setdefault(f"{what} not told: {reason}", []).append(each.needs.id)
    said = [f"{words} ({_cells(ids, len(found))})" for words, ids in missing.items()]
    if asked is not None and found:
        said.append(
            "a cost is that of inferences one after another as they were timed, host to host, on a machine that does nothing else"
        )
    return said


def _cells(ids: Sequence[str], total: int) -> str:
    if len(ids) == total:
        return "every cell" if total > 1 else ids[0]
    return ", ".join(ids) if len(ids) <= 3 else f"{', '.join(ids[:2])} and {len(ids) - 2} more"


def _why(result: Result) -> str:
    return str(result.record.get("reason") or result.record.get("hint") or "no time was recorded")


def _show(
    model: str,
    scope: Scope,
    found: Sequence[Told],
    others: Sequence[Result],
    asked: float | None,
    console: Console,
) -> None:
    from rich.text import Text

    from reports import formatting

    first = found[0].needs if found else None
    counted = [f"{first.parameters:,} parameters"] if first and first.parameters is not None else []
    counted += (
        [f"{formatting.amount(first.flops, 'FLOP')} per inference"]
        if first and first.flops is not None
        else []
    )
    console.print(Text(", ".join([model, f"batch {scope.batch}", *counted])))
    if found:
        for title, columns in _tables(asked).items():
            _print_table(title, columns, found, console)
    else:
        console.print("no cell of it was measured and is right.", style="bold")
    if others:
        console.print("not measured", style="bold")
    for result in others:
        console.print(
            Text(f"  {result.cell.get('id', '')}: {result.outcome}: {_why(result)}"), soft_wrap=True
        )
    for note in scope.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)


def _tables(asked: float | None) -> Mapping[str, Mapping[str, Callable[[Told], str]]]:
    """Title → heading → how a cell of the table is told."""
    from reports import formatting

    running: dict[str, Callable[[Told], str]] = {
        "host to host": lambda each: formatting.seconds(each.needs.inference_seconds),
        "peak memory": lambda each: formatting.size(each.needs.peak_bytes),
        "steady memory": lambda each: formatting.size(each.needs.steady_bytes),
        "energy": lambda each: (
            formatting.DASH
            if each.needs.joules is None
            else f"{formatting.number(each.needs.joules)}{formatting.SPACE}J"
        ),
    }
    if asked is not None:
        running["cost of a million"] = lambda each: formatting.number(each.needs.cost(asked))
    return {
        "to ship": {
            "artifact": lambda each: formatting.size(each.needs.artifact_bytes),
            "installed": lambda each: formatting.size(each.installed_bytes),
            "prepare": lambda each: formatting.seconds(each.needs.prepare_seconds),
            "tuning": lambda each: formatting.seconds(each.needs.tuning_seconds),
        },
        "to start": {
            "import": lambda each: formatting.seconds(each.needs.import_seconds),
            "load": lambda each: formatting.seconds(each.needs.load_seconds),
            "compile": lambda each: formatting.seconds(each.needs.compile_seconds),
            "first step": lambda each: formatting.seconds(each.needs.first_step_seconds),
            "first answer": lambda each: formatting.seconds(each.needs.first_answer_seconds),
            "prepare + first answer": lambda each: formatting.seconds(
                each.needs.first_answer_unprepared_seconds
            ),
        },
        "to run, one inference": running,
    }


def _print_table(
    title: str,
    columns: Mapping[str, Callable[[Told], str]],
    found: Sequence[Told],
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
    for each in found:
        table.add_row(Text(each.needs.id), *(Text(show(each)) for show in columns.values()))
    console.print(table)

"""`evenbench recommend`: recorded cells of a model within the limits of a deployment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.commands import arguments
from evenbench.harness.commands import console as terminal
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes
from evenbench.harness.core.quantities import quantity
from evenbench.harness.results import records

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from evenbench.reports.model_scope import Scope
    from evenbench.reports.recommendation import Advice
    from evenbench.reports.result_groups import Result

SATISFIED, NOTHING = exit_codes.PASS, exit_codes.WORSE

EPILOG = """\
Examples:
  evenbench recommend --model resnet18 --p99 20ms --memory 500MB
  evenbench recommend --model digits_cnn --accuracy-drop 1% --size 200kB --json
Recorded results are read; nothing is measured.
Docs: docs/deploying.md
"""

EXIT_CODES = {
    SATISFIED: "at least one cell is within every limit",
    NOTHING: "no cell is within every limit; the nearest are named",
}

REMARKS = {
    "not told apart": "not told apart from",
    "measured in one process": "1 process, not judged against",
    "measured in another run": "another run than",
}
"""The reasons of `reports.pareto` as remarks before the places of other cells."""


@dataclass(frozen=True)
class Limit:
    """A limit on the command line: constraint in `reports.constraints`, kind and example."""

    flag: str
    constraint: str
    kind: str
    example: str
    help: str

    @property
    def field(self) -> str:
        """The field of the options."""
        return self.flag.lstrip("-").replace("-", "_")


LIMITS = (
    Limit("--p99", "p99", "time", "20ms", "largest p99 latency, host to host"),
    Limit("--memory", "memory", "size", "500MB", "largest peak resident memory"),
    Limit("--accuracy-drop", "accuracy drop", "share", "1%", "largest share of accuracy lost"),
    Limit("--size", "size", "size", "200MB", "largest artifact"),
)


@dataclass(frozen=True)
class RecommendOptions:
    """The options of `evenbench recommend`."""

    model: str
    paths: tuple[str, ...] = ()
    results: str = "results"
    p99: str = ""
    memory: str = ""
    accuracy_drop: str = ""
    size: str = ""
    device: str = ""
    batch: int = 0
    json: bool = False

    def limits(self) -> dict[str, float]:
        """Return the given limits in ns, bytes and shares. Raises UsageError."""
        return {
            limit.constraint: quantity(text, limit.kind, limit.flag, limit.example)
            for limit in LIMITS
            if (text := getattr(self, limit.field))
        }


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    arguments.add_results_paths(command)
    command.add_argument("--model", required=True, metavar="M", help="name of the model [required]")
    for limit in LIMITS:
        command.add_argument(
            limit.flag,
            metavar=limit.example.upper(),
            help=f"{limit.help} [default: no limit]",
        )
    arguments.add_recorded_filters(command)
    arguments.add_json_flag(command)


def run(options: RecommendOptions) -> int:
    """Print the ranked cells and return the exit code. Raises UsageError for a malformed limit."""
    from evenbench.reports import model_scope, recommendation

    limits = options.limits()
    paths = options.paths or (options.results,)
    reading = records.read([Path(path) for path in paths])
    deployable = [line for line in reading.lines if not line["cell"].get("side")]
    with model_scope.malformed_lines_named(paths):
        scope = model_scope.scope(deployable, paths, options.model, options.device, options.batch)
        advice = recommendation.advise(scope.members, limits)
    notes = _notes(scope.members, advice, limits)
    scope = replace(scope, notes=(*reading.notes, *scope.notes, *notes))
    if options.json:
        print(json.dumps(as_json(options.model, scope, limits, advice)))
    else:
        _show(options.model, scope, limits, advice, terminal.console())
    return SATISFIED if advice.ranked else NOTHING


def _notes(members: Sequence[Result], advice: Advice, limits: Mapping[str, float]) -> list[str]:
    """Return the conditions of the ranking."""
    notes = []
    runs = {result.run for result in members if result.ranks}
    if len(runs) > 1:
        notes.append(
            f"from {len(runs)} runs: cells of two runs were not measured side by side, "
            "and are never told apart"
        )
    known, drop = advice.reference, limits.get("accuracy drop")
    if known and known.count and drop is not None:
        note = (
            f"accuracy drop is a share of the {known.value:.4g} of {known.cell} "
            f"on {known.count} samples"
        )
        if known.value and known.metric.startswith("top-") and drop * known.value * known.count < 1:
            share = 100 / known.count / known.value
            note += f", of which one is {share:.2g} %: a smaller drop cannot be seen"
        notes.append(note)
    devices = {str(result.cell.get("device", "")) for result in members}
    if "memory" in limits and not all(device.startswith("cpu") for device in devices):
        notes.append("memory is that of the host; what a device's own memory holds is not in it")
    return notes


def as_json(
    model: str, scope: Scope, limits: Mapping[str, float], advice: Advice
) -> dict[str, Any]:
    """Return the JSON value: limits and facts in nanoseconds, bytes and shares."""
    from evenbench.reports import deployment_facts

    front = {id(facts) for facts in advice.front}
    names = {
        "p99": "p99_ns",
        "memory": "memory_bytes",
        "accuracy drop": "accuracy_drop",
        "size": "size_bytes",
    }
    return {
        "model": model,
        "batch": scope.batch,
        "limits": {names[name]: value for name, value in limits.items()},
        "ranked": [
            {
                **deployment_facts.plain(cell.facts),
                "front": id(cell.facts) in front,
                "not_apart": [{"id": name, "why": why} for name, why in cell.not_apart],
            }
            for cell in advice.ranked
        ],
        "excluded": [
            {**deployment_facts.plain(facts), "front": id(facts) in front, "reasons": list(reasons)}
            for facts, reasons in advice.excluded
        ],
        "front": [facts.id for facts in advice.front],
        "nearest": list(advice.nearest),
        "notes": list(scope.notes),
    }


# -- the table -------------------------------------------------------------------------------------


def _show(
    model: str, scope: Scope, limits: Mapping[str, float], advice: Advice, console: Console
) -> None:
    from rich.text import Text

    from evenbench.reports import formatting
    from evenbench.reports.constraints import CONSTRAINTS

    given = [
        f"{constraint.name} {constraint.words(limits[constraint.name])}"
        for constraint in CONSTRAINTS
        if constraint.name in limits
    ]
    bounds = [f"at most {formatting.listing(given)}"] if given else []
    console.print(Text(", ".join([model, f"batch {scope.batch}", *bounds])))
    if advice.ranked:
        console.print(_ranking(advice))
    else:
        nothing = "nothing satisfies that." if limits else "nothing here can be recommended."
        console.print(Text(nothing), style="bold")
        for line in advice.nearest:
            console.print(Text(f"  {line}"), soft_wrap=True)
    _show_excluded(advice, console)
    for note in scope.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)


def _show_excluded(advice: Advice, console: Console) -> None:
    from rich.text import Text

    front = {id(facts) for facts in advice.front}
    if advice.excluded:
        console.print("excluded", style="bold")
    for facts, reasons in advice.excluded:
        mark = " (front)" if id(facts) in front else ""
        console.print(Text(f"  {facts.id}{mark}: {'; '.join(reasons)}"), soft_wrap=True)


def _ranking(advice: Advice) -> Table:
    from rich.table import Table
    from rich.text import Text

    from evenbench.reports import formatting

    front = {id(facts) for facts in advice.front}
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("", "cell", "host to host", "p99", "memory", "accuracy", "parity error"):
        table.add_column(heading, overflow="fold")
    for heading in ("size", "front", "remark"):
        table.add_column(heading, overflow="fold")
    places = {cell.facts.id: str(place) for place, cell in enumerate(advice.ranked, 1)}
    for place, cell in enumerate(advice.ranked, 1):
        facts = cell.facts
        columns = (
            facts.id,
            formatting.latency(facts.result.host_to_host),
            formatting.duration(facts.p99_ns),
            formatting.size(facts.memory_bytes),
            formatting.number(facts.accuracy, 4),
            formatting.number(facts.error, 2),
            formatting.size(facts.size_bytes),
            "front" if id(facts) in front else "",
            _remark(cell.not_apart, places),
        )
        table.add_row(str(place), *map(Text, columns))
    return table


def _remark(not_apart: Sequence[tuple[str, str]], places: Mapping[str, str]) -> str:
    """Return `not told apart from 1 and 3`: by reason, the places of equal cells ahead."""
    from evenbench.reports import formatting

    by_reason: dict[str, list[str]] = {}
    for name, why in not_apart:
        by_reason.setdefault(why, []).append(places[name])
    shown = {
        why: ahead if len(ahead) <= 3 else [*ahead[:2], f"{len(ahead) - 2} more"]
        for why, ahead in by_reason.items()
    }
    return "; ".join(
        f"{REMARKS.get(why, why)} {formatting.listing(ahead)}" for why, ahead in shown.items()
    )

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
from evenbench.harness.core import exit_codes, quantities
from evenbench.harness.core.quantities import quantity
from evenbench.harness.results import records

if TYPE_CHECKING:
    from evenbench.reports.model_scope import Scope
    from evenbench.reports.recommendation import Advice
    from evenbench.reports.result_groups import Result

SATISFIED, NOTHING = exit_codes.PASS, exit_codes.WORSE

EPILOG = """\
Examples:
  evenbench recommend --model resnet18 --p99 20ms --memory 500MB
  evenbench recommend --model digits_cnn --accuracy-drop 1% --size 200kB --json
Recorded results are read; nothing is measured.
Docs: docs/how-to/choose-under-limits.md
"""

EXIT_CODES = {
    SATISFIED: "at least one cell is within every limit",
    NOTHING: "no cell is known to be within all limits",
}


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
    Limit("--p50", "p50", "time", "10ms", "largest median latency, host to host"),
    Limit("--p90", "p90", "time", "15ms", "largest p90 latency, host to host"),
    Limit("--p99", "p99", "time", "20ms", "largest p99 latency, host to host"),
    Limit("--memory", "memory", "size", "500MB", "largest peak resident memory"),
    Limit("--accuracy-drop", "accuracy drop", "share", "1%", "largest share of accuracy lost"),
    Limit("--size", "size", "size", "200MB", "largest artifact"),
    Limit("--cold-start", "cold start", "time", "2s", "longest start to the first output"),
    Limit("--installed", "installed size", "size", "1GB", "largest installed runtime"),
    Limit("--throughput", "throughput", "rate", "100/s", "least samples per second"),
)


@dataclass(frozen=True)
class RecommendOptions:
    """The options of `evenbench recommend`."""

    model: str
    paths: tuple[str, ...] = ()
    results: str = "results"
    p50: str = ""
    p90: str = ""
    p99: str = ""
    memory: str = ""
    accuracy_drop: str = ""
    size: str = ""
    cold_start: str = ""
    installed: str = ""
    throughput: str = ""
    device: str = ""
    batch: int = 0
    shape: str = ""
    json: bool = False

    def limits(self) -> dict[str, float]:
        """Return the given limits in ns, bytes, shares and samples/s. Raises UsageError."""
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
        scope = model_scope.scope(
            deployable, paths, options.model, options.device, options.batch, options.shape
        )
        sizes = _installed(scope.members) if options.installed else {}
        advice = recommendation.advise(scope.members, limits, sizes)
    notes = _notes(scope.members, advice, limits)
    scope = replace(scope, notes=(*reading.notes, *scope.notes, *notes))
    if options.json:
        print(json.dumps(as_json(options.model, scope, limits, advice)))
    else:
        from evenbench.reports.terminal import recommendation as tables

        tables.show(options.model, scope, limits, advice, terminal.console())
    return SATISFIED if advice.ranked else NOTHING


def _installed(members: Sequence[Result]) -> dict[str, tuple[int | None, str]]:
    """Return the installed bytes of each correct backend, or None with the reason.

    Reads the files of all packages, so only on request.
    """
    from evenbench.harness.deployment.installed_size import installed_or_unknown

    backends = sorted({str(result.cell.get("backend", "")) for result in members if result.ranks})
    known = {backend: installed_or_unknown(backend) for backend in backends}
    return {backend: (one.bytes, one.reason) for backend, one in known.items()}


def _notes(members: Sequence[Result], advice: Advice, limits: Mapping[str, float]) -> list[str]:
    """Return the conditions of the ranking."""
    from evenbench.reports import machine_state

    busy = machine_state.sentence(result for result in members if result.ranks)
    notes = [busy] if busy else []
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
            f"on {quantities.count(known.count, 'sample')}"
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
        "p50": "p50_ns",
        "p90": "p90_ns",
        "cold start": "cold_start_ns",
        "installed size": "installed_bytes",
        "throughput": "throughput_per_second",
    }
    return {
        "model": model,
        **scope.place,
        "limits": {names[name]: value for name, value in limits.items()},
        "ranked": [
            {
                **deployment_facts.plain(cell.facts),
                "front": id(cell.facts) in front,
                "not_apart": [{"id": name, "why": why} for name, why in cell.not_apart],
            }
            for cell in advice.ranked
        ],
        "possible": [
            {**deployment_facts.plain(cell.facts), "doubts": list(cell.doubts)}
            for cell in advice.possible
        ],
        "excluded": [
            {**deployment_facts.plain(facts), "front": id(facts) in front, "reasons": list(reasons)}
            for facts, reasons in advice.excluded
        ],
        "front": [facts.id for facts in advice.front],
        "nearest": list(advice.nearest),
        "notes": list(scope.notes),
    }

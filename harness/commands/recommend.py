"""`evenbench advise`: which recorded cells of a model satisfy a deployment's limits, what excludes
the others, and what is on the front.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands import console as terminal
from harness.core.errors import UsageError
from harness.results import records

if TYPE_CHECKING:
    from rich.console import Console

    from reports.deployment_facts import Facts
    from reports.recommendation import Advice
    from reports.results import Result
from harness.core.quantities import quantity

SATISFIED, NOTHING = 0, 1

EPILOG = """\
  evenbench advise --model resnet18 --p99 20ms --memory 500MB
  evenbench advise results --model digits_cnn --accuracy-drop 1% --size 200kB --json
it reads recorded results and measures nothing. Latency is host to host. Memory is the resident set of a process that holds only that
runtime (and the harness). An accuracy drop is a share of what eager PyTorch reaches at fp32 on the same held-out data. Size is that of
the artifact, without the runtime.

exit codes:
  0  at least one cell satisfies every limit
  1  no cell does: the answer is empty, and says what came nearest to each limit
  4  a limit is malformed, or nothing is recorded of the model
"""


REMARKS = {
    "within noise": "within noise of",
    "measured in one process": "1 process, not judged against",
    "measured in another run": "another run than",
}
"""How the reasons of `reports.pareto` read before the places that they are about."""


@dataclass(frozen=True)
class Flag:
    """A limit on the command line: the constraint of `reports.constraints` that it sets, its
    kind, and an example of its form.
    """

    flag: str
    constraint: str
    kind: str
    example: str
    help: str


FLAGS = (
    Flag("--p99", "p99", "time", "20ms", "99th percentile of latency, host to host, at most this"),
    Flag("--memory", "memory", "size", "500MB", "peak resident memory at most this"),
    Flag(
        "--accuracy-drop",
        "accuracy drop",
        "share",
        "1%",
        "at most this share of fp32's accuracy may be lost",
    ),
    Flag("--size", "size", "size", "200MB", "the artifact at most this"),
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    command.add_argument(
        "paths",
        nargs="*",
        default=["results"],
        metavar="RESULTS",
        help="results files or folders (results)",
    )
    command.add_argument(
        "--model", required=True, metavar="M", help="the model to choose a cell for, by its name"
    )
    for each in FLAGS:
        command.add_argument(
            each.flag, default="", metavar=each.example.upper(), help=each.help.replace("%", "%%")
        )
    command.add_argument(
        "--device", default="", metavar="D", help="only cells of this device (all)"
    )
    command.add_argument(
        "--batch",
        type=int,
        default=0,
        metavar="N",
        help="only cells of this batch size (the smallest recorded)",
    )
    command.add_argument(
        "--json", action="store_true", help="one JSON value on standard output instead of text"
    )


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code. Raises UsageError for a malformed limit, and where
    nothing is recorded of the model.
    """
    from reports import recommendation

    limits = {
        each.constraint: quantity(given, each.kind, each.flag, each.example)
        for each in FLAGS
        if (given := getattr(options, each.flag.lstrip("-").replace("-", "_")))
    }
    reading = records.read([Path(path) for path in options.paths])
    try:
        scope = scope_of(options, reading.lines)
        advice = recommendation.advise(scope.members, limits)
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
    scope = replace(
        scope, notes=(*reading.notes, *scope.notes, *_notes(scope.members, advice, limits))
    )
    if options.json:
        print(json.dumps(as_json(options.model, scope, limits, advice)))
    else:
        _show(options.model, scope, limits, advice, terminal.console())
    return SATISFIED if advice.ranked else NOTHING


@dataclass(frozen=True)
class Scope:
    """The results that are chosen among: those of one model at one batch size, and what was left
    out of them, in words.
    """

    batch: int
    members: Sequence[Result]
    notes: tuple[str, ...] = ()


def scope_of(options: argparse.Namespace, lines: Sequence[records.Record]) -> Scope:
    """What `--model`, `--device` and `--batch` leave of recorded lines. Raises UsageError where it
    is nothing, and names what there is.
    """
    from reports import newest_records, results

    newest, replaced = newest_records.newest(lines)
    members = results.results(newest)
    where = " ".join(options.paths)
    for name, wanted in (("model", options.model), ("device", options.device)):
        known = sorted({str(result.cell.get(name, "")) for result in members})
        if wanted and wanted not in known:
            of = f" of {options.model}" if name == "device" else ""
            told = (
                f"recorded are {', '.join(known)}"
                if known
                else "no outcome is recorded there; run `evenbench run` first"
            )
            raise UsageError(f"{where}: nothing is recorded{of} with {name} {wanted!r}; {told}")
        members = [result for result in members if not wanted or result.cell.get(name) == wanted]
    batches = sorted({int(result.cell.get("batch") or 0) for result in members})
    batch = options.batch or batches[0]
    if batch not in batches:
        raise UsageError(
            f"{where}: nothing is recorded of {options.model} at batch {batch}; recorded are {', '.join(map(str, batches))}"
        )
    others = [str(other) for other in batches if other != batch]
    notes = (
        [f"batch {batch}; batch {', '.join(others)} is recorded as well, see --batch"]
        if others
        else []
    )
    ids = {str(result.cell.get("id")) for result in members}
    kept = [result for result in members if int(result.cell.get("batch") or 0) == batch]
    return Scope(
        batch, kept, (*notes, *(note for note in replaced if note.partition(":")[0] in ids))
    )


def _notes(members: Sequence[Result], advice: Advice, limits: Mapping[str, float]) -> list[str]:
    """What a reader must know to believe the answer."""
    found = []
    runs = {result.run for result in members if result.ranks}
    if len(runs) > 1:
        found.append(
            f"from {len(runs)} runs: cells of two runs were not measured side by side, and are never told apart"
        )
    known, drop = advice.reference, limits.get("accuracy drop")
    if known and known.count and drop is not None:
        found.append(
            f"accuracy drop is a share of the {known.value:.4g} of {known.cell} on {known.count} samples"
        )
        if known.value and known.metric.startswith("top-") and drop * known.value * known.count < 1:
            found[-1] += (
                f", of which one is {100 / known.count / known.value:.2g} %: a smaller drop cannot be seen"
            )
    if "memory" in limits and any(
        not str(result.cell.get("device", "")).startswith("cpu") for result in members
    ):
        found.append("memory is that of the host; what a device's own memory holds is not in it")
    return found


def as_json(
    model: str, scope: Scope, limits: Mapping[str, float], advice: Advice
) -> dict[str, Any]:
    """The whole answer as JSON: limits and facts in nanoseconds, bytes and shares."""
    from reports import deployment_facts

    front = {id(facts) for facts in advice.front}

    def told(facts: Facts) -> dict[str, Any]:
        return {**deployment_facts.plain(facts), "front": id(facts) in front}

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
                **told(each.facts),
                "not_apart": [{"id": name, "why": why} for name, why in each.not_apart],
            }
            for each in advice.ranked
        ],
        "excluded": [
            {**told(facts), "reasons": list(reasons)} for facts, reasons in advice.excluded
        ],
        "front": [facts.id for facts in advice.front],
        "nearest": list(advice.nearest),
        "notes": list(scope.notes),
    }


def _show(
    model: str, scope: Scope, limits: Mapping[str, float], advice: Advice, console: Console
) -> None:
    from rich.table import Table
    from rich.text import Text

    from reports import formatting
    from reports.constraints import CONSTRAINTS

    asked = [
        f"{each.name} {each.words(limits[each.name])}"
        for each in CONSTRAINTS
        if each.name in limits
    ]
    console.print(
        Text(
            f"{model}, batch {scope.batch}, at most {formatting.listing(asked)}"
            if asked
            else f"{model}, batch {scope.batch}"
        )
    )
    front = {id(facts) for facts in advice.front}
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in (
        "",
        "cell",
        "host to host",
        "p99",
        "memory",
        "accuracy",
        "parity error",
        "size",
        "front",
        "remark",
    ):
        table.add_column(heading, overflow="fold")
    places = {each.facts.id: str(place) for place, each in enumerate(advice.ranked, 1)}
    for place, each in enumerate(advice.ranked, 1):
        facts, level = each.facts, each.facts.result.host_to_host
        values = (
            formatting.latency(level),
            formatting.duration(facts.p99_ns),
            formatting.size(facts.memory_bytes),
            formatting.number(facts.accuracy, 4),
        )
        more = (
            formatting.number(facts.error, 2),
            formatting.size(facts.size_bytes),
            "front" if id(facts) in front else "",
        )
        table.add_row(
            str(place),
            *(Text(value) for value in (facts.id, *values, *more, _remark(each.not_apart, places))),
        )
    if advice.ranked:
        console.print(table)
    else:
        console.print(
            Text("nothing satisfies that." if limits else "nothing here can be recommended."),
            style="bold",
        )
        for words in advice.nearest:
            console.print(Text(f"  {words}"), soft_wrap=True)
    if advice.excluded:
        console.print("excluded", style="bold")
    for facts, reasons in advice.excluded:
        mark = " (front)" if id(facts) in front else ""
        console.print(Text(f"  {facts.id}{mark}: {'; '.join(reasons)}"), soft_wrap=True)
    for note in scope.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)


def _remark(not_apart: Sequence[tuple[str, str]], places: Mapping[str, str]) -> str:
    """`within noise of 1 and 3`: for each reason, the places of those ahead that a cell cannot be
    told from.
    """
    from reports import formatting

    found: dict[str, list[str]] = {}
    for name, why in not_apart:
        found.setdefault(why, []).append(places[name])
    shown = {
        why: ahead if len(ahead) <= 3 else [*ahead[:2], f"{len(ahead) - 2} more"]
        for why, ahead in found.items()
    }
    return "; ".join(
        f"{REMARKS.get(why, why)} {formatting.listing(ahead)}" for why, ahead in shown.items()
    )

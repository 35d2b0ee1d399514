"""`evenbench run`: measure the selected cells, or resume an interrupted run."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evenbench.harness.collection import matrix, selection, selection_flags
from evenbench.harness.collection.selection_flags import ALL_DECLARED, Selection
from evenbench.harness.commands import arguments, console, report
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes, quantities
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS, Plan
from evenbench.harness.core.types import UNWANTED
from evenbench.harness.inputs import datasets
from evenbench.harness.results import records
from evenbench.harness.runner import launcher
from evenbench.harness.runner.dataset_scoring import LabelledData
from evenbench.harness.runner.schedule import Run

if TYPE_CHECKING:
    from evenbench.harness.comparison.run_sides.side_entries import Joined

EPILOG = """\
Examples:
  evenbench run                                     all declared cells
  evenbench run model.onnx --backends ort,openvino
  evenbench run model.onnx --input cat.jpg --recipe imagenet_224
  evenbench run model.pt --shape 1x3x224x224        TorchScript has no shapes
  evenbench run models.py:build --batch 1,8         a function of yours
  evenbench run --half-width 2% --budget 10m        narrower, within 10 minutes
  evenbench run --against main -k resnet18          beside the code of a commit
Docs: docs/explanation/statistics.md, docs/how-to/dataset-accuracy.md
"""

EXIT_CODES = {
    exit_codes.PASS: "every cell is ok, unsupported or unavailable",
    exit_codes.WORSE: "a cell is a mismatch, a fallback or failed",
    exit_codes.RESUMABLE: "",
}


@dataclass(frozen=True)
class RunOptions:
    """The options of `evenbench run`."""

    selection: Selection = ALL_DECLARED
    plan: str = "default"
    results: str = "results"
    output: str = ""
    fresh: bool = False
    timeout: float = PLANS["default"].timeout_seconds
    dataset: str = ""
    samples: int = 0
    seed: int = 0
    json: bool = False
    half_width: str = ""
    budget: str = ""
    against: tuple[str, ...] = ()
    profile: bool = False

    @property
    def measurement(self) -> Plan:
        """The plan with the limits of the flags. Raises UsageError for a malformed flag."""
        plan = replace(
            PLANS[self.plan],
            timeout_seconds=self.timeout,
            budget_seconds=quantities.seconds_of(self.budget),
        )
        if not self.half_width:
            return plan
        share = quantities.quantity(self.half_width, "share", "--half-width", "3%")
        if not 0 < share < 1:
            raise UsageError(
                f"--half-width {self.half_width}: expected a share between 0 % and 100 %"
            )
        return plan.to_half_width(share)


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    selection_flags.add_arguments(command)
    arguments.add_plan(command)
    arguments.add_half_width(command)
    arguments.add_budget(command)
    command.add_argument(
        "--against",
        action="append",
        metavar="SIDE",
        help="also results, ort@1.31.1 or a commit [default: none]",
    )
    command.add_argument(
        "--profile",
        action="store_true",
        help="afterwards, profile each cell by operator",
    )
    arguments.add_results(command)
    arguments.add_output(
        command, "DIR", "also write the HTML report here [default: no report]", "--site"
    )
    arguments.add_fresh(command)
    arguments.add_timeout(command)
    command.add_argument(
        "--dataset",
        metavar="DIR",
        help="labelled images to score accuracy on [default: none]",
    )
    command.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help="images of the dataset, evenly spread [default: all]",
    )
    arguments.add_seed(command)
    arguments.add_json_flag(command)


def run(options: RunOptions) -> int:
    """Measure the selected cells, print the table and return the exit code."""
    from evenbench.harness.commands import progress

    launcher.interrupt_when_ended()
    entries = selection.select(options.selection, options.timeout)
    if options.dataset:
        entries = _with_dataset(options, entries)
    plan = options.measurement
    labelled = _labelled(options, entries)
    with ExitStack() as stack:
        joined = _joined(options, entries, plan, stack)
        if labelled and joined.sides:
            raise UsageError(
                "--dataset scores the code of the working folder alone; leave out --against "
                f"{next(iter(joined.sides)).partition(':')[0]}, or --dataset"
            )
        display = stack.enter_context(progress.Display(console.console(stderr=True), plan))
        session = Run(
            joined.entries,
            plan,
            Path(options.results),
            options.seed,
            options.fresh,
            display.hear,
            labelled,
            joined.sides,
        )
        display.open(session)
        try:
            lines = session.measure(joined.entries)
        except KeyboardInterrupt:
            display.close_interrupted(session)
            return exit_codes.RESUMABLE
        session.finish()
    traces = _profiles(options, joined.entries, lines) if options.profile else None
    page = report.write([options.results], options.output)[0] if options.output else None
    _show(options, session, lines, page, traces)
    unscored = _unscored(labelled, lines) if labelled else {}
    for name, reason in unscored.items():
        print(f"evenbench: no accuracy for {name}: {reason}", file=sys.stderr)
    failed = unscored or any(line["outcome"] in UNWANTED for line in lines)
    return exit_codes.WORSE if failed else exit_codes.PASS


def _profiles(
    options: RunOptions, entries: Sequence[Entry], lines: Sequence[records.Record]
) -> Path | None:
    """Profile the measured cells, each in a process of its own; return the traces' folder."""
    from evenbench.harness.commands.operators import profile

    cells = [entry.cell for entry in entries]
    return profile.after_run(cells, lines, Path(options.results), options.timeout)


def _joined(options: RunOptions, entries: Sequence[Entry], plan: Plan, stack: ExitStack) -> Joined:
    """Return the entries with the other sides of `--against`; print the omissions."""
    from evenbench.harness.comparison.run_sides import joined

    matches = matrix.matcher(options.selection.expression)
    named = set(options.selection.cell)
    together = joined.join(
        entries,
        options.against,
        options.selection.words(),
        plan,
        stack,
        lambda name, key: matches(name) and (not named or bool(named & {name, key})),
    )
    for note in together.notes:
        print(f"note: {note}", file=sys.stderr)
    return together


def _labelled(options: RunOptions, entries: Sequence[Entry]) -> LabelledData | None:
    """Return the dataset, prepared for every model. Raises UsageError before any timing."""
    if not options.dataset:
        if options.samples:
            raise UsageError("--samples needs --dataset; name the folder of the dataset")
        return None
    dataset = LabelledData(
        datasets.find(Path(options.dataset), options.samples),
        options.timeout,
        lambda text: print(f"dataset: {text}", file=sys.stderr),
    )
    dataset.prepare(entry.cell for entry in entries)
    return dataset


def _unscored(labelled: LabelledData, lines: Sequence[records.Record]) -> dict[str, str]:
    """Return the reason by id for every timed cell without accuracy.

    An interrupted run does not keep the reason.
    """
    left = [
        line["cell"]["id"]
        for line in lines
        if line["outcome"] == "ok" and line["role"] != "control" and not line["dataset"]
    ]
    return {
        **dict.fromkeys(
            left, "unknown since before the interruption; --fresh measures the cell again"
        ),
        **labelled.unscored,
    }


def _with_dataset(options: RunOptions, entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries with the dataset in their reproducing commands."""
    words = f" --dataset {shlex.quote(options.dataset)}" + (
        f" --samples {options.samples}" if options.samples else ""
    )
    return [replace(entry, command=entry.command + words) for entry in entries]


def _show(
    options: RunOptions,
    session: Run,
    lines: list[records.Record],
    page: Path | None,
    traces: Path | None,
) -> None:
    if options.json:
        facts = {
            "run": session.file.id,
            "results": str(session.file.file),
            "resumed": session.resumed,
            "site": page and str(page),
            **({"profiles": traces and str(traces)} if options.profile else {}),
        }
        print(json.dumps({**facts, "outcomes": lines}))
        return
    from evenbench.reports.terminal import outcomes

    outcomes.show(lines, console.console())
    if session.resolution:
        print(f"precise  {session.resolution}")
    print(f"results  {session.file.file}")
    if traces:
        print(f"profiles {traces}")
    print(
        f"report   {page}" if page else f"report   evenbench report {shlex.quote(options.results)}"
    )

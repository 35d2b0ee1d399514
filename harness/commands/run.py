"""`evenbench run`: measure the cells that a command line names."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.collection import selection
from harness.commands import console, list_cells, report
from harness.core import exit_codes
from harness.core.cases import Entry
from harness.core.errors import UsageError
from harness.core.plans import PLANS
from harness.core.types import UNWANTED
from harness.inputs import datasets
from harness.results import records
from harness.runner import journal, launcher
from harness.runner.dataset_scoring import LabelledData
from harness.runner.schedule import Run

EPILOG = """\
targets are folders, bench_*.py files or `file::case`, or models of your own that need no declaration:
  evenbench run model.onnx                                    inputs from the shapes that the file declares
  evenbench run model.onnx --input cat.jpg --recipe imagenet_224
  evenbench run model.pt2                                     an exported program, on the example inputs inside
  evenbench run model.pt --shape 1x3x224x224                  TorchScript, which does not say its shapes
  evenbench run mypackage.models:build --shape 1x3x224x224    build() returns a module, or (module, example_inputs)
  evenbench run path/file.py:build --backends ort,openvino --batch 1,8
parity of your own model is judged against its float64 run, or against ONNX's reference evaluator where only an
.onnx file exists; the run says which.

"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of `run`."""
    list_cells.add_arguments(command)
    command.add_argument(
        "--plan", choices=sorted(PLANS), default="default", help="how much is measured (default)"
    )
    command.add_argument(
        "--results", default="results", metavar="DIR", help="where outcomes are appended (results)"
    )
    command.add_argument("--site", metavar="DIR", help="also write the HTML report here")
    command.add_argument("--fresh", action="store_true", help=journal.FRESH)
    command.add_argument("--timeout", type=float, metavar="SECONDS", help="of one process (600)")
    command.add_argument(
        "--dataset",
        metavar="DIR",
        help="labelled images on which every cell's accuracy is measured (docs/accuracy.md)",
    )
    command.add_argument(
        "--samples",
        type=int,
        default=0,
        metavar="N",
        help="of the dataset's images, evenly spread (0: all)",
    )
    command.add_argument(
        "--seed", type=int, default=0, help="of the order in which cells are measured (0)"
    )


def run(options: argparse.Namespace) -> int:
    """Measure the selected cells, or what an interrupted run left of them; show the table; say
    where the results are.
    """
    from harness.commands import progress

    launcher.interrupt_when_ended()
    entries = selection.select(options)
    if options.dataset:
        entries = _with_dataset(options, entries)
    plan = (
        PLANS[options.plan]
        if options.timeout is None
        else replace(PLANS[options.plan], timeout_seconds=options.timeout)
    )
    labelled = _labelled(options, entries, plan.timeout_seconds)
    with progress.Display(console.console(stderr=True), plan) as display:
        session = Run(
            entries,
            plan,
            Path(options.results),
            options.seed,
            options.fresh,
            display.hear,
            labelled,
        )
        display.open(session)
        try:
            lines = session.measure(entries)
        except KeyboardInterrupt:
            display.close_interrupted(session)
            return exit_codes.RESUMABLE
        session.finish()
    site = report.write([options.results], options.site)[0] if options.site else None
    _show_run(options, session, lines, site)
    unscored = _unscored(labelled, lines) if labelled else {}
    for name, reason in unscored.items():
        print(f"evenbench: the accuracy of {name} is not known: {reason}", file=sys.stderr)
    return 1 if unscored or any(line["outcome"] in UNWANTED for line in lines) else 0


def _labelled(
    options: argparse.Namespace, entries: Sequence[Entry], timeout_seconds: float
) -> LabelledData | None:
    """The dataset that the command line names, prepared for every model. Raises UsageError, before
    anything is timed.
    """
    if not options.dataset:
        if options.samples:
            raise UsageError("--samples is a number of images of --dataset, and there is none")
        return None
    found = LabelledData(
        datasets.find(Path(options.dataset), options.samples),
        timeout_seconds,
        lambda text: print(f"dataset: {text}", file=sys.stderr),
    )
    found.prepare(entry.cell for entry in entries)
    return found


def _unscored(labelled: LabelledData, lines: Sequence[records.Record]) -> dict[str, str]:
    """By cell id, why the accuracy of a cell that has times is not known. Of what an interrupted
    run left so, the reason is not kept.
    """
    left = [
        line["cell"]["id"]
        for line in lines
        if line["outcome"] == "ok" and line["role"] != "control" and not line["dataset"]
    ]
    return {
        **dict.fromkeys(
            left, "it could not be told before the run was interrupted; --fresh measures it again"
        ),
        **labelled.unscored,
    }


def _with_dataset(options: argparse.Namespace, entries: Sequence[Entry]) -> list[Entry]:
    """The entries, whose command to reproduce them names the dataset as well."""
    named = f" --dataset {shlex.quote(options.dataset)}" + (
        f" --samples {options.samples}" if options.samples else ""
    )
    return [replace(entry, command=entry.command + named) for entry in entries]


def _show_run(
    options: argparse.Namespace, session: Run, lines: list[records.Record], site: Path | None
) -> None:
    if options.json:
        found = {
            "run": session.file.id,
            "results": str(session.file.file),
            "resumed": session.resumed,
            "site": site and str(site),
        }
        print(json.dumps({**found, "outcomes": lines}))
        return
    from reports.terminal import outcomes

    outcomes.show(lines, console.console())
    print(f"results  {session.file.file}")
    print(
        f"report   {site}" if site else f"report   evenbench report {shlex.quote(options.results)}"
    )

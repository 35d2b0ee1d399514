"""`evenbench profile`: the operators of one inference, by the runtime's own profiler."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from evenbench.harness.collection import selection, selection_flags
from evenbench.harness.collection.selection_flags import ALL_DECLARED, Selection
from evenbench.harness.commands import arguments, console
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes
from evenbench.harness.core.types import Cell
from evenbench.harness.results import operator_profiles, records
from evenbench.harness.results.operator_profiles import RecordedProfile
from evenbench.harness.runner import launcher, operator_profiling

EPILOG = """\
Examples:
  evenbench profile resnet18-ort-fp32-cpu-b1
  evenbench profile model-openvino-fp32-cpu-b1 model.onnx
The trace file opens in https://ui.perfetto.dev, and `evenbench report` shows
the table in the cell's details.
Docs: docs/how-to/look-into-a-model.md
"""

EXIT_CODES = {
    exit_codes.PASS: "the profile is written",
    exit_codes.WORSE: "the runtime has no profiler, or the cell cannot run",
}


@dataclass(frozen=True)
class ProfileOptions:
    """The options of `evenbench profile`."""

    profiled: str
    selection: Selection = ALL_DECLARED
    timeout: float = 600.0
    results: str = "results"
    json: bool = False


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    command.add_argument("profiled", metavar="CELL", help="id or key of a cell")
    selection_flags.add_arguments(command, filters=False)
    arguments.add_timeout(command)
    arguments.add_results(command)
    arguments.add_json_flag(command)


def run(options: ProfileOptions) -> int:
    """Profile a cell, print the time by operator type and return the exit code."""
    launcher.interrupt_when_ended()
    chosen = replace(options.selection, cell=(options.profiled,))
    cells = [entry.cell for entry in selection.select(chosen, options.timeout)]
    files, reasons = operator_profiling.run(
        cells[:1], Path(options.results), options.timeout, _tell
    )
    _tell_reasons(reasons)
    for file in files:
        profile = operator_profiles.parse(file)
        print(json.dumps(as_json(profile))) if options.json else show(profile)
    return exit_codes.WORSE if reasons else exit_codes.PASS


def after_run(
    cells: Sequence[Cell], lines: Sequence[records.Record], results: Path, timeout: float
) -> Path | None:
    """Profile the measured cells of a run; return the folder of the traces, or None without any.

    Cells of other commits and controls are left out; other omissions are printed with the reason.
    """
    measured = {
        line["cell"]["key"] for line in lines if line["samples_ns"] and line["role"] != "control"
    }
    own = [cell for cell in operator_profiling.profilable(cells) if cell.key in measured]
    files, reasons = operator_profiling.run(own, results, timeout, _tell)
    _tell_reasons(reasons)
    return files[0].parent if files else None


def _tell_reasons(reasons: Mapping[str, str]) -> None:
    for name, reason in reasons.items():
        _tell(f"evenbench: no profile of {name}: {reason}")


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def as_json(profile: RecordedProfile) -> dict[str, object]:
    """Return the facts, the times by operator type and the trace's file as plain JSON."""
    return {
        **profile.facts,
        "in_operators_ns": profile.in_operators_ns,
        "operators": [asdict(row) for row in profile.by_type],
        "trace": str(profile.file),
    }


def show(profile: RecordedProfile) -> None:
    """Print the table by operator type."""
    from rich.table import Table

    from evenbench.reports.sections import operators

    screen = console.console()
    table = Table(box=None, header_style="bold")
    table.add_column("operator", overflow="fold")
    for heading in ("calls", "time", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in operators.rows(profile):
        table.add_row(row.type, row.calls, row.time, row.share)
    screen.print(profile.facts["cell"]["id"], markup=False, style="bold")
    screen.print(table)
    for line in (*operators.sentences(profile), f"trace  {profile.file}"):
        screen.print(line, soft_wrap=True, markup=False)

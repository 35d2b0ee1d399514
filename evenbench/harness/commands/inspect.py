"""`evenbench inspect`: the facts about a cell, a results file or a model file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenbench.harness.collection import model_files, selection_flags
from evenbench.harness.commands import arguments, console, inspect_model, inspect_results
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes
from evenbench.harness.core.errors import UsageError
from evenbench.harness.results import records

SUFFIXES = (".onnx", ".pt", ".pt2", ".engine", ".plan")

EPILOG = """\
Examples:
  evenbench inspect model.onnx
  evenbench inspect results
  evenbench inspect resnet18-ort-fp32-cpu-b1
Model files: .onnx, TorchScript .pt, .pt2, or a TensorRT plan.
Docs: docs/how-to/look-into-a-model.md
"""

EXIT_CODES = {exit_codes.PASS: "facts are printed"}


@dataclass(frozen=True)
class InspectOptions:
    """The options of `evenbench inspect`."""

    thing: str
    shape: str = ""
    unloaded: bool = False
    results: str = "results"
    json: bool = False


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    command.add_argument(
        "thing", metavar="THING", help="a cell's id or key, results, or a model file"
    )
    command.add_argument("--shape", metavar="SHAPES", help=selection_flags.SHAPE)
    selection_flags.add_trust(command)
    command.add_argument(
        "--unloaded", action="store_true", help="read a model file without loading runtimes"
    )
    arguments.add_results(command)
    arguments.add_json_flag(command)


def run(options: InspectOptions) -> int:
    """Print all facts about a cell, results or a model file."""
    path = Path(options.thing)
    if path.suffix in SUFFIXES and not path.is_file():
        raise UsageError(f"{path}: no such file; give the path of a model")
    if model_files.is_model(path):
        facts = model_files.describe(path, options.shape, load=not options.unloaded)
        return _show(options, facts, inspect_model.sections(facts))
    if path.exists():
        reading = records.read([path])
        runs = inspect_results.summary(reading)
        return _show(
            options,
            {"runs": runs, "notes": reading.notes},
            inspect_results.summary_sections(runs, reading.notes),
        )
    line = inspect_results.find_outcome(options.thing, Path(options.results))
    return _show(options, line, inspect_results.outcome_sections(line))


def _show(options: InspectOptions, value: Any, sections: Sequence[inspect_results.Section]) -> int:
    if options.json:
        print(json.dumps(value))
    else:
        inspect_results.show(sections, console.console())
    return exit_codes.PASS

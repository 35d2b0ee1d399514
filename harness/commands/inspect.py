"""`evenbench inspect`: all that is known of a cell, a results file or a model file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.collection import model_files
from harness.commands import console, inspect_model, inspect_results
from harness.commands.arguments import add_json_flag
from harness.core.errors import UsageError
from harness.results import records

MODEL_FILES = ".onnx, TorchScript .pt, .pt2, or a TensorRT plan"
"""What `inspect` reads besides results."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of `evenbench inspect`."""
    command.add_argument(
        "thing",
        metavar="THING",
        help="a cell's id or key, a results file or folder, or a model: " + MODEL_FILES,
    )
    command.add_argument(
        "--shape",
        default="",
        help="of the inputs of a model file that does not say them, such as 1x3x224x224",
    )
    command.add_argument(
        "--unloaded", action="store_true", help="read a model file only; load it into no runtime"
    )
    command.add_argument(
        "--results", default="results", metavar="DIR", help="where cells are looked up (results)"
    )
    add_json_flag(command)


def run(options: argparse.Namespace) -> int:
    """All that is known of one thing."""
    path = Path(options.thing)
    if path.suffix in (".onnx", ".pt", ".pt2", ".engine", ".plan") and not path.is_file():
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


def _show(
    options: argparse.Namespace, value: Any, sections: Sequence[inspect_results.Section]
) -> int:
    if options.json:
        print(json.dumps(value))
    else:
        inspect_results.show(sections, console.console())
    return 0

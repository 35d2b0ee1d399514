"""Selects the cells of a command line: declarations and users' own models, narrowed by -k and
--cell.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.collection import (
    discovery,
    matrix,
    task_outputs,
    user_models,
)
from harness.collection.user_model_flags import ModelFlags
from harness.core import quantities
from harness.core.cases import INT8, Entry, int8_of
from harness.core.errors import UsageError
from harness.core.plans import PLANS
from harness.core.types import Model


class NoCells(UsageError):
    """The command line selects no cell."""


TASK_HELP = (
    f"the task of the model: {', '.join(task_outputs.TASKS)} "
    "(default: classification if the outputs look like class scores)"
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags that select cells, the same in every command."""
    command.add_argument(
        "targets",
        nargs="*",
        default=["benchmarks"],
        metavar="TARGET",
        help="declarations or models (default: benchmarks)",
    )
    command.add_argument(
        "-k",
        dest="expression",
        default="",
        metavar="EXPR",
        help="run only cells with a matching id, in the syntax of pytest -k",
    )
    command.add_argument(
        "--cell",
        action="append",
        default=[],
        metavar="ID",
        help="run only this cell, given by its exact id or key; repeatable",
    )
    own = command.add_argument_group("for a model of your own")
    own.add_argument(
        "--input",
        action="extend",
        nargs="+",
        default=[],
        metavar="PHOTO",
        help="photos to use as inputs",
    )
    own.add_argument(
        "--recipe", default="", help="steps from a photo to a tensor, such as imagenet_224"
    )
    own.add_argument(
        "--shape",
        default="",
        help="shape of the inputs, such as 1x3x224x224 (comma between inputs)",
    )
    own.add_argument(
        "--backends", type=_words, default=(), metavar="A,B", help="runtimes (default: all)"
    )
    own.add_argument(
        "--precision",
        type=_words,
        default=(),
        metavar="P,...",
        help="precisions, or int8 (default: fp32)",
    )
    own.add_argument(
        "--device", type=_words, default=(), metavar="D,...", help="devices (default: cpu)"
    )
    own.add_argument(
        "--batch", type=_numbers, default=(), metavar="N,...", help="batch sizes (default: 1)"
    )
    own.add_argument(
        "--threads",
        type=quantities.whole_numbers,
        default=(),
        metavar="N,...",
        help="numbers of threads (default: 0, every usable core)",
    )
    own.add_argument(
        "--preprocessing",
        type=_words,
        default=(),
        metavar="A,B",
        help="image libraries to run the recipe with (default: pillow)",
    )
    add_meaning(own)


def add_meaning(own: argparse._ArgumentGroup) -> None:
    """Add the flags of a user's own model that all commands share."""
    own.add_argument(
        "--task", default="", choices=["", *task_outputs.TASKS], metavar="T", help=TASK_HELP
    )
    own.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="BACKEND:KEY=VALUE",
        help="option of a backend; repeatable",
    )


def meant(options: argparse.Namespace) -> list[str]:
    """The flags of `add_meaning` as words of a command line, as given by the user."""
    task = ["--task", options.task] if options.task else []
    return [*task, *(word for option in options.option for word in ("--option", option))]


def precision_for(model: Model, requested: str) -> str:
    """The precision for a declared model; `int8` becomes a kind of int8, with a note on stderr."""
    if requested != INT8:
        return requested
    precision, note = int8_of(model)
    print(note, file=sys.stderr)
    return precision


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _words(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of whole numbers such as 1,8"
        ) from None


def select(options: argparse.Namespace) -> list[Entry]:
    """The entries selected by the targets, -k and --cell. Raises UsageError if no entry is left."""
    entries = _entries(options)
    kept = {
        cell.key for cell in matrix.select([entry.cell for entry in entries], options.expression)
    }
    if options.cell:
        known = {name for entry in entries for name in (entry.cell.id, entry.cell.key)}
        for wanted in options.cell:
            if wanted not in known:
                nearest = _nearest(wanted, entries)
                raise UsageError(f"no cell {wanted!r} in {' '.join(options.targets)}; {nearest}")
        kept &= {
            entry.cell.key
            for entry in entries
            if {entry.cell.id, entry.cell.key} & set(options.cell)
        }
    if not kept:
        raise NoCells(
            f"-k {options.expression!r} matches none of {len(entries)} cells; "
            "`evenbench list` shows their ids"
        )
    return [entry for entry in entries if entry.cell.key in kept]


def _nearest(wanted: str, entries: Sequence[Entry]) -> str:
    import difflib

    near = difflib.get_close_matches(wanted, [entry.cell.id for entry in entries[:2000]], n=3)
    return f"did you mean {' or '.join(near)}?" if near else "`evenbench list` shows the ids"


def _entries(options: argparse.Namespace) -> list[Entry]:
    """One entry per different cell of all targets: declarations and users' own models."""
    # package.module:build is imported from the user's folder. The folder goes last, so that a
    # `reports.py` in that folder does not hide our package.
    sys.path.append(os.getcwd())
    command = ["evenbench", "run", *options.targets]
    models = [target for target in options.targets if user_models.is_model(target)]
    declared = [target for target in options.targets if target not in models]
    flags = _model_flags(options, bool(models))
    timeout_seconds = getattr(options, "timeout", None) or PLANS["default"].timeout_seconds
    entries = discovery.entries(_declarations(declared), shlex.join(command))
    for target in models:
        own = user_models.find(target, flags, timeout_seconds)
        print(own.summary, file=sys.stderr)
        reproduce = shlex.join([*command, *given(options)])
        entries += [Entry(cell, target, reproduce) for cell in matrix.expand(own.case)]
    discovery.check_names(entries)
    return list({entry.cell.key: entry for entry in reversed(entries)}.values())[::-1]


OWN = {
    "input": "photos",
    "recipe": "recipe",
    "shape": "shape",
    "backends": "backends",
    "batch": "batch",
    "threads": "threads",
}
OWN |= {
    "precision": "precisions",
    "device": "devices",
    "preprocessing": "preprocessing",
    "task": "task",
    "option": "options",
}
"""Each flag for a user's own model, and its field of `ModelFlags`."""

MEANING = ("task", "option")
"""The flags of `add_meaning`."""


def _model_flags(options: argparse.Namespace, has_models: bool) -> ModelFlags:
    given = [flag for flag in OWN if getattr(options, flag)]
    if given and not has_models:
        raise UsageError(
            f"--{given[0]} is for a model of your own, such as model.onnx; "
            "choose declared cells with -k or --cell"
        )
    values = {field: getattr(options, flag) for flag, field in OWN.items()}
    return ModelFlags(
        **{**values, "photos": tuple(options.input), "options": tuple(options.option)}
    )


def given(options: argparse.Namespace) -> list[str]:
    """The flags for a user's own model as words of a command line, to reproduce a cell."""
    words = []
    for flag in OWN:
        value = getattr(options, flag)
        if value and flag not in MEANING:
            listed = (
                value
                if flag == "input"
                else [value if isinstance(value, str) else ",".join(map(str, value))]
            )
            words += [f"--{flag}", *map(str, listed)]
    return [*words, *meant(options)]


def _declarations(targets: Sequence[str]) -> list[discovery.Declaration]:
    """The cases under files, folders and `file::case` targets."""
    declarations = []
    for target in targets:
        path, _, name = target.partition("::")
        if Path(path).is_file() and Path(path).suffix != ".py":
            raise UsageError(
                f"{target} is not a target; expected a folder, a bench_*.py file, model.onnx, "
                "model.pt2, model.pt or package.module:build"
            )
        cases = [case for case in discovery.find([path]) if name in ("", case.name)]
        if not cases:
            raise UsageError(
                f"{path} has no case {name!r}; `evenbench list {path} --json` shows them"
            )
        declarations += cases
    return declarations


def words_of(options: argparse.Namespace) -> list[str]:
    """The flags that select cells as words of a command line, for the processes of both sides."""
    words = [*options.targets]
    for flag, values in (
        ("-k", [options.expression] if options.expression else []),
        ("--cell", options.cell),
    ):
        for value in values:
            words += [flag, value]
    return [*words, *given(options)]

"""Which cells a command line names: declarations and models of one's own, narrowed by -k and
--cell.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.collection import discovery, matrix, selection, user_models
from harness.core import quantities
from harness.core.cases import INT8, Entry, int8_of
from harness.core.errors import UsageError
from harness.core.plans import PLANS
from harness.core.types import Model

if TYPE_CHECKING:
    pass


class NoCells(UsageError):
    """What was asked for leaves no cell."""


TASK_HELP = f"what its outputs mean: {', '.join(user_models.TASKS)} (classification where they look like that)"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags that choose cells, the same for every command that does."""
    command.add_argument(
        "targets",
        nargs="*",
        default=["benchmarks"],
        metavar="TARGET",
        help="declarations or models (benchmarks)",
    )
    command.add_argument(
        "-k",
        dest="expression",
        default="",
        metavar="EXPR",
        help="only cells whose id matches, as pytest's -k",
    )
    command.add_argument(
        "--cell",
        action="append",
        default=[],
        metavar="ID",
        help="only this cell, by its exact id or key; repeatable",
    )
    own = command.add_argument_group("for a model of your own")
    own.add_argument(
        "--input",
        action="extend",
        nargs="+",
        default=[],
        metavar="PHOTO",
        help="photos that become the inputs",
    )
    own.add_argument(
        "--recipe", default="", help="how a photo becomes a tensor, such as imagenet_224"
    )
    own.add_argument(
        "--shape", default="", help="of the inputs, such as 1x3x224x224 (comma between inputs)"
    )
    own.add_argument("--backends", type=_words, default=(), metavar="A,B", help="runtimes (all)")
    own.add_argument(
        "--precision", type=_words, default=(), metavar="P,...", help="precisions, or int8 (fp32)"
    )
    own.add_argument("--device", type=_words, default=(), metavar="D,...", help="devices (cpu)")
    own.add_argument(
        "--batch",
        type=quantities.whole_numbers,
        default=(),
        metavar="N,...",
        help="batch sizes (1)",
    )
    own.add_argument(
        "--threads",
        type=quantities.whole_numbers,
        default=(),
        metavar="N,...",
        help="threads (0: every usable core)",
    )
    own.add_argument(
        "--preprocessing",
        type=_words,
        default=(),
        metavar="A,B",
        help="libraries that do the recipe (pillow)",
    )
    add_meaning(own)


def add_meaning(own: argparse._ArgumentGroup) -> None:
    """The flags of a model of one's own that every command takes that can run one."""
    own.add_argument(
        "--task", default="", choices=["", *user_models.TASKS], metavar="T", help=TASK_HELP
    )
    own.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="BACKEND:KEY=VALUE",
        help="of a backend; repeatable",
    )


def meant(options: argparse.Namespace) -> list[str]:
    """Those flags as words, as they were given."""
    task = ["--task", options.task] if options.task else []
    return [*task, *(word for each in options.option for word in ("--option", each))]


def precision_for(model: Model, asked: str) -> str:
    """The precision that a command line asks of a declared model; what `int8` became is told on
    standard error.
    """
    if asked != INT8:
        return asked
    found, why = int8_of(model)
    print(why, file=sys.stderr)
    return found


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def select(options: argparse.Namespace) -> list[Entry]:
    """The entries that the targets, -k and --cell name. Raises UsageError where none is left."""
    entries = _entries(options)
    kept = {
        cell.key for cell in matrix.select([entry.cell for entry in entries], options.expression)
    }
    if options.cell:
        known = {name for entry in entries for name in (entry.cell.id, entry.cell.key)}
        for wanted in options.cell:
            if wanted not in known:
                raise UsageError(
                    f"no cell {wanted!r} in {' '.join(options.targets)}; {_nearest(wanted, entries)}"
                )
        kept &= {
            entry.cell.key
            for entry in entries
            if {entry.cell.id, entry.cell.key} & set(options.cell)
        }
    if not kept:
        raise NoCells(
            f"-k {options.expression!r} leaves none of {len(entries)} cells; `evenbench list` shows their ids"
        )
    return [entry for entry in entries if entry.cell.key in kept]


def _nearest(wanted: str, entries: Sequence[Entry]) -> str:
    import difflib

    near = difflib.get_close_matches(wanted, [entry.cell.id for entry in entries[:2000]], n=3)
    return f"did you mean {' or '.join(near)}?" if near else "`evenbench list` shows the ids"


def _entries(options: argparse.Namespace) -> list[Entry]:
    """One entry per different cell of all targets, declarations and own models alike."""
    # package.module:build is found from the user's folder; last, so that a `reports.py` there does
    # not hide ours
    sys.path.append(os.getcwd())
    command = ["evenbench", "run", *options.targets]
    models = [target for target in options.targets if user_models.is_model(target)]
    declared = [target for target in options.targets if target not in models]
    asked = _asked(options, bool(models))
    found = discovery.entries(_declarations(declared), shlex.join(command))
    for target in models:
        own = user_models.find(
            target, asked, getattr(options, "timeout", None) or PLANS["default"].timeout_seconds
        )
        print(own.found, file=sys.stderr)
        found += [
            Entry(cell, target, shlex.join([*command, *given(options)]))
            for cell in matrix.expand(own.case)
        ]
    discovery.check_names(found)
    return list({entry.cell.key: entry for entry in reversed(found)}.values())[::-1]


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
"""The flags for a model of one's own, and the fields of `usermodel.Asked` that they fill."""

MEANING = ("task", "option")
"""Those of `add_meaning`."""


def _asked(options: argparse.Namespace, has_models: bool) -> user_models.Asked:
    given = [flag for flag in OWN if getattr(options, flag)]
    if given and not has_models:
        raise UsageError(
            f"--{given[0]} is for a model of your own, such as model.onnx; choose declared cells with -k or --cell"
        )
    values = {field: getattr(options, flag) for flag, field in OWN.items()}
    return user_models.Asked(
        **{**values, "photos": tuple(options.input), "options": tuple(options.option)}
    )


def given(options: argparse.Namespace) -> list[str]:
    """The flags for a model of one's own as they were given, as words, for the command that
    reproduces a cell.
    """
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
    found = []
    for target in targets:
        path, _, name = target.partition("::")
        if Path(path).is_file() and Path(path).suffix != ".py":
            expected = "a folder, a bench_*.py file, model.onnx, model.pt2, model.pt or package.module:build"
            raise UsageError(f"{target} is no target; expected {expected}")
        cases = [case for case in discovery.find([path]) if name in ("", case.name)]
        if not cases:
            raise UsageError(
                f"{path} has no case {name!r}; `evenbench list {path} --json` shows them"
            )
        found += cases
    return found


def words_of(options: argparse.Namespace) -> list[str]:
    """The words that choose cells, for the processes of both sides, as they would be written on
    their command lines.
    """
    words = [*options.targets]
    for flag, values in (
        ("-k", [options.expression] if options.expression else []),
        ("--cell", options.cell),
    ):
        for value in values:
            words += [flag, value]
    return [*words, *selection.given(options)]

"""Selects cells of declarations and of undeclared models, narrowed by -k and --cell."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from evenbench.harness.collection import discovery, matrix, user_models
from evenbench.harness.collection.selection_flags import DEFAULT_TARGETS, Selection
from evenbench.harness.collection.user_model_flags import ModelFlags
from evenbench.harness.core import quantities
from evenbench.harness.core.cases import INT8, Entry, int8_of
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.types import Model


class NoCells(UsageError):
    """The command line leaves no cell."""


def precision_for(model: Model, wanted: str) -> str:
    """Return the precision for a declared model, and print the meaning of `int8`."""
    if wanted != INT8:
        return wanted
    precision, reason = int8_of(model)
    print(reason, file=sys.stderr)
    return precision


def select(chosen: Selection, timeout_seconds: float | None = None) -> list[Entry]:
    """Return the entries of the targets, filtered by -k and --cell.

    `timeout_seconds` limits the reader of an undeclared model; None is the default plan's.
    Raises NoCells when no entry is left, UsageError for a cell without a declaration.
    """
    return filtered(_entries(chosen, timeout_seconds), chosen)


def filtered(entries: list[Entry], chosen: Selection) -> list[Entry]:
    """Return the entries that pass -k and --cell. Raises NoCells and UsageError as `select`."""
    kept = {
        cell.key for cell in matrix.select([entry.cell for entry in entries], chosen.expression)
    }
    if chosen.cell:
        known = {name for entry in entries for name in (entry.cell.id, entry.cell.key)}
        for wanted in chosen.cell:
            if wanted not in known:
                raise UsageError(
                    f"no cell {wanted!r} in {' '.join(chosen.targets)}; {_nearest(wanted, entries)}"
                )
        kept &= {
            entry.cell.key
            for entry in entries
            if {entry.cell.id, entry.cell.key} & set(chosen.cell)
        }
    if not kept:
        raise NoCells(
            f"-k {chosen.expression!r} matches none of {quantities.count(len(entries), 'cell')}; "
            "`evenbench list` shows their ids"
        )
    return [entry for entry in entries if entry.cell.key in kept]


def _nearest(wanted: str, entries: Sequence[Entry]) -> str:
    import difflib

    near = difflib.get_close_matches(wanted, [entry.cell.id for entry in entries[:2000]], n=3)
    return f"did you mean {' or '.join(near)}?" if near else "`evenbench list` shows the ids"


def _entries(chosen: Selection, timeout_seconds: float | None) -> list[Entry]:
    """Return an entry per distinct cell of all targets, in order."""
    # Python finds package.module:build in the user's folder. The folder comes last, so that a
    # `reports.py` in it does not hide evenbench's own package.
    sys.path.append(os.getcwd())
    targets = _present(chosen.targets)
    command = ["evenbench", "run", *targets]
    models = [target for target in targets if user_models.is_model(target)]
    declared = [target for target in targets if target not in models]
    properties = _model_properties(chosen, bool(models))
    entries = discovery.entries(_declarations(declared), shlex.join(command))
    for target in models:
        own = user_models.find(
            target, properties, timeout_seconds or PLANS["default"].timeout_seconds
        )
        print(own.summary, file=sys.stderr)
        entries += [
            Entry(cell, target, shlex.join([*command, *chosen.model_words()]))
            for case in own.cases
            for cell in matrix.expand(case)
        ]
    discovery.check_names(entries)
    return list({entry.cell.key: entry for entry in reversed(entries)}.values())[::-1]


MODEL_FIELDS = {
    "input": "photos",
    "recipe": "recipe",
    "shape": "shape",
    "inputs": "samples",
    "dim": "dims",
    "range": "ranges",
    "state": "states",
    "backends": "backends",
    "batch": "batch",
    "threads": "threads",
    "precision": "precisions",
    "device": "devices",
    "preprocessing": "preprocessing",
    "task": "task",
    "option": "options",
    "calibration": "calibration",
}
"""The flags of undeclared models, and their fields in `ModelFlags`."""


def _model_properties(chosen: Selection, has_models: bool) -> ModelFlags:
    given = [flag for flag in MODEL_FIELDS if getattr(chosen, flag)]
    if given and not has_models:
        plain = next(filter(_is_plain_source, chosen.targets), "")
        if plain:
            raise UsageError(
                f"{plain} declares no cells; name the function that returns the model, such as "
                f"{plain}:build"
            )
        raise UsageError(
            f"--{given[0]} is for a model of your own, such as model.onnx; "
            "choose declared cells with -k or --cell"
        )
    return ModelFlags(**{field: getattr(chosen, flag) for flag, field in MODEL_FIELDS.items()})


def _present(targets: tuple[str, ...]) -> tuple[str, ...]:
    """Return the targets; without the default folder, the declaration files of this folder.

    Raises UsageError for a folder with neither.
    """
    if targets != DEFAULT_TARGETS or Path(targets[0]).exists():
        return targets
    beside = tuple(sorted(map(str, Path().glob(discovery.PATTERN))))
    if not beside:
        raise UsageError(
            f"no folder {targets[0]} and no {discovery.PATTERN} here; name a model, such as "
            "model.onnx or file.py:build, or write declarations with `evenbench new project NAME`"
        )
    return beside


def _is_plain_source(target: str) -> bool:
    """Whether a target is a Python file without the name of a declaration file."""
    path = Path(target)
    return path.suffix == ".py" and path.is_file() and not discovery.is_declaration_file(path)


def _declarations(targets: Sequence[str]) -> list[discovery.Declaration]:
    """Return the cases of files, folders and `file::case` targets."""
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

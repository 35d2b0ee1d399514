"""A `Case`: models × backends × precisions × devices × batch × threads × options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evenbench.harness.core.errors import UsageError, naming_fields
from evenbench.harness.core.types import PRECISIONS, Cell, Model

ALL = ("*",)
"""Every registered runtime for networks (`registry.runtimes`).

Without goldens, controls of both kinds, and backends with a default environment.
"""

INT8 = "int8"
"""The best int8 precision of a model. A word of the command line only, not a cell's precision."""


_INT8_HINT = "; int8 is a word of the command line, a case names the kind of int8"


def int8_of(model: Model) -> tuple[str, str]:
    """The precision for `int8`, and the reason as text.

    int8-static for models with calibration data, else int8-dynamic.
    """
    if model.is_calibrated:
        return "int8-static", f"int8 is int8-static here: {model.name} has calibration data"
    return "int8-dynamic", f"int8 is int8-dynamic here: {model.name} has no calibration data"


@naming_fields
@dataclass(frozen=True)
class Case:
    """A declaration, expanded by `harness.collection.matrix` into cells.

    Assign a case to a module-level name in a `bench_*.py`. `threads=(0,)` means every core of this
    process. `options` maps a backend's name to option sets: `{"ort": ({}, {"spinning": "off"})}`.
    `marks` are pytest marks for all items of the case. `preprocessing` names the libraries for the
    models' recipes; every library but Pillow adds a model with separate inputs: `("torchvision",)`
    declares `resnet18+torchvision`, a name unknown to commands otherwise.
    """

    models: tuple[Model, ...]
    backends: tuple[str, ...] = ALL
    precisions: tuple[str, ...] = ("fp32",)
    devices: tuple[str, ...] = ("cpu",)
    batch: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = (0,)
    options: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    preprocessing: tuple[str, ...] = ("pillow",)

    def __post_init__(self) -> None:
        for axis in (
            "models",
            "backends",
            "precisions",
            "devices",
            "batch",
            "threads",
            "preprocessing",
        ):
            values = getattr(self, axis)
            if isinstance(values, (str, Model)) or not isinstance(values, Sequence):
                raise UsageError(
                    f"Case: {axis}={values!r} is one value; write a tuple, such as "
                    f"{axis}=({values!r},)"
                )
            if not values:
                raise UsageError(
                    f"Case: {axis} is empty, so the case has no cells; give at least one value "
                    "or remove the case"
                )
            if len({_name(value) for value in values}) != len(values):
                raise UsageError(
                    f"Case: {axis}={[_name(value) for value in values]} names a value twice; "
                    "drop one"
                )
        for model in self.models:
            if not isinstance(model, Model):
                raise UsageError(f"Case: models holds {model!r}; expected harness.Model values")
        own = {model.own_precision for model in self.models}
        unknown = sorted(set(self.precisions) - set(PRECISIONS) - own)
        if unknown:
            raise UsageError(
                f"Case: unknown precision {', '.join(map(repr, unknown))}; expected one of "
                f"{', '.join(PRECISIONS)}{_INT8_HINT if INT8 in unknown else ''}"
            )
        for axis, least in (("batch", 1), ("threads", 0)):
            wrong = [
                value
                for value in getattr(self, axis)
                if not isinstance(value, int) or isinstance(value, bool) or value < least
            ]
            if wrong:
                raise UsageError(
                    f"Case: {axis}={wrong[0]!r}; expected whole numbers of {least} or more"
                )
        for backend, sets in self.options.items():
            if (
                not isinstance(sets, Sequence)
                or not sets
                or not all(isinstance(options, Mapping) for options in sets)
            ):
                raise UsageError(
                    f"Case: options[{backend!r}]={sets!r}; expected a tuple of dicts, such as "
                    "({}, {'spinning': 'off'})"
                )
            plain = (str, int, float, bool)
            wrong = [
                value
                for options in sets
                for value in options.values()
                if not isinstance(value, plain)
            ]
            if wrong:
                raise UsageError(
                    f"Case: options[{backend!r}] holds {wrong[0]!r}; expected strings, numbers "
                    "or booleans"
                )
        if isinstance(self.marks, str):
            raise UsageError(
                f"Case: marks={self.marks!r} is one mark; write a tuple, such as "
                f"marks=({self.marks!r},)"
            )


def _name(value: Any) -> Any:
    return value.name if isinstance(value, Model) else value


@dataclass(frozen=True)
class Against:
    """Why a cell joins a run by `--against`: the `side` as given, and the selected cell beside it.

    `cell` and `key` are id and key of the selected cell that differs by the side alone, or of the
    first cell of the group. `commit` is the full hash of another commit's code.
    """

    side: str
    cell: str
    key: str
    commit: str = ""


@dataclass(frozen=True)
class Entry:
    """A cell, its declaration, and the command that runs the declaration again.

    `against` is set for cells of another side, and `then` for cells with a past result: the facts
    of the past measurement, for the results line.
    """

    cell: Cell
    case: str = ""
    command: str = "evenbench run benchmarks"
    against: Against | None = None
    then: Mapping[str, Any] | None = None

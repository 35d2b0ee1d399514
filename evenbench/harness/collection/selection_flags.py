"""The selection of cells as typed options: their flags, and the words for another command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evenbench.harness.collection import task_outputs
from evenbench.harness.core import options, quantities

MODEL_GROUP = "for a model file or function of your own"
"""The title of the flags of undeclared models."""

INPUT = "photos to use as inputs [default: random inputs]"
RECIPE = "imagenet_224 or size=128,mean=.5 [default: none]"
SAMPLES = "real inputs, such as .npz; repeatable [default: none]"
DIM = "size of a free dimension [default: guessed]"
RANGE = "values of an input; repeatable [default: from graph]"
STATE = "state of the next step, as h=hn [default: guessed]"
SHAPE = "input shapes, such as 1x3x224x224 [default: from file]"


DEFAULT_TARGETS = ("benchmarks",)
"""Where no target is given; without such a folder, `bench_*.py` of the working folder."""


@dataclass(frozen=True)
class Selection:
    """Targets and filters of cells, and the properties of undeclared models.

    Fields are named like their flags; empty means not given.
    """

    targets: tuple[str, ...] = DEFAULT_TARGETS
    expression: str = ""
    cell: tuple[str, ...] = ()
    input: tuple[str, ...] = ()
    recipe: str = ""
    shape: str = ""
    inputs: tuple[str, ...] = ()
    dim: tuple[str, ...] = ()
    range: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    precision: tuple[str, ...] = ()
    device: tuple[str, ...] = ()
    batch: tuple[int, ...] = ()
    threads: tuple[int, ...] = ()
    preprocessing: tuple[str, ...] = ()
    task: str = ""
    option: tuple[str, ...] = ()
    calibration: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """Return the command-line words for the same cells."""
        filters = ["-k", self.expression] if self.expression else []
        if self.expression.startswith("-"):
            filters = [f"-k{self.expression}"]
        targets = (f"./{target}" if target.startswith("-") else target for target in self.targets)
        return [*targets, *filters, *cell_words(self.cell), *self.model_words()]

    def model_words(self) -> list[str]:
        """Return the words of the given model flags, for the reproducing command of a cell."""
        words = [*(["--input", *self.input] if self.input else [])]
        for flag, texts in (
            ("--inputs", self.inputs),
            ("--dim", self.dim),
            ("--range", self.range),
            ("--state", self.state),
        ):
            words += [word for text in texts for word in (flag, text)]
        words += [word for file in self.calibration for word in ("--calibration", file)]
        for flag in TEXT_FLAGS:
            value = getattr(self, flag)
            text = value if isinstance(value, str) else ",".join(map(str, value))
            words += [f"--{flag}", text] if text else []
        return [*words, *meaning_words(self.task, self.option)]


ALL_DECLARED = Selection()
"""Every cell under `benchmarks`."""

TEXT_FLAGS = (
    "recipe",
    "shape",
    "backends",
    "batch",
    "threads",
    "precision",
    "device",
    "preprocessing",
)
"""Model flags with a single word each, in the order of a reproducing command."""


def cell_words(cells: Sequence[str]) -> list[str]:
    """Return `--cell ID` for each cell. An id that begins like a flag is joined by `=`."""
    return [
        word
        for cell in cells
        for word in ([f"--cell={cell}"] if cell.startswith("-") else ["--cell", cell])
    ]


def meaning_words(task: str, backend_options: Sequence[str]) -> list[str]:
    """Return `--task` and `--option` as given."""
    words = ["--task", task] if task else []
    return [*words, *(word for option in backend_options for word in ("--option", option))]


def parsed(words: Sequence[str]) -> Selection:
    """Return the selection of a command line like `evenbench list`."""
    parser = argparse.ArgumentParser(prog="evenbench", allow_abbrev=False)
    add_arguments(parser)
    parser.set_defaults(**options.defaults(Selection))
    return options.parse(Selection, parser.parse_args(list(words)))


def add_arguments(command: argparse.ArgumentParser, filters: bool = True) -> None:
    """Add the flags of `Selection`, the same for every command; `filters` are -k and --cell."""
    command.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="folders, files, models [default: benchmarks or .]",
    )
    if filters:
        add_expression(command)
        add_cell(command)
    model = command.add_argument_group(MODEL_GROUP)
    add_inputs(model)
    model.add_argument("--backends", type=words, metavar="A,B", help="runtimes [default: all]")
    model.add_argument(
        "--precision", type=words, metavar="P,...", help="precisions, or int8 [default: fp32]"
    )
    model.add_argument("--device", type=words, metavar="D,...", help="devices [default: cpu]")
    model.add_argument(
        "--batch", type=quantities.whole_numbers, metavar="N,...", help="batch sizes [default: 1]"
    )
    model.add_argument(
        "--threads",
        type=quantities.whole_numbers,
        metavar="N,...",
        help="thread counts [default: 0, all cores]",
    )
    model.add_argument(
        "--preprocessing",
        type=words,
        metavar="A,B",
        help="image libraries for the recipe [default: pillow]",
    )
    add_meaning(model)
    add_calibration(model)


def add_expression(command: argparse._ActionsContainer) -> None:
    """Add `-k`."""
    command.add_argument(
        "-k",
        dest="expression",
        metavar="EXPR",
        help="only cells with matching ids [default: all]",
    )


def add_cell(command: argparse._ActionsContainer) -> None:
    """Add `--cell`."""
    command.add_argument(
        "--cell",
        action="append",
        metavar="ID",
        help="exact id or key of a cell; repeatable [default: all]",
    )


class Trust(argparse.Action):
    """`--trust`: allows model files to run code while they are read, here and in workers."""

    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **more)

    def __call__(self, *ignored: Any) -> None:
        os.environ["EVENBENCH_TRUST"] = "1"


def add_trust(command: argparse._ActionsContainer) -> None:
    """Add `--trust`."""
    command.add_argument("--trust", action=Trust, help="allow a model file to run code when read")


def add_inputs(model: argparse._ActionsContainer) -> None:
    """Add the flags for the inputs of an undeclared model."""
    add_trust(model)
    model.add_argument("--input", action="extend", nargs="+", metavar="PHOTO", help=INPUT)
    model.add_argument("--recipe", metavar="NAME", help=RECIPE)
    model.add_argument("--shape", metavar="SHAPES", help=SHAPE)
    model.add_argument("--inputs", action="append", metavar="FILE", help=SAMPLES)
    model.add_argument("--dim", action="append", metavar="NAME=N", help=DIM)
    model.add_argument("--range", action="append", metavar="NAME=A..B", help=RANGE)
    model.add_argument("--state", action="append", metavar="IN=OUT", help=STATE)


def add_calibration(model: argparse._ActionsContainer) -> None:
    """Add `--calibration`."""
    model.add_argument(
        "--calibration",
        action="append",
        metavar="FILE",
        help="folder, photo or .npz for int8-static [default: none]",
    )


def add_meaning(model: argparse._ActionsContainer) -> None:
    """Add the flags for the meaning of outputs and for backend options."""
    model.add_argument(
        "--task",
        choices=["", *task_outputs.TASKS],
        metavar="T",
        help="kind of outputs, see docs on tasks [default: guessed]",
    )
    model.add_argument(
        "--option",
        action="append",
        metavar="B:KEY=VALUE",
        help="option of a backend; repeatable [default: none]",
    )


def words(text: str) -> tuple[str, ...]:
    """Return the parts of a comma-separated list."""
    return tuple(word for word in text.split(",") if word)

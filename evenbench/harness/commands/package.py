"""`evenbench package`: an artifact with program, requirements and verification."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evenbench.harness.collection import (
    matrix,
    model_reader,
    selection,
    selection_flags,
    user_models,
)
from evenbench.harness.collection.selection_flags import Selection
from evenbench.harness.commands import arguments
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes
from evenbench.harness.core.cases import Case
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Cell, Model
from evenbench.harness.deployment.bundle import ship
from evenbench.harness.deployment.readme import summary
from evenbench.harness.runner import launcher

PROVED, NOT_PROVED = exit_codes.PASS, exit_codes.WORSE

EPILOG = """\
Examples:
  evenbench package digits_cnn --backends ort --precision int8 -o digits
  evenbench package resnet18-openvino-fp32-cpu-b1 -o resnet18
  evenbench package model.onnx --backends ort -o mine
Docs: docs/how-to/ship.md lists the files, and the runtimes with a program.
"""

EXIT_CODES = {
    PROVED: "written and verified in a fresh environment",
    NOT_PROVED: "written, not verified: proof.json says why; do not deploy",
}


@dataclass(frozen=True)
class PackageOptions:
    """The options of `evenbench package`."""

    thing: str
    output: str
    backends: tuple[str, ...] = ()
    precision: str = ""
    batch: int = 0
    declared: str = "benchmarks"
    base_bytes: int = 0
    input: tuple[str, ...] = ()
    recipe: str = ""
    shape: str = ""
    task: str = ""
    option: tuple[str, ...] = ()
    calibration: tuple[str, ...] = ()
    json: bool = False

    @property
    def backend(self) -> str:
        """The single backend; empty means not given."""
        return "".join(self.backends[:1])


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    command.add_argument("thing", metavar="MODEL_OR_CELL", help="model name or file, or cell id")
    arguments.add_output(command, "DIR", "new or empty folder to write [required]", required=True)
    command.add_argument(
        "--backends",
        type=selection_flags.words,
        metavar="A",
        help="runtime, such as ort@1.24.1 [default: of the cell]",
    )
    arguments.add_alias(command, "--runtime", dest="backends", type=selection_flags.words)
    arguments.add_precision(command)
    command.add_argument(
        "--batch", type=int, metavar="N", help="fixed batch size [default: as run measures]"
    )
    arguments.add_declared(command)
    command.add_argument(
        "--base-bytes",
        type=int,
        metavar="N",
        help="size of the base image in bytes [default: unknown]",
    )
    arguments.add_json_flag(command)
    selection_flags.add_calibration(arguments.add_model_group(command))


def run(options: PackageOptions) -> int:
    """Write the package and return the exit code. Raises UsageError before the first write."""
    launcher.interrupt_when_ended()
    if len(options.backends) > 1:
        raise UsageError(
            f"--backends {','.join(options.backends)}: a package has one runtime; name one"
        )
    cells, folder = chosen(options), Path(options.output)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"output folder {folder} already exists; choose another")
    if options.base_bytes < 0:
        raise UsageError(
            f"--base-bytes {options.base_bytes}: expected the bytes of an image; "
            "leave the flag out if unknown"
        )
    result = ship(cells[0], folder, options.base_bytes, cells[1:])
    if options.json:
        print(json.dumps({"folder": str(folder), **result}))
    else:
        print(summary(result))
        print(folder)
    return PROVED if result["verdict"] == "proved" else NOT_PROVED


def chosen(options: PackageOptions) -> list[Cell]:
    """Return the cells to try in order, for all declared option sets of the model and runtime.

    The cell without options comes first. Raises UsageError with the known names.
    """
    thing = options.thing
    if user_models.is_model(thing):
        return _undeclared(options)
    if options.task or options.option or options.calibration:
        raise UsageError(
            "--task, --option and --calibration are for a model of your own, such as model.onnx; "
            f"{thing} is declared"
        )
    cells = _selected(Selection((options.declared,)))
    exact = [cell for cell in cells if thing in (cell.id, cell.key)]
    if exact and (options.backends or options.precision):
        raise UsageError(
            f"{thing} is a cell and has its runtime and precision; "
            "leave --backends and --precision out, or name its model"
        )
    if exact:
        return exact[:1]
    models = {cell.model.name: cell.model for cell in cells}
    if thing not in models:
        raise UsageError(
            f"{options.declared} declares no model or cell {thing!r}; "
            f"models are {', '.join(sorted(models))}"
        )
    if not options.backend:
        raise UsageError(f"{thing} is a model; name its runtime, such as --backends ort")
    return _of_model(models[thing], cells, options)


def _undeclared(options: PackageOptions) -> list[Cell]:
    """Return the cells of a model file or function."""
    model_reader.check_single_shape(options.shape)
    return _selected(
        Selection(
            (options.thing,),
            input=options.input,
            recipe=options.recipe,
            shape=options.shape,
            backends=(options.backend or "ort",),
            precision=(options.precision or "fp32",),
            batch=(options.batch,) if options.batch else (),
            task=options.task,
            option=options.option,
            calibration=options.calibration,
        )
    )


def _of_model(model: Model, cells: Sequence[Cell], options: PackageOptions) -> list[Cell]:
    """Return a declared model's cells on the given runtime, by option set."""
    precision = selection.precision_for(model, options.precision or "fp32")
    batch = options.batch or min(cell.batch for cell in cells if cell.model == model)
    (plain,) = matrix.expand(Case((model,), (options.backend,), (precision,), batch=(batch,)))
    # The declaration of `ort` applies to `ort@1.24.1` as well.
    declared = [cell for cell in cells if cell.backend in (plain.backend, plain.backend_name)]
    alike = {
        cell.key: cell
        for cell in (replace(cell, backend=plain.backend) for cell in declared)
        if replace(cell, options=()) == plain
    }
    return sorted(alike.values(), key=lambda cell: cell != plain) or [plain]


def _selected(wanted: Selection) -> list[Cell]:
    return [entry.cell for entry in selection.select(wanted)]

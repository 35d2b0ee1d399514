"""`evenbench ship`: a prepared artifact with a program that runs it, what to install, and the proof
that both are enough.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.collection import matrix, selection, user_models
from harness.core.cases import INT8, Case
from harness.core.errors import UsageError
from harness.core.types import PRECISIONS, Cell
from harness.runner import launcher

if TYPE_CHECKING:
    pass
from harness.deployment.bundle import ship
from harness.deployment.readme import summary

PROVED, NOT_PROVED = 0, 1

EPILOG = """\
  evenbench ship digits_cnn --runtime ort --precision int8 -o digits
  evenbench ship resnet18-openvino-fp32-cpu-b1 -o resnet18
  evenbench ship model.onnx --runtime ort --input cat.jpg --recipe imagenet_224 -o mine
the folder gets the artifact, run.py (which imports nothing of evenbench), requirements at the versions that are used here, the inputs and
outputs of the parity check, a Dockerfile, and proof.json: the program is run in a fresh environment of those requirements, and its
answers are judged as the cell's are. Runtimes with a program: ort, openvino, torch-script, cpp-ort, cpp-openvino, on the CPU. The last two
are C++ with a CMakeLists.txt: a program without Python, and a library that run.py calls through ctypes. Both are compiled and judged.
int8 is int8-static where the model has calibration data, else int8-dynamic. Of a runtime that the model is declared with, the first option
set that is not unsupported is shipped; each is prepared, loaded and run once before anything is written.

exit codes:
  0  written and proved
  1  written, and not proved: proof.json says why; do not ship it
  4  it cannot be shipped: nothing was written
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    command.add_argument(
        "thing",
        metavar="MODEL_OR_CELL",
        help="a declared model's name, a cell's id or key, or a model of your own",
    )
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="DIR",
        help="a folder that does not exist yet, or is empty",
    )
    command.add_argument(
        "--runtime",
        default="",
        metavar="BACKEND",
        help="such as ort or ort@1.24.1; a cell has one already",
    )
    command.add_argument(
        "--precision",
        default="",
        choices=["", *PRECISIONS, INT8],
        metavar="P",
        help="such as fp16 or int8 (fp32)",
    )
    command.add_argument(
        "--batch",
        type=int,
        default=1,
        metavar="N",
        help="of the artifact, whose shapes are fixed (1)",
    )
    command.add_argument(
        "--declared",
        default="benchmarks",
        metavar="TARGET",
        help="where models and cells are declared (benchmarks)",
    )
    told = "size of the Dockerfile's base, as `docker image inspect -f '{{.Size}}'` tells it, so that the image's is told as a whole"
    command.add_argument("--base-bytes", type=int, default=0, metavar="N", help=told)
    own = command.add_argument_group("for a model of your own")
    own.add_argument(
        "--input",
        nargs="+",
        default=[],
        metavar="PHOTO",
        help="photos that become the inputs of the parity check",
    )
    own.add_argument(
        "--recipe", default="", help="how a photo becomes a tensor, such as imagenet_224"
    )
    own.add_argument(
        "--shape", default="", help="of the inputs, such as 1x3x224x224 (comma between inputs)"
    )
    selection.add_meaning(own)
    command.add_argument(
        "--json", action="store_true", help="one JSON value on standard output instead of text"
    )


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code. Raises UsageError where the cell cannot be shipped."""
    launcher.interrupt_when_ended()
    cells, folder = chosen(options), Path(options.output)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} is there and is never overwritten; name a folder that does not exist yet"
        )
    if options.base_bytes < 0:
        raise UsageError(
            f"--base-bytes {options.base_bytes}: expected the bytes of an image; leave it out where they are not known"
        )
    found = ship(cells[0], folder, options.base_bytes, cells[1:])
    if options.json:
        print(json.dumps({"folder": str(folder), **found}))
    else:
        print(summary(found))
        print(folder)
    return PROVED if found["verdict"] == "proved" else NOT_PROVED


def chosen(options: argparse.Namespace) -> list[Cell]:
    """The cell that the command line names; of a model and a runtime one for each option set that
    is declared, to be tried in this order.

    The one without options comes first. Raises UsageError where the command line names none, and
    says what there is.
    """
    thing = options.thing
    if user_models.is_model(thing):
        given = {
            "--backends": [options.runtime or "ort"],
            "--precision": [options.precision or "fp32"],
            "--batch": [str(options.batch)],
        }
        given |= {
            "--recipe": [options.recipe],
            "--shape": [options.shape],
            "--input": options.input,
        }
        words = [word for flag, values in given.items() if any(values) for word in (flag, *values)]
        return _selected([thing, *words, *selection.meant(options)])
    if selection.meant(options):
        raise UsageError(
            f"--task and --option are for a model of your own, such as model.onnx; {thing} is declared"
        )
    cells = _selected([options.declared])
    exact = [cell for cell in cells if thing in (cell.id, cell.key)]
    if exact and (options.runtime or options.precision):
        raise UsageError(
            f"{thing} is a cell and has its runtime and precision; leave --runtime and --precision out, or name its model"
        )
    if exact:
        return exact[:1]
    models = {cell.model.name: cell.model for cell in cells}
    if thing not in models:
        raise UsageError(
            f"{options.declared} declares no model or cell {thing!r}; models are {', '.join(sorted(models))}"
        )
    if not options.runtime:
        raise UsageError(f"{thing} is a model; say which runtime is shipped, such as --runtime ort")
    precision = selection.precision_for(models[thing], options.precision or "fp32")
    plain = matrix.expand(
        Case((models[thing],), (options.runtime,), (precision,), batch=(options.batch,))
    )[0]
    named = [
        cell for cell in cells if cell.backend in (plain.backend, plain.backend_name)
    ]  # `ort@1.24.1` is run as `ort` is declared
    alike = {
        cell.key: cell
        for cell in (replace(each, backend=plain.backend) for each in named)
        if replace(cell, options=()) == plain
    }
    return sorted(alike.values(), key=lambda cell: cell != plain) or [plain]


def _selected(words: list[str]) -> list[Cell]:
    """The cells of a command line like that of `evenbench list`."""
    parser = argparse.ArgumentParser()
    selection.add_arguments(parser)
    return [entry.cell for entry in selection.select(parser.parse_args(words))]

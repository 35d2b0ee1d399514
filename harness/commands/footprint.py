"""`evenbench footprint`: what must be installed to run a backend, how large that is, what importing
it takes; of a model, see `needs`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from harness.commands import console as terminal
from harness.commands import cost
from harness.core import registry
from harness.core.backend import Backend
from harness.core.errors import UsageError
from harness.deployment import shared_libraries

if TYPE_CHECKING:
    from rich.console import Console
from harness.deployment import footprint as deployment_footprint
from harness.deployment.footprint import Footprint, of

LISTED = 8
"""Files of a program that the terminal names, the largest; JSON has all of them."""

EPILOG = """\
  evenbench footprint
  evenbench footprint ort openvino ort@1.24.1 cpp-ort --json
  evenbench footprint --model resnet18 --price-per-hour 0.20
the closure is that of the runtime's distribution and numpy, by what the installed packages themselves declare, without extras that nobody
asks for, the harness, or what only prepares artifacts. Sizes are of installed files, without the bytecode that comes and goes. An import is
timed in fresh processes. An environment of its own has to be built already: nothing is installed here. Of a C++ program, the libraries that
it needs are listed too, which lie in these packages or in the system; the C library itself is left out.
--model reads recorded results instead, and measures nothing: what each cell needs to be shipped, started and run. An inference is one
sample; a cost is in the currency of the price. "first answer" is that of a fresh process with the prepared artifact. "prepare + first
answer" is a sum: what is prepared anew, and that; no process was timed doing both. "installed" is of a C++ program what it needs without
Python, as above.

exit codes:
  0  told, also of what is not installed
  4  a backend that is not known, a model of which nothing is recorded, or a price of zero or less
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    what = "such as ort or ort@1.24.1 (every runtime); with --model, results files or folders (results)"
    command.add_argument("paths", nargs="*", metavar="BACKEND", help=what)
    command.add_argument(
        "--model",
        default="",
        metavar="M",
        help="what the recorded cells of this model need, and cost",
    )
    command.add_argument(
        "--price-per-hour",
        default="",
        metavar="0.20",
        help="of the machine, in any currency; with --model",
    )
    command.add_argument(
        "--device", default="", metavar="D", help="only cells of this device (all); with --model"
    )
    command.add_argument(
        "--batch",
        type=int,
        default=0,
        metavar="N",
        help="of this batch size (the smallest recorded); with --model",
    )
    command.add_argument(
        "--json", action="store_true", help="one JSON value on standard output instead of text"
    )


def run(options: argparse.Namespace) -> int:
    """The command. Raises UsageError for a backend that is not known, a model that was not
    recorded, and flags that do not go together.
    """
    if options.model:
        options.paths = options.paths or ["results"]
        return cost.run(options, _installed)
    alone = [
        name
        for name in ("--price-per-hour", "--device", "--batch")
        if getattr(options, name.lstrip("-").replace("-", "_"))
    ]
    if alone:
        raise UsageError(
            f"{alone[0]} is about recorded cells; name their model as well, such as --model resnet18"
        )
    found = [of(name) for name in options.paths or registry.runtimes()]
    if options.json:
        print(json.dumps([{**asdict(each), "bytes": each.bytes} for each in found], default=str))
    else:
        _show(found, terminal.console())
    return 0


def _installed(backend: str) -> cost.Installed:
    """What `needs` asks: the version of the runtime, and the size of what has to be there. Nothing
    is imported or timed.

    Of a C++ program these are its files and libraries, of a library for ctypes NumPy too, of
    anything else the closure.
    """
    found, python = deployment_footprint.listed(backend)
    if not found.packages:
        return cost.Installed(reason=found.reason)
    root, known = found.packages[0], registry.find(backend)
    if python != sys.executable and type(known).binaries is not Backend.binaries:
        return cost.Installed(
            root.name,
            root.version,
            reason="a program of another environment is built and read there alone",
        )
    program = shared_libraries.of(known) if python == sys.executable else None
    if program is None:
        return cost.Installed(root.name, root.version, found.bytes)
    if program.reason:
        return cost.Installed(
            root.name, root.version, reason=f"what the program needs is not known: {program.reason}"
        )
    called = program.files[0].name.endswith(".so")
    beside = sum(package.bytes for package in found.packages if called and package.name == "numpy")
    return cost.Installed(root.name, root.version, program.bytes + beside)


def _show(found: Sequence[Footprint], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("backend", "installed", "packages", "import", "largest, or why not"):
        table.add_column(heading, overflow="fold")
    for each in found:
        largest = sorted(each.packages, key=lambda package: -package.bytes)[:3]
        words = (
            [each.reason]
            if each.reason
            else [f"{package.name} {_size(package.bytes)}" for package in largest]
        )
        words += (
            [f"not installed: {', '.join(each.missing)}"]
            if each.missing and not each.reason
            else []
        )
        taken = "–" if each.import_seconds is None else f"{each.import_seconds:.2g} s"
        known = (_size(each.bytes), str(len(each.packages))) if each.packages else ("–", "–")
        table.add_row(*(Text(value) for value in (each.backend, *known, taken, ", ".join(words))))
    console.print(table)
    for each in found:
        if each.program:
            console.print(Text(f"{each.backend}: {_told(each.program)}"), soft_wrap=True)


def _told(program: shared_libraries.Program) -> str:
    """What a program without Python needs, in a sentence."""
    if program.reason:
        return f"what the program needs is not known: {program.reason}"
    ordered = sorted(program.files, key=lambda file: -file.bytes)
    listed = [f"{file.name} {_size(file.bytes)}" for file in ordered[:LISTED]]
    listed += [f"{len(ordered) - LISTED} more"] if len(ordered) > LISTED else []
    lost = f"; not found: {', '.join(program.missing)}" if program.missing else ""
    return f"the program and its libraries are {_size(program.bytes)}, without the C library: {', '.join(listed)}{lost}"


def _size(size_bytes: int) -> str:
    if size_bytes < 1e6:
        return f"{size_bytes / 1e3:.3g} kB"
    return f"{size_bytes / 1e9:.3g} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.3g} MB"

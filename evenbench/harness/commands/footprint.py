"""`evenbench footprint`: the packages, size and import time of backends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from evenbench.harness.commands import arguments, cost
from evenbench.harness.commands import console as terminal
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes, registry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.deployment import shared_libraries
from evenbench.harness.deployment.footprint import Footprint, of

if TYPE_CHECKING:
    from rich.console import Console

LISTED = 8
"""The largest files of a program in the terminal; JSON has all."""

EPILOG = """\
Examples:
  evenbench footprint
  evenbench footprint ort openvino ort@1.24.1 cpp-ort --json
Docs: docs/how-to/ship.md explains what counts.
"""

EXIT_CODES = {exit_codes.PASS: "printed, uninstalled backends included"}


@dataclass(frozen=True)
class FootprintOptions:
    """The options of `evenbench footprint`, and the former options of `evenbench cost`."""

    backends: tuple[str, ...] = ()
    model: str = ""
    price_per_hour: str = ""
    device: str = ""
    batch: int = 0
    json: bool = False


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    command.add_argument(
        "backends",
        nargs="*",
        metavar="BACKEND",
        help="backends, such as ort@1.24.1 [default: all runtimes]",
    )
    for flag in ("--model", "--price-per-hour", "--device"):
        arguments.add_alias(command, flag)
    arguments.add_alias(command, "--batch", type=int)
    arguments.add_json_flag(command)


def run(options: FootprintOptions) -> int:
    """Print the footprints. Raises UsageError for an unknown backend."""
    if options.model:
        return cost.run(_cost_options(options))
    alone = [flag for flag in ("price_per_hour", "device", "batch") if getattr(options, flag)]
    if alone:
        raise UsageError(
            f"--{alone[0].replace('_', '-')} is about recorded cells; "
            "use it in `evenbench cost`, with a model, such as --model resnet18"
        )
    footprints = [of(name) for name in options.backends or registry.runtimes()]
    if options.json:
        rows = [{**asdict(footprint), "bytes": footprint.bytes} for footprint in footprints]
        print(json.dumps(rows, default=str))
    else:
        _show(footprints, terminal.console())
    return exit_codes.PASS


def _cost_options(options: FootprintOptions) -> cost.CostOptions:
    """Return the options of `evenbench cost`, once `evenbench footprint` with `--model`."""
    return cost.CostOptions(
        options.model,
        options.backends,
        price_per_hour=options.price_per_hour,
        device=options.device,
        batch=options.batch,
        json=options.json,
    )


def _show(footprints: Sequence[Footprint], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("backend", "installed", "packages", "import", "largest, or why not"):
        table.add_column(heading, overflow="fold")
    for footprint in footprints:
        table.add_row(*map(Text, _row(footprint)))
    console.print(table)
    for footprint in footprints:
        if footprint.program:
            text = f"{footprint.backend}: {_program_text(footprint.program)}"
            console.print(Text(text), soft_wrap=True)


def _row(footprint: Footprint) -> tuple[str, str, str, str, str]:
    from evenbench.reports import formatting

    largest = sorted(footprint.packages, key=lambda package: -package.bytes)[:3]
    remarks = (
        [footprint.reason]
        if footprint.reason
        else [f"{package.name} {formatting.size(package.bytes)}" for package in largest]
    )
    if footprint.missing and not footprint.reason:
        remarks.append(f"not installed: {', '.join(footprint.missing)}")
    seconds = footprint.import_seconds
    return (
        footprint.backend,
        formatting.size(footprint.bytes if footprint.packages else None),
        str(len(footprint.packages)) if footprint.packages else formatting.DASH,
        formatting.DASH if seconds is None else f"{seconds:.2g} s",
        ", ".join(remarks),
    )


def _program_text(program: shared_libraries.Program) -> str:
    """Return a sentence on the libraries of a program without Python."""
    from evenbench.reports import formatting

    if program.reason:
        return f"what the program needs is not known: {program.reason}"
    ordered = sorted(program.files, key=lambda file: -file.bytes)
    listed = [f"{file.name} {formatting.size(file.bytes)}" for file in ordered[:LISTED]]
    listed += [f"{len(ordered) - LISTED} more"] if len(ordered) > LISTED else []
    lost = f"; not found: {', '.join(program.missing)}" if program.missing else ""
    return (
        f"the program and its libraries are {formatting.size(program.bytes)}, "
        f"without the C library: {', '.join(listed)}{lost}"
    )

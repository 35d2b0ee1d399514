"""`evenbench footprint`: what must be installed to run a backend, how large that is, what importing it takes; of a model, see `needs`."""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from harness import environment, environments, libraries, needs, registry, statistics, terminal
from harness.backend import Backend
from harness.installers import distribution_of
from harness.types import Unavailable, UsageError

if TYPE_CHECKING:
    from rich.console import Console

PROCESSES = 3
"""Fresh processes that import the runtime; the middle one counts, since the first may find the files on the disk only."""

LISTED = 8
"""Files of a program that the terminal names, the largest; JSON has all of them."""

LIMIT_SECONDS = 120.0
"""Of one import."""

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

TIMED = "import time; begin = time.perf_counter(); import {}; print(time.perf_counter() - begin)"


@dataclass(frozen=True)
class Package:
    """One distribution of a closure, and the bytes of its files that no earlier one has."""

    name: str
    version: str
    bytes: int


@dataclass(frozen=True)
class Footprint:
    """What one backend needs. `reason` says in words why the rest is empty; `missing` names what is asked for and not installed."""

    backend: str
    packages: tuple[Package, ...] = ()
    missing: tuple[str, ...] = ()
    import_seconds: float | None = None
    reason: str = ""
    program: libraries.Program | None = None
    """What a program without Python needs, of a backend that is one."""

    @property
    def bytes(self) -> int:
        """Of all packages together."""
        return sum(package.bytes for package in self.packages)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    what = "such as ort or ort@1.24.1 (every runtime); with --model, results files or folders (results)"
    command.add_argument("paths", nargs="*", metavar="BACKEND", help=what)
    command.add_argument("--model", default="", metavar="M", help="what the recorded cells of this model need, and cost")
    command.add_argument("--price-per-hour", default="", metavar="0.20", help="of the machine, in any currency; with --model")
    command.add_argument("--device", default="", metavar="D", help="only cells of this device (all); with --model")
    command.add_argument("--batch", type=int, default=0, metavar="N", help="of this batch size (the smallest recorded); with --model")
    command.add_argument("--json", action="store_true", help="one JSON value on standard output instead of text")


def run(options: argparse.Namespace) -> int:
    """The command. Raises UsageError for a backend that is not known, a model that was not recorded, and flags that do not go together."""
    if options.model:
        options.paths = options.paths or ["results"]
        return needs.run(options, _installed)
    alone = [name for name in ("--price-per-hour", "--device", "--batch") if getattr(options, name.lstrip("-").replace("-", "_"))]
    if alone:
        raise UsageError(f"{alone[0]} is about recorded cells; name their model as well, such as --model resnet18")
    found = [of(name) for name in options.paths or registry.runtimes()]
    if options.json:
        print(json.dumps([{**asdict(each), "bytes": each.bytes} for each in found], default=str))
    else:
        _show(found, terminal.console())
    return 0


def _installed(backend: str) -> needs.Installed:
    """What `needs` asks: the version of the runtime, and the size of what has to be there. Nothing is imported or timed.

    Of a C++ program these are its files and libraries, of a library for ctypes NumPy too, of anything else the closure.
    """
    found, python = _listed(backend)
    if not found.packages:
        return needs.Installed(reason=found.reason)
    root, known = found.packages[0], registry.find(backend)
    if python != sys.executable and type(known).binaries is not Backend.binaries:
        return needs.Installed(root.name, root.version, reason="a program of another environment is built and read there alone")
    program = libraries.of(known) if python == sys.executable else None
    if program is None:
        return needs.Installed(root.name, root.version, found.bytes)
    if program.reason:
        return needs.Installed(root.name, root.version, reason=f"what the program needs is not known: {program.reason}")
    called = program.files[0].name.endswith(".so")
    beside = sum(package.bytes for package in found.packages if called and package.name == "numpy")
    return needs.Installed(root.name, root.version, program.bytes + beside)


def of(backend: str) -> Footprint:
    """The footprint of a backend in the environment that it lives in. Raises UsageError for one that is not known."""
    found, python = _listed(backend)
    if not found.packages:
        return found
    known = registry.find(backend)
    program = libraries.of(known) if python == sys.executable else None  # another environment's is built there, by its workers
    return replace(found, import_seconds=import_seconds(python, known.requires), program=program)


def _listed(backend: str) -> tuple[Footprint, str]:
    """The packages of a backend, and the interpreter that they belong to; nothing is imported or timed."""
    known = registry.find(backend)
    try:
        asked = environments.request(backend)
    except Unavailable as error:
        return Footprint(backend, reason=str(error)), ""
    there = environments.find(asked) if asked else None
    if asked and there is None:
        return Footprint(backend, reason=f"environment {asked.name} is not built; evenbench environments build {backend}"), ""
    python = there.python if there else sys.executable
    base = [distribution_of(entry) for entry in asked.requirements[:1]] if asked else []
    roots = base or [distribution_of(entry) for entry in known.distributions[:1]]
    if not roots:
        return Footprint(backend, reason="it names no distribution of a runtime"), python
    installed = {distribution_of(found.metadata["Name"] or ""): found for found in metadata.distributions(path=_site_packages(python))}
    if roots[0] not in installed:
        return Footprint(backend, missing=tuple(roots), reason=f"{roots[0]} is not installed; {registry.row(backend).hint}"), python
    return Footprint(backend, *closure([*roots, "numpy"], installed)), python


def _site_packages(python: str) -> list[str]:
    """Where an interpreter finds distributions: of this one, its own search path."""
    if python == sys.executable:
        return sys.path
    done = subprocess.run([python, "-I", "-c", "import sys; print('\\n'.join(sys.path))"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def closure(roots: Sequence[str], installed: Mapping[str, metadata.Distribution]) -> tuple[tuple[Package, ...], tuple[str, ...]]:
    """Everything that `roots` need of what is installed, each once, roots first; and what they need that is not there.

    Requirements whose markers do not apply here are no needs, and those of an extra only where something asks for that extra.
    """
    from packaging.requirements import Requirement

    waiting = [Requirement(root) for root in roots]
    reached: dict[str, set[str]] = {}
    missing: dict[str, None] = {}
    while waiting:
        requirement = waiting.pop(0)
        name, extras = distribution_of(requirement.name), {"", *requirement.extras}
        if name not in installed:
            missing[name] = None
            continue
        new = extras - reached.setdefault(name, set())
        reached[name] |= new
        for text in installed[name].requires or []:
            needed = Requirement(text)
            if any(needed.marker.evaluate({"extra": extra}) if needed.marker else not extra for extra in new):
                waiting.append(needed)
    seen: set[Path] = set()
    packages = tuple(Package(name, installed[name].version, _bytes_of(installed[name], seen)) for name in reached)
    return packages, tuple(missing)


def _bytes_of(distribution: metadata.Distribution, seen: set[Path]) -> int:
    """The size of a distribution's files that are not in `seen`, where they are put. Read from its RECORD, as in `environments`."""
    files = [row[0] for row in csv.reader((distribution.read_text("RECORD") or "").splitlines()) if row]
    found = {Path(str(distribution.locate_file(file))).resolve() for file in files if not file.endswith(".pyc")} - seen
    seen |= found
    return sum(file.stat().st_size for file in found if file.is_file())


def import_seconds(python: str, names: Iterable[str]) -> float | None:
    """The middle of a few fresh processes that import `names`; None where there is none to import, or it fails."""
    listed = ", ".join(names)
    taken = []
    for _ in range(PROCESSES if listed else 0):
        command = [python, "-c", TIMED.format(listed)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment.for_worker(1, {}), timeout=LIMIT_SECONDS, check=True
            )
            taken.append(float(done.stdout.split()[-1]))
        except (subprocess.SubprocessError, ValueError, IndexError):
            return None
    return statistics.median(taken) if taken else None


def _show(found: Sequence[Footprint], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("backend", "installed", "packages", "import", "largest, or why not"):
        table.add_column(heading, overflow="fold")
    for each in found:
        largest = sorted(each.packages, key=lambda package: -package.bytes)[:3]
        words = [each.reason] if each.reason else [f"{package.name} {_size(package.bytes)}" for package in largest]
        words += [f"not installed: {', '.join(each.missing)}"] if each.missing and not each.reason else []
        taken = "–" if each.import_seconds is None else f"{each.import_seconds:.2g} s"
        known = (_size(each.bytes), str(len(each.packages))) if each.packages else ("–", "–")
        table.add_row(*(Text(value) for value in (each.backend, *known, taken, ", ".join(words))))
    console.print(table)
    for each in found:
        if each.program:
            console.print(Text(f"{each.backend}: {_told(each.program)}"), soft_wrap=True)


def _told(program: libraries.Program) -> str:
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

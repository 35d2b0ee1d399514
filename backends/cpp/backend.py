"""The base of all C++ backends."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from backends.cpp import build, library_session, toolchain, wheel_libraries
from harness import Attestation, Backend, Cell, Session, Unsupported
from harness.core.backend import Deployment

SPINNING = "'default' lets idle threads spin as the runtime does; 'off' makes them sleep at once"


class NativeBackend(Backend):
    """A runtime reached through its C or C++ interface."""

    runtime: ClassVar[str]
    """A key of `native_build.DISTRIBUTIONS`."""
    requires = ()
    """Nothing is imported: the program loads the library of the Python package by itself."""
    binary: ClassVar[str] = build.PROGRAM

    def missing(self) -> tuple[str, ...]:
        package = wheel_libraries.DISTRIBUTIONS[self.runtime]
        return () if importlib.util.find_spec(package) else (package,)

    def lacks(self, cell: Cell) -> str:
        return toolchain.lacks() or super().lacks(cell)

    def binaries(self) -> Sequence[Path]:
        return [
            build.build_runner(self.runtime) / self.binary,
            *wheel_libraries.loaded_libraries(self.runtime),
        ]


def program_deployment(
    runtime: str, cell: Cell, files: Sequence[str], options: Mapping[str, object], threads: str
) -> Deployment:
    """A program in C++: which of `files` it loads, the options that it is told, and the one of them
    that is its number of threads.

    Raises Unsupported where nothing could compile it here, so that it would not be proved.
    """
    lacking = toolchain.lacks()
    if lacking:
        raise Unsupported(f"its program is compiled to prove it; {lacking}")
    inputs = [
        (spec.name, library_session.dtype_code(spec.dtype), list(spec.concrete(cell.batch)))
        for spec in cell.model.inputs
    ]
    named = {f"input {at}": name for at, (name, _, _) in enumerate(inputs)}
    named |= {f"open {at}": spec.name for at, spec in enumerate(cell.model.outputs) if spec.is_open}
    told = {"files": ",".join(files), **named, **options}
    settings = {"files": list(files), "inputs": inputs, "threads": threads}
    package = wheel_libraries.DISTRIBUTIONS[runtime]
    return Deployment(
        (package,),
        "backends.cpp.deployed_network:Network",
        settings,
        build.deployment_sources(runtime, told),
        toolchain.TOOLS,
    )


class FileSession(Session):
    """What a program and a library have in common: what they are told of a file, and what is
    attested from the facts they tell of it.
    """

    library_name: ClassVar[str]
    told: ClassVar[Callable[[Path, Cell], Mapping[str, object]]]
    attested: ClassVar[Callable[[Mapping[str, str], Cell, Path], Attestation]]

    def __init__(self, file: Path, cell: Cell) -> None:
        self.file = file
        super().__init__(self.library_name, self.told(file, cell), cell)

    def attest(self) -> Attestation:
        return self.attested(self.facts(), self.cell, self.file)

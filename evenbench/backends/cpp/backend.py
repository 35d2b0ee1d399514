"""The base of the C++ backends: requirements, binaries, and packaged programs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from evenbench.backends.cpp import build, library_session, toolchain, wheel_libraries
from evenbench.harness import Attestation, Backend, Cell, Session, Unsupported
from evenbench.harness.core.backend import Deployment

SPINNING = (
    "'default' lets idle threads spin as the runtime does; 'off' lets idle threads sleep at once"
)


class NativeBackend(Backend):
    """A runtime used through its C or C++ interface."""

    runtime: ClassVar[str]
    """A key of `wheel_libraries.DISTRIBUTIONS`."""
    requires = ()
    """Empty: the program loads the library inside the Python package without importing the package.
    """
    binary: ClassVar[str] = build.PROGRAM

    def missing(self) -> tuple[str, ...]:
        package = wheel_libraries.DISTRIBUTIONS[self.runtime]
        return () if importlib.util.find_spec(package) else (package,)

    def supports(self, cell: Cell) -> str:
        inner = [spec.name for spec in cell.model.outputs if spec.is_open and spec.sample[0]]
        reason = f"{self.name} returns lists along the first axis, which {', '.join(inner)} is not"
        return super().supports(cell) or (reason if inner else "")

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
    """Return the deployment of a C++ program with `options`.

    `files` are the candidates for the model file, and `threads` is the name of the option with the
    number of threads. Raises Unsupported without a compiler: nothing could verify the program.
    """
    missing = toolchain.lacks()
    if missing:
        raise Unsupported(f"the packaged program must be compiled for verification; {missing}")
    inputs = [
        (spec.name, library_session.dtype_code(spec.dtype), list(spec.concrete(cell.batch)))
        for spec in cell.model.inputs
    ]
    named = {f"input {number}": name for number, (name, _, _) in enumerate(inputs)}
    named |= {
        f"open {number}": spec.name
        for number, spec in enumerate(cell.model.outputs)
        if spec.is_open
    }
    values = {"files": ",".join(files), **named, **options}
    settings = {"files": list(files), "inputs": inputs, "threads": threads}
    package = wheel_libraries.DISTRIBUTIONS[runtime]
    return Deployment(
        (package,),
        "evenbench.backends.cpp.deployed_network:Network",
        settings,
        build.deployment_sources(runtime, values),
        toolchain.TOOLS,
    )


class FileSession(Session):
    """The common part of program and library: options from a file, attestation from facts."""

    library_name: ClassVar[str]
    options_of: ClassVar[Callable[[Path, Cell], Mapping[str, object]]]
    attestation_of: ClassVar[Callable[[Mapping[str, str], Cell, Path], Attestation]]

    def __init__(self, file: Path, cell: Cell) -> None:
        self.file = file
        super().__init__(self.library_name, self.options_of(file, cell), cell)

    def attest(self) -> Attestation:
        return self.attestation_of(self.facts(), self.cell, self.file)

"""What `evenbench footprint` says a C++ program needs is what its process really holds: nothing
that it loads is left out.
"""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from benchmarks.models import DIGITS_CNN
from evenbench.backends.cpp import toolchain
from evenbench.harness import Cell
from evenbench.harness.core import registry
from evenbench.harness.deployment import shared_libraries
from evenbench.harness.inputs import batches
from evenbench.harness.runner.preparation import Preparer


@pytest.mark.skipif(bool(toolchain.lacks()), reason=toolchain.lacks())
@pytest.mark.parametrize("name", ["cpp-ort", "cpp-openvino"])
def test_every_library_that_a_running_program_holds_is_listed(name: str) -> None:
    cell, backend = Cell(DIGITS_CNN, name), registry.find(name)
    prepared = Preparer(600).prepare(cell)
    session = backend.load(Path(prepared.artifact.path), cell)
    try:
        session.bind(batches.load(Path(prepared.inputs.path), cell.model)[0])
        session.step()
        used = session.usage()
        assert used
        lines = Path(f"/proc/{used.process_id}/maps").read_text().splitlines()
    finally:
        session.close()
    mapped = {Path(line.split(maxsplit=5)[5]) for line in lines if ".so" in line}
    held = {
        file.resolve()
        for file in mapped
        if not any(fnmatch(file.name, pattern) for pattern in shared_libraries.C_LIBRARY)
    }
    listed = shared_libraries.of(backend)
    assert listed
    assert held, "the maps were not read"
    assert held <= {file.path for file in listed.files}

"""Sessions in a C++ program: Python sends commands, and the program loops and measures."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.cpp import build, program, wheel_libraries
from evenbench.harness import Cell, Session
from evenbench.harness.core.session import Laps, Usage

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


UNKEPT_BATCH = 0
"""The program's number of a batch that is bound only once."""


class ProgramSession(Session):
    """A cell in a C++ program, commanded by this process and timed by the program's own clock."""

    clock = program.CLOCK

    def __init__(self, runtime: str, options: Mapping[str, object], cell: Cell) -> None:
        self.cell, self.runtime = cell, runtime
        begin = time.perf_counter()
        file = build.build_runner(runtime) / build.PROGRAM
        self.compile_seconds = time.perf_counter() - begin
        self.folder = tempfile.TemporaryDirectory(prefix="evenbench-native-")
        self.program = program.Program(file)
        self.batch_numbers: dict[tuple[int, ...], tuple[int, Any]] = {}
        try:
            words = [f"{name}={value}" for name, value in options.items()]
            self.library = program.parse_pairs(self.program.ask("about", *words))
            wheel_libraries.check_library(runtime, self.library)
            self.program.ask("load", *words)
        except BaseException:
            self.close()
            raise

    def facts(self) -> dict[str, str]:
        """Return facts read back by the program; named files stay in `folder` until `close`."""
        return self.library | program.parse_pairs(self.program.ask("facts", self.folder.name))

    def bind(self, inputs: Arrays) -> None:
        self.program.ask("bind", self._number(inputs, reused=False))

    def step(self) -> None:
        self.program.ask("step")

    def fetch(self) -> Arrays:
        self.program.ask("fetch", self.folder.name)
        return self._read("")

    def laps(
        self, batches: Sequence[Arrays], count: int, boundary: str, keep: Sequence[int]
    ) -> Laps:
        rotation = ",".join(str(self._number(batch)) for batch in batches)
        kept_laps = ",".join(map(str, keep))
        (reply,) = self.program.ask("laps", count, boundary, self.folder.name, kept_laps, rotation)
        taken = [int(lap) for lap in reply.split(",") if lap]
        return Laps(taken, {lap: self._read(f"{lap}_") for lap in keep})

    def _number(self, batch: Arrays, reused: bool = True) -> int:
        """Return the program's number of a batch, read from .npy files; sent once if `reused`."""
        arrays = [batch[spec.name] for spec in self.cell.model.inputs]
        # By address, since batches are read-only and rotate. Holding the arrays keeps addresses
        # unique.
        identity = tuple(array.__array_interface__["data"][0] for array in arrays)
        may_change = any(array.flags.writeable for array in arrays)
        if identity in self.batch_numbers:
            number = self.batch_numbers[identity][0]
            return self._send(number, arrays) if may_change else number
        if not reused:
            return self._send(UNKEPT_BATCH, arrays)
        self.batch_numbers[identity] = (len(self.batch_numbers) + 1, arrays)
        return self._send(len(self.batch_numbers), arrays)

    def _send(self, number: int, arrays: Sequence[Any]) -> int:
        import numpy as np

        words: list[str] = []
        for spec, array in zip(self.cell.model.inputs, arrays, strict=True):
            file = f"{self.folder.name}/input_{len(words)}.npy"
            np.save(file, array)
            words += [spec.name, file]
        self.program.ask("batch", number, *words)
        return number

    def _read(self, prefix: str) -> dict[str, Any]:
        import numpy as np

        outputs = {}
        for index, spec in enumerate(self.cell.model.outputs):
            file = Path(f"{self.folder.name}/{prefix}{index}.npy")
            outputs[spec.name] = np.load(file)
            # A detector's masks are large, and dozens of laps are kept.
            file.unlink()
        return outputs

    def usage(self) -> Usage:
        return Usage(*map(int, self.program.ask("usage")), process_id=self.program.process_id)

    def close(self) -> None:
        self.program.close()
        self.folder.cleanup()


# -- the same code behind a C interface ------------------------------------------------------------

"""C++ runners as sessions: a program that loops and times by itself, told what to do over two
pipes, and the same code through ctypes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.cpp import build, program, wheel_libraries
from harness import Cell, Session
from harness.core.session import Laps, Usage

if TYPE_CHECKING:
    from harness.core.session import Arrays


UNKEPT_BATCH = 0
"""The program's number for a batch that is bound once and not met again."""


class ProgramSession(Session):
    """A cell in a C++ program: this process passes on what to do, and the program loops and times
    by itself.
    """

    clock = program.CLOCK

    def __init__(self, runtime: str, options: Mapping[str, object], cell: Cell) -> None:
        self.cell, self.runtime = cell, runtime
        begin = time.perf_counter()
        file = build.build_runner(runtime) / build.PROGRAM
        self.compile_seconds = time.perf_counter() - begin
        self.folder = tempfile.TemporaryDirectory(prefix="evenbench-native-")
        self.program = program.Program(file)
        self.known: dict[tuple[int, ...], tuple[int, Any]] = {}
        try:
            words = [f"{name}={value}" for name, value in options.items()]
            self.library = program.parse_pairs(self.program.ask("about", *words))
            wheel_libraries.check_library(runtime, self.library)
            self.program.ask("load", *words)
        except BaseException:
            self.close()
            raise

    def facts(self) -> dict[str, str]:
        """What the program reads back from its runtime; the files that it names lie in `folder`
        until the session is closed.
        """
        return self.library | program.parse_pairs(self.program.ask("facts", self.folder.name))

    def bind(self, inputs: Arrays) -> None:
        self.program.ask("bind", self._number(inputs, lasting=False))

    def step(self) -> None:
        self.program.ask("step")

    def fetch(self) -> Arrays:
        self.program.ask("fetch", self.folder.name)
        return self._read("")

    def laps(
        self, batches: Sequence[Arrays], count: int, boundary: str, keep: Sequence[int]
    ) -> Laps:
        rotation = ",".join(str(self._number(batch)) for batch in batches)
        kept = ",".join(map(str, keep))
        (answer,) = self.program.ask("laps", count, boundary, self.folder.name, kept, rotation)
        taken = [int(lap) for lap in answer.split(",") if lap]
        return Laps(taken, {lap: self._read(f"{lap}_") for lap in keep})

    def _number(self, batch: Arrays, lasting: bool = True) -> int:
        """The program's number of a batch, whose bytes it reads from .npy files; once for one that
        is `lasting`, as rotating ones are.
        """
        arrays = [batch[spec.name] for spec in self.cell.model.inputs]
        # By address: batches are read-only and rotate. The reference keeps an address from being
        # used again.
        identity = tuple(array.__array_interface__["data"][0] for array in arrays)
        may_change = any(array.flags.writeable for array in arrays)
        if identity in self.known:
            number = self.known[identity][0]
            return self._send(number, arrays) if may_change else number
        if not lasting:
            return self._send(UNKEPT_BATCH, arrays)
        self.known[identity] = (len(self.known) + 1, arrays)
        return self._send(len(self.known), arrays)

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

        found = {}
        for at, spec in enumerate(self.cell.model.outputs):
            file = Path(f"{self.folder.name}/{prefix}{at}.npy")
            found[spec.name] = np.load(file)
            file.unlink()  # a detector's masks are large, and laps are kept by the dozen
        return found

    def usage(self) -> Usage:
        return Usage(*map(int, self.program.ask("usage")), process_id=self.program.process_id)

    def close(self) -> None:
        self.program.close()
        self.folder.cleanup()


# -- the same code behind a C interface ------------------------------------------------------------

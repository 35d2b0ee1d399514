"""C++ runners as sessions: a program that loops and times by itself, told what to do over two
pipes, and the same code through ctypes.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.cpp import build
from harness import Cell, Session
from harness.core.session import Laps, ProgramEnded, Usage

if TYPE_CHECKING:
    from harness.core.session import Arrays

CLOCK = "std::chrono::steady_clock"


class Program:
    """A running runner. `ask` sends one line and waits for its answer."""

    def __init__(self, file: Path) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        self.file = file
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the program
        self._process = subprocess.Popen(
            [str(file), str(theirs_in), str(theirs_out)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=(theirs_in, theirs_out),
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._commands, self._answers = (
            os.fdopen(ours_out, "wb", buffering=0),
            os.fdopen(ours_in, "rb"),
        )
        self._end = weakref.finalize(self, _kill, self._process)

    def ask(self, *words: object) -> list[str]:
        """The words of the answer. Raises RuntimeError with the program's own message, or
        ProgramEnded.
        """
        with contextlib.suppress(BrokenPipeError):
            self._commands.write(("\t".join(map(str, words)) + "\n").encode())
        answer = self._answers.readline().decode(errors="replace").rstrip("\n").split("\t")
        if answer[0] == "ok":
            return answer[1:]
        if answer[0] == "error":
            raise RuntimeError("\t".join(answer[1:]))
        raise self._ended()

    def _ended(self) -> ProgramEnded:
        code = self._process.wait()
        self._log.seek(0)
        tail = self._log.read()[-1000:].decode(errors="replace").strip()
        name = signal.Signals(-code).name if code < 0 else ""
        how = f"{self.file.parent.name}: the program {f'was ended by {name}' if name else f'exited with code {code}'}"
        return ProgramEnded(f"{how}: {tail}" if tail else how, name)

    @property
    def process_id(self) -> int:
        """The program's process."""
        return self._process.pid

    def close(self) -> None:
        """End it; again does nothing."""
        if self._end.alive:
            self._end()
            for stream in (self._commands, self._answers, self._log):
                stream.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


PASSING = 0
"""The program's number for a batch that is bound once and not met again."""


class ProgramSession(Session):
    """A cell in a C++ program: this process passes on what to do, and the program loops and times
    by itself.
    """

    clock = CLOCK

    def __init__(self, runtime: str, options: Mapping[str, object], cell: Cell) -> None:
        self.cell, self.runtime = cell, runtime
        begin = time.perf_counter()
        file = build.built(runtime) / build.PROGRAM
        self.compile_seconds = time.perf_counter() - begin
        self.folder = tempfile.TemporaryDirectory(prefix="evenbench-native-")
        self.program = Program(file)
        self.known: dict[tuple[int, ...], tuple[int, Any]] = {}
        try:
            words = [f"{name}={value}" for name, value in options.items()]
            self.library = _pairs(self.program.ask("about", *words))
            build.check_library(runtime, self.library)
            self.program.ask("load", *words)
        except BaseException:
            self.close()
            raise

    def facts(self) -> dict[str, str]:
        """What the program reads back from its runtime; the files that it names lie in `folder`
        until the session is closed.
        """
        return self.library | _pairs(self.program.ask("facts", self.folder.name))

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
            return self._send(PASSING, arrays)
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


class LibrarySession(Session):
    """A cell in a shared library that this process calls through ctypes, as people deploy it."""

    inner, inner_clock = "native", CLOCK

    def __init__(self, runtime: str, options: Mapping[str, object], cell: Cell) -> None:
        import numpy as np

        self.cell, self.runtime = cell, runtime
        # Once: what is worked out at every call would be charged to ctypes.
        self.declared = [
            (spec.name, spec.concrete(cell.batch), np.dtype(spec.dtype))
            for spec in cell.model.inputs
        ]
        self.addresses = (ctypes.c_void_p * len(self.declared))()
        begin = time.perf_counter()
        file = build.built(runtime) / build.LIBRARY
        self.compile_seconds = time.perf_counter() - begin
        self.folder = tempfile.TemporaryDirectory(prefix="evenbench-native-")
        self.library = _opened(file)
        self._step = self.library.evenbench_step
        self.bound: list[Any] = []
        self.last_ns = 0
        self.handle: Any = None
        lines = "\n".join(f"{name}={value}" for name, value in options.items()).encode()
        try:
            self.about = self._said(self.library.evenbench_about(lines))
            build.check_library(runtime, self.about)
            self.handle = self.library.evenbench_load(lines)
            self._check(self.handle)
            for at, spec in enumerate(cell.model.inputs):
                shape = spec.concrete(cell.batch)
                named = (
                    spec.name.encode(),
                    code(spec.dtype).encode(),
                    (ctypes.c_int64 * len(shape))(*shape),
                    len(shape),
                )
                self._check(self.library.evenbench_input(self.handle, at, *named))
        except BaseException:
            self.close()
            raise

    def _check(self, went_well: Any) -> None:
        if not went_well:
            raise RuntimeError(self.library.evenbench_error().decode(errors="replace"))

    def facts(self) -> dict[str, str]:
        """What is read back from the runtime; the files that it names lie in `folder` until the
        session is closed.
        """
        return self.about | self._said(
            self.library.evenbench_facts(self.handle, self.folder.name.encode())
        )

    def _said(self, text: bytes | None) -> dict[str, str]:
        self._check(text is not None)
        return _pairs((text or b"").decode().splitlines())

    def bind(self, inputs: Arrays) -> None:
        arrays = []
        for at, (name, shape, dtype) in enumerate(self.declared):
            array = inputs[name]
            if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
                raise ValueError(
                    f"{name} is {array.dtype}{list(array.shape)}; expected {dtype}{list(shape)} in C order"
                )
            self.addresses[at] = array.__array_interface__["data"][0]
            arrays.append(array)
        self._check(self.library.evenbench_bind(self.handle, self.addresses))
        self.bound = arrays  # read where they lie, at every step

    def step(self) -> None:
        self.last_ns = self._step(self.handle)
        if not self.last_ns:
            self._check(0)

    def inner_ns(self) -> int:
        return self.last_ns

    def fetch(self) -> Arrays:
        import numpy as np

        count = self.library.evenbench_fetch(self.handle)
        self._check(count)
        found = {}
        for at, spec in zip(range(count), self.cell.model.outputs, strict=True):
            kind, shape, rank = ctypes.c_char_p(), ctypes.POINTER(ctypes.c_int64)(), ctypes.c_int()
            data = self.library.evenbench_output(
                self.handle, at, ctypes.byref(kind), ctypes.byref(shape), ctypes.byref(rank)
            )
            sizes, dtype = shape[: rank.value], np.dtype((kind.value or b"").decode())
            theirs = (ctypes.c_char * (math.prod(sizes) * dtype.itemsize)).from_address(
                data or 0
            )  # null without elements
            found[spec.name] = np.frombuffer(theirs, dtype).reshape(sizes).copy()
        return found

    def close(self) -> None:
        if self.handle:
            self.library.evenbench_close(self.handle)
        self.handle, self.bound = None, []
        self.folder.cleanup()


def code(dtype: str) -> str:
    """A type as the C++ code writes it: `f4` for float32."""
    import numpy as np

    return np.dtype(dtype).str[1:]


def _opened(file: Path) -> Any:
    library = ctypes.CDLL(str(file))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "error": (text, []),
        "load": (pointer, [text]),
        "input": (number, [pointer, number, text, text, ctypes.POINTER(ctypes.c_int64), number]),
        "bind": (number, [pointer, pointer]),
        "step": (ctypes.c_int64, [pointer]),
        "fetch": (number, [pointer]),
        "output": (pointer, [pointer, number, pointer, pointer, pointer]),
        "about": (text, [text]),
        "facts": (text, [pointer, text]),
        "close": (None, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"evenbench_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def _pairs(words: Iterable[str]) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in words)

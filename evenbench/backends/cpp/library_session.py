"""Sessions in a shared library that Python calls through ctypes."""

from __future__ import annotations

import ctypes
import math
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.cpp import build, program, wheel_libraries
from evenbench.harness import Cell, Session

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


class LibrarySession(Session):
    """A cell in a shared library called through ctypes, as in applications."""

    inner, inner_clock = "native", program.CLOCK

    def __init__(self, runtime: str, options: Mapping[str, object], cell: Cell) -> None:
        import numpy as np

        self.cell, self.runtime = cell, runtime
        # Computed once: work at every call would be charged to ctypes.
        self.declared = [
            (spec.name, spec.concrete(cell.batch), np.dtype(spec.dtype))
            for spec in cell.model.inputs
        ]
        self.addresses = (ctypes.c_void_p * len(self.declared))()
        begin = time.perf_counter()
        file = build.build_runner(runtime) / build.LIBRARY
        self.compile_seconds = time.perf_counter() - begin
        self.folder = tempfile.TemporaryDirectory(prefix="evenbench-native-")
        self.library = _load_library(file)
        self._step = self.library.evenbench_step
        self.bound: list[Any] = []
        self.last_ns = 0
        self.handle: Any = None
        lines = "\n".join(f"{name}={value}" for name, value in options.items()).encode()
        try:
            self.about = self._said(self.library.evenbench_about(lines))
            wheel_libraries.check_library(runtime, self.about)
            self.handle = self.library.evenbench_load(lines)
            self._check(self.handle)
            for index, spec in enumerate(cell.model.inputs):
                shape = spec.concrete(cell.batch)
                declaration = (
                    spec.name.encode(),
                    dtype_code(spec.dtype).encode(),
                    (ctypes.c_int64 * len(shape))(*shape),
                    len(shape),
                )
                self._check(self.library.evenbench_input(self.handle, index, *declaration))
        except BaseException:
            self.close()
            raise

    def _check(self, succeeded: Any) -> None:
        if not succeeded:
            raise RuntimeError(self.library.evenbench_error().decode(errors="replace"))

    def facts(self) -> dict[str, str]:
        """Return facts read back from the runtime; named files stay in `folder` until `close`."""
        return self.about | self._said(
            self.library.evenbench_facts(self.handle, self.folder.name.encode())
        )

    def _said(self, text: bytes | None) -> dict[str, str]:
        self._check(text is not None)
        return program.parse_pairs((text or b"").decode().splitlines())

    def bind(self, inputs: Arrays) -> None:
        arrays = []
        for index, (name, shape, dtype) in enumerate(self.declared):
            array = inputs[name]
            if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
                raise ValueError(
                    f"{name} is {array.dtype}{list(array.shape)}; expected "
                    f"{dtype}{list(shape)} in C order"
                )
            self.addresses[index] = array.__array_interface__["data"][0]
            arrays.append(array)
        self._check(self.library.evenbench_bind(self.handle, self.addresses))
        # Keeps the arrays alive: the library reads the caller's memory at every step.
        self.bound = arrays

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
        outputs = {}
        for index, spec in zip(range(count), self.cell.model.outputs, strict=True):
            kind, shape, rank = ctypes.c_char_p(), ctypes.POINTER(ctypes.c_int64)(), ctypes.c_int()
            data = self.library.evenbench_output(
                self.handle, index, ctypes.byref(kind), ctypes.byref(shape), ctypes.byref(rank)
            )
            sizes, dtype = shape[: rank.value], np.dtype((kind.value or b"").decode())
            # The pointer is null for an output without elements.
            memory = (ctypes.c_char * (math.prod(sizes) * dtype.itemsize)).from_address(data or 0)
            outputs[spec.name] = np.frombuffer(memory, dtype).reshape(sizes).copy()
        return outputs

    def close(self) -> None:
        if self.handle:
            self.library.evenbench_close(self.handle)
        self.handle, self.bound = None, []
        self.folder.cleanup()


def dtype_code(dtype: str) -> str:
    """Return the C++ code of a dtype, such as `f4` for float32."""
    import numpy as np

    return np.dtype(dtype).str[1:]


def _load_library(file: Path) -> Any:
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

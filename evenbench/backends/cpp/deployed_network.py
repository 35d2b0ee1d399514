"""A C++ runner behind ctypes in packaged programs. Copied, so without evenbench imports."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


class Network:
    """The model in `folder`, run by the library built from native/CMakeLists.txt, without torch."""

    def __init__(self, folder: Path, settings: dict[str, Any], threads: int) -> None:
        import ctypes

        build = Path(os.environ.get("BUILD_DIR") or Path(__file__).resolve().parent / "build")
        if not (build / "libnative.so").exists():
            sys.exit(
                f"{build / 'libnative.so'} does not exist; build it (see README.md), or set "
                "BUILD_DIR to its folder"
            )
        self.library = library = ctypes.CDLL(str(build / "libnative.so"))
        library.evenbench_error.restype = ctypes.c_char_p
        library.evenbench_load.restype = library.evenbench_output.restype = ctypes.c_void_p
        library.evenbench_step.restype = ctypes.c_int64
        library.evenbench_output.argtypes = [
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        file = next(
            (folder / name for name in settings["files"] if (folder / name).exists()),
            folder / settings["files"][0],
        )
        # Later lines override earlier lines.
        options = (build / "options.txt").read_text(
            encoding="utf-8"
        ) + f"model={file}\n{settings['threads']}={threads}\n"
        self.handle = ctypes.c_void_p(library.evenbench_load(options.encode()))
        self._check(self.handle.value)
        self.names = [name for name, _, _ in settings["inputs"]]
        self.ctypes, self.addresses = ctypes, (ctypes.c_void_p * len(self.names))()
        for place, (name, kind, shape) in enumerate(settings["inputs"]):
            sizes = (ctypes.c_int64 * len(shape))(*shape)
            self._check(
                library.evenbench_input(
                    self.handle, place, name.encode(), kind.encode(), sizes, len(shape)
                )
            )

    def _check(self, went_well: Any) -> None:
        if not went_well:
            raise RuntimeError((self.library.evenbench_error() or b"").decode(errors="replace"))

    def __call__(self, inputs: dict[str, Any]) -> list[Any]:
        """Run one inference: contiguous arrays by name in, copies of the outputs in declared order
        out.
        """
        for place, name in enumerate(self.names):
            self.addresses[place] = inputs[name].ctypes.data
        self._check(self.library.evenbench_bind(self.handle, self.addresses))
        self._check(self.library.evenbench_step(self.handle))
        count = self.library.evenbench_fetch(self.handle)
        self._check(count)
        return [self._output(place) for place in range(count)]

    def _output(self, place: int) -> Any:
        import numpy as np

        ctypes = self.ctypes
        kind, sizes, rank = ctypes.c_char_p(), ctypes.POINTER(ctypes.c_int64)(), ctypes.c_int()
        data = self.library.evenbench_output(
            self.handle, place, ctypes.byref(kind), ctypes.byref(sizes), ctypes.byref(rank)
        )
        shape, dtype = tuple(sizes[: rank.value]), np.dtype((kind.value or b"").decode())
        memory = (
            ctypes.c_char * (int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        ).from_address(data or 0)
        return np.frombuffer(memory, dtype).reshape(shape).copy()

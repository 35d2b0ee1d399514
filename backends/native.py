"""C++ runners: built by CMake on first use against the libraries that the Python packages carry, and talked to over two pipes."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Cell, Session, Unavailable, inputs, store
from harness.backend import Laps, Usage

if TYPE_CHECKING:
    from harness.backend import Arrays

SOURCES = Path(__file__).with_name("cpp")
CLOCK = "std::chrono::steady_clock"
PROGRAM, LIBRARY = "program", "libnative.so"

DISTRIBUTIONS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "libtorch": "torch"}
"""The Python package that carries each runtime's libraries; one of them is what the program runs on."""


def lacks() -> str:
    """In words, what is needed to build a runner and is not here; an empty string where nothing is. Looks, and imports nothing."""
    wanting = []
    if not _cmake():
        wanting.append("cmake (pip install 'evenbench[cpp]')")
    if not shutil.which("g++") and not shutil.which("clang++") and not os.environ.get("CXX"):
        wanting.append("a C++20 compiler (such as g++)")
    return f"a C++ runner is built on first use, and this is missing: {' and '.join(wanting)}; install it" if wanting else ""


def _cmake() -> str:
    beside = Path(sys.executable).with_name("cmake")  # the one of this environment, whether or not it is activated
    return str(beside) if beside.exists() else shutil.which("cmake") or ""


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise Unavailable(f"the package {name}, whose libraries the runner is built against, is not installed")
    return Path(next(iter(found.submodule_search_locations)))


def library_of(runtime: str) -> Path:
    """The runtime's own shared library inside its Python package. Raises Unavailable where it is not there."""
    patterns = {"onnxruntime": "capi/libonnxruntime.so*", "openvino": "libs/libopenvino.so*", "libtorch": "lib/libtorch_cpu.so"}
    package = _package("torch" if runtime == "libtorch" else runtime)
    found = sorted(package.glob(patterns[runtime]), key=lambda path: len(path.name))
    if not found:
        raise Unavailable(f"{runtime}: no {patterns[runtime]} in {package.name}'s package; C++ runners need a Linux wheel")
    return found[-1]


def version_of(runtime: str) -> str:
    """The installed version of the package that carries the runtime."""
    return inputs.version_of(DISTRIBUTIONS[runtime])


def key(runtime: str) -> Mapping[str, Any]:
    """What decides the built files: sources, compiler, CMake and the library's version."""
    sources = {path.name: store.digest_file(path) for path in sorted(SOURCES.iterdir()) if path.is_file()}
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or ""
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout if compiler else ""
    return {"runtime": runtime, "sources": sources, "compiler": [compiler, said.partition("\n")[0]], "version": version_of(runtime)}


def built(runtime: str) -> Path:
    """The folder with the program and the shared library, built now where it is not there. Raises Unavailable where it cannot be.

    Release, against the very files of the Python package, so that versions agree by construction; `check_version` asserts it.
    """
    reason = lacks()
    if reason:
        raise Unavailable(reason)
    folder = store.root() / "native" / f"{runtime}-{store.key_of(key(runtime))[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two workers that need it at once build it once
        if not (folder / LIBRARY).exists():
            _build(runtime, folder)
    return folder


def _build(runtime: str, folder: Path) -> None:
    stage = Path(tempfile.mkdtemp(prefix=".stage-", dir=folder.parent))
    try:
        settings = {"CMAKE_BUILD_TYPE": "Release", "RUNTIME": runtime, **_where(runtime)}
        generator = ["-G", "Ninja"] if shutil.which("ninja") or Path(sys.executable).with_name("ninja").exists() else []
        given = [f"-D{name}={value}" for name, value in settings.items()]
        for command in (["-S", str(SOURCES), "-B", str(stage), *generator, *given], ["--build", str(stage)]):
            path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
            done = subprocess.run([_cmake(), *command], capture_output=True, text=True, check=False, env={**os.environ, "PATH": path})
            if done.returncode:
                tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
                raise RuntimeError(f"building the {runtime} runner failed:\n{tail}")
        made = stage / "made"
        made.mkdir()
        for name in (PROGRAM, LIBRARY):
            shutil.copy2(stage / name, made / name)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _where(runtime: str) -> Mapping[str, str]:
    if runtime == "openvino":
        return {"OpenVINO_DIR": str(_package("openvino") / "cmake")}
    if runtime == "libtorch":
        torch = _package("torch")
        folders = (torch / "include", torch / "include" / "torch" / "csrc" / "api" / "include")
        return {"TORCH_INCLUDES": ";".join(map(str, folders)), "TORCH_LIBRARIES": str(torch / "lib")}
    return {}


def check_version(runtime: str, said: str) -> None:
    """Raise RuntimeError where the loaded library is another release than the Python package that it is compared with."""
    installed = version_of(runtime)
    if not said.startswith(installed.partition("+")[0]):
        raise RuntimeError(
            f"the runner loaded {runtime} {said}, the Python package is {installed}; a library path such as LD_LIBRARY_PATH leads "
            "elsewhere, unset it"
        )


# -- a program that times itself -------------------------------------------------------------------------------------


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
        self._commands, self._answers = os.fdopen(ours_out, "wb", buffering=0), os.fdopen(ours_in, "rb")
        self._end = weakref.finalize(self, _kill, self._process)

    def ask(self, *words: object) -> list[str]:
        """The words of the answer. Raises RuntimeError with the program's own message, or with how it ended."""
        with contextlib.suppress(BrokenPipeError):
            self._commands.write(("\t".join(map(str, words)) + "\n").encode())
        answer = self._answers.readline().decode(errors="replace").rstrip("\n").split("\t")
        if answer[0] == "ok":
            return answer[1:]
        if answer[0] == "error":
            raise RuntimeError("\t".join(answer[1:]))
        raise RuntimeError(f"{self.file.parent.name}: {self._ended()}")

    def _ended(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        tail = self._log.read()[-1000:].decode(errors="replace").strip()
        how = f"the program was ended by {signal.Signals(-code).name}" if code < 0 else f"the program exited with code {code}"
        return f"{how}: {tail}" if tail else how

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


class ProgramSession(Session):
    """A cell in a C++ program: this process passes on what to do, and the program loops and times by itself."""

    clock = CLOCK

    def __init__(self, runtime: str, options: Mapping[str, object], cell: Cell) -> None:
        self.cell, self.runtime = cell, runtime
        self.folder = tempfile.TemporaryDirectory(prefix="evenbench-native-")
        self.program = Program(built(runtime) / PROGRAM)
        self.program.ask("load", *(f"{name}={value}" for name, value in options.items()))
        self.known: dict[tuple[int, ...], tuple[int, Any]] = {}
        self.bound: Arrays | None = None
        check_version(runtime, self.facts()["version"])

    def facts(self) -> dict[str, str]:
        """What the program reads back from its runtime."""
        return dict(word.partition("=")[::2] for word in self.program.ask("facts"))

    def bind(self, inputs: Arrays) -> None:
        self.program.ask("bind", self._number(inputs))

    def step(self) -> None:
        self.program.ask("step")

    def fetch(self) -> Arrays:
        self.program.ask("fetch", self.folder.name)
        return self._read("")

    def laps(self, batches: Sequence[Arrays], count: int, boundary: str, keep: Sequence[int]) -> Laps:
        rotation = ",".join(str(self._number(batch)) for batch in batches)
        kept = ",".join(map(str, keep))
        (answer,) = self.program.ask("laps", count, boundary, self.folder.name, kept, rotation)
        taken = [int(lap) for lap in answer.split(",") if lap]
        return Laps(taken, {lap: self._read(f"{lap}_") for lap in keep})

    def _number(self, batch: Arrays) -> int:
        """The program's number of a batch, which reads the same .npy bytes once."""
        import numpy as np

        arrays = [batch[spec.name] for spec in self.cell.model.inputs]
        # By identity: batches are read-only and rotate. The reference keeps an address from being used again.
        identity = tuple(array.__array_interface__["data"][0] for array in arrays)
        if identity not in self.known or any(array.flags.writeable for array in arrays):
            number = self.known[identity][0] if identity in self.known else len(self.known)
            words: list[str] = []
            for spec, array in zip(self.cell.model.inputs, arrays, strict=True):
                file = f"{self.folder.name}/input_{number}_{len(words)}.npy"
                np.save(file, array)
                words += [spec.name, file]
            self.program.ask("batch", number, *words)
            self.known[identity] = (number, arrays)
        return self.known[identity][0]

    def _read(self, prefix: str) -> dict[str, Any]:
        import numpy as np

        files = [f"{self.folder.name}/{prefix}{at}.npy" for at in range(len(self.cell.model.outputs))]
        return {spec.name: np.load(file) for spec, file in zip(self.cell.model.outputs, files, strict=True)}

    def usage(self) -> Usage:
        return Usage(*map(int, self.program.ask("usage")))

    def close(self) -> None:
        self.program.close()
        self.folder.cleanup()


# -- the same code behind a C interface ------------------------------------------------------------------------------


class LibrarySession(Session):
    """A cell in a shared library that this process calls through ctypes, as people deploy it."""

    inner, inner_clock = "native", CLOCK

    def __init__(self, runtime: str, options: Mapping[str, object], cell: Cell) -> None:
        self.cell, self.runtime = cell, runtime
        self.library = _opened(built(runtime) / LIBRARY)
        self.handle = self.library.evenbench_load("\n".join(f"{name}={value}" for name, value in options.items()).encode())
        self._check(self.handle)
        self._step = self.library.evenbench_step
        self.last_ns = 0
        for at, spec in enumerate(cell.model.inputs):
            shape = spec.concrete(cell.batch)
            named = (spec.name.encode(), _code(spec.dtype), (ctypes.c_int64 * len(shape))(*shape), len(shape))
            self._check(self.library.evenbench_input(self.handle, at, *named))
        check_version(runtime, self.facts()["version"])

    def _check(self, went_well: Any) -> None:
        if not went_well:
            raise RuntimeError(self.library.evenbench_error().decode(errors="replace"))

    def facts(self) -> dict[str, str]:
        """What the library reads back from its runtime."""
        lines = self.library.evenbench_facts(self.handle).decode().splitlines()
        return dict(line.partition("=")[::2] for line in lines)

    def bind(self, inputs: Arrays) -> None:
        arrays = [inputs[spec.name] for spec in self.cell.model.inputs]
        for spec, array in zip(self.cell.model.inputs, arrays, strict=True):
            if array.shape != spec.concrete(self.cell.batch) or str(array.dtype) != spec.dtype or not array.flags.c_contiguous:
                expected = f"{spec.dtype}{list(spec.concrete(self.cell.batch))}"
                raise ValueError(f"{spec.name} is {array.dtype}{list(array.shape)}; expected {expected} in C order")
        self._check(self.library.evenbench_bind(self.handle, (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))))

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
            data = self.library.evenbench_output(self.handle, at, ctypes.byref(kind), ctypes.byref(shape), ctypes.byref(rank))
            sizes, dtype = [shape[axis] for axis in range(rank.value)], np.dtype((kind.value or b"").decode())
            whole = int(np.prod(sizes, dtype=np.int64)) * dtype.itemsize
            found[spec.name] = np.frombuffer(ctypes.string_at(data, whole), dtype).reshape(sizes).copy()
        return found

    def close(self) -> None:
        if self.handle:
            self.library.evenbench_close(self.handle)
        self.handle = None


def _code(dtype: str) -> bytes:
    import numpy as np

    return np.dtype(dtype).str[1:].encode()


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
        "facts": (text, [pointer]),
        "close": (None, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"evenbench_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def lines(facts: Mapping[str, str]) -> Iterator[tuple[tuple[str, str], int]]:
    """The `executed <layer> <precision>` facts of OpenVINO as ((layer, precision), count)."""
    for name, value in facts.items():
        if name.startswith("executed "):
            layer, precision = name.removeprefix("executed ").rsplit(" ", 1)
            yield (layer, precision), int(value)


__all__ = ["CLOCK", "LibrarySession", "Program", "ProgramSession", "built", "check_version", "key", "lacks", "library_of", "lines"]

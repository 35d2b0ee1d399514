"""Backends that go wrong on purpose, one way each, around the null backend without a runtime."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenbench.backends.controls.null import Null, NullSession
from evenbench.harness import Cell, Session, Source

NOTES = "EVENBENCH_TEST_NOTES"
"""Names a file to which a backend appends one line for each process that it measured in."""

POLITE_SECONDS = 3.0


def note(text: str) -> None:
    """Append one line, atomically, so that concurrent processes cannot mix theirs."""
    if NOTES in os.environ:
        with Path(os.environ[NOTES]).open("a") as stream:
            stream.write(f"{text}\n")


def called_from(*functions: str) -> bool:
    """Whether one of these harness functions is on the stack: how a session knows its phase without
    being told.
    """
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name in functions and "harness" in frame.f_code.co_filename:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


class Named(Null):
    """A null backend under a name of its own, so that no two share an artifact."""

    def __init_subclass__(cls) -> None:
        cls.name = cls.__name__.lower()


class Fine(Named):
    """Nothing wrong; notes that it was measured."""

    def load(self, folder: Path, cell: Cell) -> Session:
        note(cell.id)
        return NullSession(cell)


class StepSession(NullSession):
    """Calls `trouble` at every step."""

    def __init__(self, cell: Cell, trouble: Any) -> None:
        super().__init__(cell)
        self.trouble = trouble

    def step(self) -> None:
        self.trouble()


class InStep(Named):
    """A backend whose step is its `trouble`."""

    def trouble(self) -> None:
        raise NotImplementedError

    def load(self, folder: Path, cell: Cell) -> Session:
        note(cell.id)
        return StepSession(cell, self.trouble)


class Segfault(InStep):
    def trouble(self) -> None:
        ctypes.string_at(0)


class SegfaultInPrepare(Named):
    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        (folder / "half").write_text("made")
        ctypes.string_at(0)
        return {}


class Hang(InStep):
    def trouble(self) -> None:
        note(f"pid {os.getpid()}")
        time.sleep(600)


class HangInPrepare(Named):
    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        note(f"pid {os.getpid()}")
        time.sleep(600)
        return {}


class OutOfMemory(InStep):
    def trouble(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Abort(InStep):
    def trouble(self) -> None:
        os.abort()


class ExitSilently(InStep):
    def trouble(self) -> None:
        os._exit(0)


class SystemExits(InStep):
    def trouble(self) -> None:
        raise SystemExit(3)


class RealTimeSignal(InStep):
    """Ends by a signal without a name."""

    def trouble(self) -> None:
        os.kill(os.getpid(), 40)


class WritesOnPipes(InStep):
    """Writes into every open descriptor, the pipe for replies among them."""

    text = b"no message\n"

    def trouble(self) -> None:
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2:
                with contextlib.suppress(OSError):
                    os.write(int(name), self.text)


class WritesNumbers(WritesOnPipes):
    text = b"5\n"


class WritesAnswers(WritesOnPipes):
    text = b'{"value": {}, "foreign": 1}\n'


class RaisesCommands(InStep):
    """An error text that would command a terminal and a CI job."""

    def trouble(self) -> None:
        raise RuntimeError("\x1b]0;owned\x07\x1b[31mred\n::error::injected\n##[error]injected")


class Compiles(Named):
    """Waits in prepare for a child, as for a compiler."""

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        note(f"pid {os.getpid()}")
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        with subprocess.Popen(sleep) as child:
            note(f"pid {child.pid}")
        return {}


class RaiseInPrepare(Named):
    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        raise RuntimeError("prepare went wrong")


class RaiseInLoad(Named):
    def load(self, folder: Path, cell: Cell) -> Session:
        raise RuntimeError("load went wrong")


class RaiseInFirstStep(InStep):
    def trouble(self) -> None:
        raise RuntimeError("first_step went wrong")


class RaiseInWarmUp(InStep):
    def trouble(self) -> None:
        if called_from("warm_up"):
            raise RuntimeError("warm_up went wrong")


class RaiseInSample(InStep):
    def trouble(self) -> None:
        if called_from("take_turn"):
            raise RuntimeError("sample went wrong")


class RaiseInParity(InStep):
    """Only a model with an evaluation runs anything in this phase without a golden."""

    def trouble(self) -> None:
        if called_from("accuracy"):
            raise RuntimeError("parity went wrong")


class UnprintableError(InStep):
    def trouble(self) -> None:
        raise RuntimeError("\ud800 no UTF-8 \x00 and very long " + "x" * 5000)


class Flood(InStep):
    """Fills standard output and standard error with far more than any pipe holds, then answers
    properly.
    """

    done = False

    def trouble(self) -> None:
        if not self.done:
            os.write(1, b"o" * (8 << 20))
            os.write(2, b"e" * (8 << 20))
            self.done = True


class FloodThenSegfault(InStep):
    def trouble(self) -> None:
        os.write(1, b"o" * (8 << 20))
        ctypes.string_at(0)


class ChildLeftBehind(Named):
    """Starts a process that would outlive it."""

    def load(self, folder: Path, cell: Cell) -> Session:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        note(f"pid {child.pid}")
        return NullSession(cell)


class ForkThenSegfault(InStep):
    """Dies while a forked child still holds every descriptor that it had, the pipe of the answer
    included.
    """

    def trouble(self) -> None:
        child = os.fork()
        if child == 0:
            time.sleep(600)
            os._exit(0)
        note(f"pid {child}")
        ctypes.string_at(0)


class Polite(Named):
    """Takes some seconds, so that what its parent does meanwhile can be measured."""

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        time.sleep(POLITE_SECONDS)
        return {}


class Steady(InStep):
    """Steps of 5 ms; notes its process, which is stopped most of the time in a group."""

    def trouble(self) -> None:
        time.sleep(0.005)

    def load(self, folder: Path, cell: Cell) -> Session:
        note(f"pid {os.getpid()}")
        return super().load(folder, cell)


class Steadier(Steady):
    """The same under another name."""


class DiesInThirdTurn(Steady):
    """Dies in the middle of the rounds: after some steps of the third turn."""

    def load(self, folder: Path, cell: Cell) -> Session:
        turns: list[Any] = []

        def trouble() -> None:
            time.sleep(0.005)
            frame = sys._getframe()
            while frame is not None and frame.f_code.co_name != "take_turn":
                frame = frame.f_back  # type: ignore[assignment]
            if frame is not None and frame not in turns:
                turns.append(frame)
            if len(turns) == 3:
                ctypes.string_at(0)

        note(f"pid {os.getpid()}")
        return StepSession(cell, trouble)


class HangsInSecondTurn(Steady):
    """Waits forever in a later turn."""

    def trouble(self) -> None:
        if called_from("take_turn"):
            time.sleep(600)
        time.sleep(0.005)

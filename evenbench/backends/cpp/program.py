"""A running C++ program, commanded over two pipes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

from evenbench.harness.core.session import ProgramEnded

CLOCK = "std::chrono::steady_clock"


class Program:
    """A running runner; `ask` sends a command and waits for the reply."""

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
        """Return the words of the reply.

        Raises RuntimeError with the program's message, or ProgramEnded.
        """
        with contextlib.suppress(BrokenPipeError):
            self._commands.write(("\t".join(map(str, words)) + "\n").encode())
        reply = self._answers.readline().decode(errors="replace").rstrip("\n").split("\t")
        if reply[0] == "ok":
            return reply[1:]
        if reply[0] == "error":
            raise RuntimeError("\t".join(reply[1:]))
        raise self._ended()

    def _ended(self) -> ProgramEnded:
        code = self._process.wait()
        self._log.seek(0)
        tail = self._log.read()[-1000:].decode(errors="replace").strip()
        name = signal.Signals(-code).name if code < 0 else ""
        reason = (
            f"{self.file.parent.name}: the program "
            f"{f'was ended by {name}' if name else f'exited with code {code}'}"
        )
        return ProgramEnded(f"{reason}: {tail}" if tail else reason, name)

    @property
    def process_id(self) -> int:
        """The process number."""
        return self._process.pid

    def close(self) -> None:
        """End the program; further calls do nothing."""
        if self._end.alive:
            self._end()
            for stream in (self._commands, self._answers, self._log):
                stream.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def parse_pairs(words: Iterable[str]) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in words)

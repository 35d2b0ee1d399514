"""Standard output and error without lines that a CI job would obey."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from evenbench.harness.core import serialization


class LogStream:
    """A text stream in which no line begins like a command of GitHub or Azure.

    A CI runner obeys such a line in any log, so a name or message in a model or a results file
    could set variables of the job. All other attributes are those of `plain`, the stream itself.
    """

    def __init__(self, plain: TextIO) -> None:
        self.plain = plain
        self._begun = False

    def write(self, text: str) -> int:
        """Write the text, with a space inside `::` or `##[` at the beginning of a line."""
        first, newline, rest = text.partition("\n") if self._begun else ("", "", text)
        self.plain.write(first + newline + serialization.without_commands(rest))
        last = text.rpartition("\n")[2]
        self._begun = bool(last.strip()) or (self._begun and "\n" not in text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)


@contextlib.contextmanager
def log_streams() -> Iterator[None]:
    """Standard output and error as `LogStream`s, for the time of a command."""
    plain = sys.stdout, sys.stderr
    wrapped = [stream and cast(TextIO, LogStream(stream)) for stream in plain]
    sys.stdout, sys.stderr = wrapped
    try:
        yield
    finally:
        for stream in wrapped:
            with contextlib.suppress(Exception):
                stream.flush()
        if (sys.stdout, sys.stderr) == tuple(wrapped):
            sys.stdout, sys.stderr = plain


def plain(stream: TextIO) -> TextIO:
    """The stream without the filter, for evenbench's own commands to a CI job."""
    return stream.plain if isinstance(stream, LogStream) else stream

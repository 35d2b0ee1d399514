"""A log has no line that a CI job would obey, except evenbench's own annotations."""

from __future__ import annotations

import io
import sys

import pytest

from evenbench.harness import cli
from evenbench.harness.environment import log_streams


def test_lines_like_commands_are_broken_wherever_they_begin() -> None:
    file = io.StringIO()
    stream = log_streams.LogStream(file)
    print("a::b\n::error::x", "  ##[group]", sep="\n", file=stream)
    print("half", end="", file=stream)
    print("::no command", file=stream)
    print("::stop-commands::x", file=stream)
    assert file.getvalue() == (
        "a::b\n: :error::x\n  # #[group]\nhalf::no command\n: :stop-commands::x\n"
    )


def test_a_name_on_the_command_line_is_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    streams = sys.stdout, sys.stderr
    assert cli.main(["list", "x\n##[error]y"]) == 4
    assert "\n# #[error]y" in capsys.readouterr().err
    assert (sys.stdout, sys.stderr) == streams


def test_own_annotations_pass() -> None:
    file = io.StringIO()
    print("::notice::own", file=log_streams.plain(log_streams.LogStream(file)))
    assert file.getvalue() == "::notice::own\n"

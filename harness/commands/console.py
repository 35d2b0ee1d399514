"""The rich console of all commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 200
"""Width of tables in files and pipes, wide enough for lines without folds."""


def console(stderr: bool = False) -> Console:
    """Return a console as wide as the terminal, or PIPE_WIDTH columns in a file or pipe."""
    from rich.console import Console

    terminal = Console(stderr=stderr, highlight=False)
    if terminal.is_terminal:
        return terminal
    return Console(stderr=stderr, highlight=False, width=PIPE_WIDTH)

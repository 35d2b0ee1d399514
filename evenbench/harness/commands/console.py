"""The rich console of all commands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


PIPE_WIDTH = 200
"""Width of tables in files and pipes, wide enough for lines without folds."""


def console(stderr: bool = False) -> Console:
    """Return a console as wide as the terminal, or PIPE_WIDTH columns in a file or pipe.

    FORCE_COLOR adds colours to a file or pipe, and nothing that only a terminal can show.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        return Console(stderr=stderr, highlight=False)
    return Console(stderr=stderr, highlight=False, width=PIPE_WIDTH, force_interactive=False)

"""`evenbench tune`: trials for the cells whose backend can use them, kept between runs and applied
when the cell is prepared.
"""

from __future__ import annotations

import argparse
import json

from harness.collection import selection
from harness.commands import console
from harness.commands.arguments import add_json_flag
from harness.core.types import UNWANTED
from harness.runner import launcher, tuning

EPILOG = """\
  evenbench tune benchmarks/matrix.py -k "digits_cnn and tvm and fp32" --trials 32
trials are kept in the cache and applied when the cell is next prepared, which says so: untuned, or tuned(N). 1 is a tuner that
crashed, hung or failed; what it recorded stays, and the same command goes on.

"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of `evenbench tune`."""
    selection.add_arguments(command)
    command.add_argument(
        "--trials",
        type=int,
        default=16,
        metavar="N",
        help="of each task on average, recorded ones included (16)",
    )
    command.add_argument(
        "--timeout",
        type=float,
        default=14400.0,
        metavar="SECONDS",
        help="of one cell's tuner (4 hours)",
    )
    add_json_flag(command)


def run(options: argparse.Namespace) -> int:
    """Trials for every cell that can use them."""
    launcher.interrupt_when_ended()
    cells = tuning.cells_of(selection.select(options))
    found = tuning.run(cells, options.trials, options.timeout, console.console(stderr=True))
    if options.json:
        print(json.dumps(found))
    return 1 if any(result["outcome"] in UNWANTED for result in found) else 0

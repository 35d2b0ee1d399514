"""`evenbench tune`: search for faster schedules; prepared cells use the recorded trials."""

from __future__ import annotations

import json
from dataclasses import dataclass

from evenbench.harness.collection import selection, selection_flags
from evenbench.harness.collection.selection_flags import ALL_DECLARED, Selection
from evenbench.harness.commands import arguments, console
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes
from evenbench.harness.core.types import UNWANTED
from evenbench.harness.runner import launcher, tuning

EPILOG = """\
Examples:
  evenbench tune benchmarks/matrix.py -k "digits_cnn and tvm" --trials 32
Trials stay in the cache. Cells prepared afterwards use them and carry the
label tuned(N).
Docs: docs/reference/backends.md
"""

EXIT_CODES = {
    exit_codes.PASS: "every tuner finished",
    exit_codes.WORSE: "a tuner crashed, hung or failed; recorded trials stay",
}


@dataclass(frozen=True)
class TuneOptions:
    """The options of `evenbench tune`."""

    selection: Selection = ALL_DECLARED
    trials: int = 16
    timeout: float = 4 * 3600.0
    json: bool = False


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    selection_flags.add_arguments(command)
    command.add_argument(
        "--trials",
        type=int,
        metavar="N",
        help="trials per task, recorded ones included [default: %(default)s]",
    )
    arguments.add_timeout(command)
    arguments.add_json_flag(command)


def run(options: TuneOptions) -> int:
    """Run the tuner of every selected, tunable cell; return the exit code."""
    launcher.interrupt_when_ended()
    cells = tuning.cells_of(selection.select(options.selection, options.timeout))
    results = tuning.run(cells, options.trials, options.timeout, console.console(stderr=True))
    if options.json:
        print(json.dumps(results))
    failed = any(result["outcome"] in UNWANTED for result in results)
    return exit_codes.WORSE if failed else exit_codes.PASS

"""The `evenbench` command: its table of commands, and the few that have no module of their own."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from harness import __version__
from harness.commands import (
    bisect,
    compare,
    history,
    list_cells,
    load,
    package,
    pipeline,
    preprocess_diff,
    recommend,
    report,
    run,
    upgrade,
)
from harness.core import exit_codes, import_strings
from harness.core.errors import UsageError
from harness.core.paths import PROJECT

GATES = ("compare", "bisect", "bridge", "history")
"""Commands that do not go on later, so that an interruption is pytest's as well."""

DESCRIPTION = "Runs one model on every runtime you could ship, from the same bytes, and refuses to time a wrong answer."

EPILOG = """\
exit codes:
  0    everything went as asked; of `run`: every cell is ok, unsupported or unavailable
  1    `run`: some cell is a mismatch, a fallback or failed; `controls`: a wrong answer slipped through
  3    a fault of evenbench itself, with its traceback: no answer of any kind
  4    a flag is malformed, or what was asked for cannot be: the line `error: ...` says what to do
  130  interrupted; the same `run` command goes on where it stopped
"""


class Command(NamedTuple):
    """One line of the command's help, and where the rest is: a module's flags and its `run`."""

    help: str
    epilog: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def _of(module: Any, help: str) -> Command:
    """A command that has a module of its own: its `EPILOG`, `add_arguments` and `run`."""
    return Command(help, module.EPILOG, module.add_arguments, module.run)


def commands() -> dict[str, Command]:
    """Every command by name, in the order in which the help shows them."""
    from harness.commands import (
        doctor,
        env,
        footprint,
        inspect,
        layerwise,
        new,
        notify,
        selftest,
        tune,
    )

    run_epilog = run.EPILOG + EPILOG
    return {
        "list": Command(
            "show every cell and whether it can run",
            run_epilog,
            list_cells.add_arguments,
            list_cells.run,
        ),
        "run": Command(
            "measure cells, or go on with an interrupted run",
            run_epilog,
            run.add_arguments,
            run.run,
        ),
        "report": Command(
            "write the HTML report of recorded results", "", report.add_arguments, report.run
        ),
        "advise": _of(recommend, "which recorded cells keep your limits, and why not the others"),
        "ship": _of(package, "write a program that runs a cell's artifact, and prove it"),
        "footprint": _of(footprint, "what must be installed to run a backend, and its size"),
        "levels": _of(preprocess_diff, "by how many levels libraries differ that prepare a photo"),
        "pipeline": _of(pipeline, "frames per second from the encoded frame to the drawn answer"),
        "load": _of(
            load, "batches, callers, arrivals, pauses, changing shapes: latency and throughput"
        ),
        "inspect": Command(
            "show all that is known of a cell, results or a model file",
            EPILOG,
            inspect.add_arguments,
            inspect.run,
        ),
        "compare": _of(compare, "is HEAD slower than BASE? measured in pairs"),
        "bisect": _of(bisect, "which commit made a cell worse? each step in pairs"),
        "bridge": _of(upgrade, "what did a runtime's upgrade change? old against new, in pairs"),
        "history": _of(history, "recorded results over commits, and steps in them"),
        "diff": _of(layerwise, "the first tensor at which two cells part"),
        "controls": Command(
            "run runtimes made wrong on purpose: each must be caught",
            EPILOG,
            selftest.add_arguments,
            selftest.run,
        ),
        "tune": Command(
            "search for faster schedules, where a backend can use them",
            tune.EPILOG + EPILOG,
            tune.add_arguments,
            tune.run,
        ),
        "environments": Command(
            "the environments that backends such as ort@1.24.1 live in",
            EPILOG,
            env.add_arguments,
            env.run,
        ),
        "notify": _of(notify, "open, update or close the one issue of a scheduled check"),
        "doctor": Command(
            "what is installed, what is missing, what disturbs measurements here",
            "",
            doctor.add_arguments,
            doctor.run,
        ),
        "new": Command("write a working starting file", "", new.add_arguments, new.run),
    }


def parser() -> argparse.ArgumentParser:
    """The command line, all of it."""
    top = _Parser(prog="evenbench", description=DESCRIPTION, epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"evenbench {__version__}")
    under = top.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=_Parser
    )
    for name, command in commands().items():
        made = under.add_parser(name, help=command.help, epilog=command.epilog or None)
        command.add_arguments(made)
        made.set_defaults(do=command.run)
    return top


class _Parser(argparse.ArgumentParser):
    """Keeps the line breaks of epilogs, and takes no abbreviated flags, which would break when
    flags are added.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options
        )

    def error(self, message: str) -> NoReturn:
        """End as every other misuse does; argparse's own 2 is what pytest calls an interruption."""
        self.print_usage(sys.stderr)
        self.exit(exit_codes.USAGE, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Errors of usage are told in one line, without a
    traceback.
    """
    options = parser().parse_args(arguments)
    try:
        _check_packages()
        code: int = options.do(options)
        sys.stdout.flush()
        return code
    except UsageError as error:
        print(f"evenbench: error: {error}", file=sys.stderr)
        return exit_codes.USAGE
    except KeyboardInterrupt:
        print("evenbench: interrupted", file=sys.stderr)
        return exit_codes.INTERRUPTED if options.command in GATES else exit_codes.RESUMABLE
    except BrokenPipeError:  # `evenbench list | head`: whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder without permission: what is recorded stays
        print(
            f"evenbench: error: {error}; make room or check permissions, then try again",
            file=sys.stderr,
        )
        return exit_codes.USAGE
    except Exception:  # Python's own 1 would be read as a verdict
        traceback.print_exc()
        print(
            "evenbench: this is a fault of evenbench and no answer; please report it with the lines above",
            file=sys.stderr,
        )
        return exit_codes.INTERNAL


def _check_packages() -> None:
    """Raise UsageError where a folder of the user's hides a package of ours: what it breaks later
    would be told in other words.
    """
    import importlib.util

    for name in import_strings.OURS:
        spec = importlib.util.find_spec(name)
        found = [
            *((spec and spec.submodule_search_locations) or ()),
            *([spec.origin] if spec and spec.origin else []),
        ]
        if found and Path(found[0]).resolve() != PROJECT / name:
            raise UsageError(
                f"{found[0]} hides evenbench's own package {name!r}; rename it, or run from another folder"
            )


if __name__ == "__main__":
    sys.exit(main())

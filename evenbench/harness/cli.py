"""The `evenbench` command: the table of commands, and the exit code of every ending."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from evenbench.harness import __version__
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes, options
from evenbench.harness.core.errors import UsageError
from evenbench.harness.environment import log_streams

DESCRIPTION = "Benchmark a model on every deployment runtime. Wrong outputs are never ranked."

COMMANDS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Measure": {
        "run": ("run", "measure latency and accuracy; resumes an interrupted run"),
        "load": ("load", "batch sizes, concurrency, arrival rates, pauses, shapes"),
        "pipeline": ("pipeline", "video pipeline: decode, preprocess, infer, draw"),
        "tune": ("tune", "search for faster schedules"),
    },
    "Compare": {
        "compare": ("compare", "is HEAD slower than BASE? commits, backends, releases"),
        "upgrade": ("upgrade", "what changed with a runtime's upgrade?"),
        "bisect": ("bisect", "find the commit that made a cell slower"),
        "history": ("history", "results over commits, with change points"),
        "layerwise": ("layerwise", "find the first layer at which two cells diverge"),
        "profile": ("operators.profile", "time by operator, by the runtime's own profiler"),
    },
    "Results": {
        "report": ("report", "write the HTML report"),
        "inspect": ("inspect", "show a cell, a results file or a model file"),
        "recommend": ("recommend", "which cells meet latency, memory and size limits?"),
        "cost": ("cost", "size, start-up time and price of each cell"),
    },
    "Deploy": {
        "package": ("package", "export a cell as a standalone program, and verify it"),
        "footprint": ("footprint", "packages, size and import time of backends"),
    },
    "Project": {
        "list": ("list_cells", "show all cells and whether they can run"),
        "new": ("new", "create a backend, model or case from a template"),
        "env": ("env", "list, lock, build or remove environments of backends"),
        "doctor": ("doctor", "check the installation, and the machine for noise"),
    },
    "Checks": {
        "selftest": ("selftest", "run wrong runtimes on purpose; each must be caught"),
        "preprocess-diff": ("preprocess_diff", "compare preprocessing libraries, in pixel levels"),
        "notify": ("notify", "open or close the GitHub issue of a scheduled check"),
    },
}
"""Group → command → module in `harness.commands` and line of help.

Modules are names here: only the chosen command is imported.
"""

ALIASES: Mapping[str, str] = {
    "advise": "recommend",
    "bridge": "upgrade",
    "controls": "selftest",
    "diff": "layerwise",
    "environments": "env",
    "levels": "preprocess-diff",
    "ship": "package",
}
"""Old command → new name. Old names stay valid for a release, without a place in the help."""

BUILT_IN: Mapping[str, str] = {
    "help": "show the help of a command, or the table of exit-codes",
    "completion": "print a completion script for bash, zsh or tcsh",
}


def commands() -> dict[str, tuple[str, str]]:
    """Return the commands of all groups: name → module and line of help."""
    return {name: row for group in COMMANDS.values() for name, row in group.items()}


def module_of(name: str) -> ModuleType:
    """Import the module of a command."""
    return importlib.import_module(f"evenbench.harness.commands.{commands()[name][0]}")


def overview() -> Parser:
    """Return the parser of the program's own flags, with the groups of commands in the help."""
    top = _top("%(prog)s [-h] [--version] COMMAND ...")
    for title, rows in {
        **{
            title: {name: row[1] for name, row in group.items()}
            for title, group in COMMANDS.items()
        },
        "Help": BUILT_IN,
    }.items():
        group = top.add_argument_group(title)
        # Lines of the help alone: an argument would take words from the command line.
        group._group_actions += [_Line([], name, help=line) for name, line in rows.items()]
    top.add_argument("command", metavar="COMMAND", help=argparse.SUPPRESS)
    return top


def parser() -> Parser:
    """Return the whole command line in a single parser, for completion and tests."""
    top = _top("%(prog)s COMMAND ...")
    under = top.add_subparsers(dest="command", required=True, parser_class=Parser, prog="evenbench")
    for name, (_, line) in commands().items():
        _fill(under.add_parser(name, help=line), name)
    _add_topic(under.add_parser("help", help=BUILT_IN["help"]))
    _add_shell(under.add_parser("completion", help=BUILT_IN["completion"]))
    return top


def command_parser(name: str) -> Parser:
    """Return the parser of a command."""
    command = Parser(prog=f"evenbench {name}")
    if name in BUILT_IN:
        command.description = _sentence(BUILT_IN[name])
        {"help": _add_topic, "completion": _add_shell}[name](command)
    else:
        _fill(command, name)
    return command


class _Line(argparse.Action):
    """A line of the help."""

    def __call__(self, *values: Any, **more: Any) -> None:
        raise NotImplementedError


def _top(usage: str) -> Parser:
    top = Parser(prog="evenbench", description=DESCRIPTION, usage=usage)
    top.add_argument("--version", action="version", version=f"evenbench {__version__}")
    return top


def _fill(command: Parser, name: str) -> None:
    from evenbench.harness.commands import arguments

    command.description = _sentence(commands()[name][1])
    arguments.fill(command, module_of(name))


def _sentence(line: str) -> str:
    return line[0].upper() + line[1:] + ("" if line.endswith("?") else ".")


def _add_topic(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "topic",
        nargs="?",
        choices=["exit-codes", *commands()],
        metavar="TOPIC",
        help="a command, or exit-codes [default: overview]",
    )


def _add_shell(command: argparse.ArgumentParser) -> None:
    command.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="shell to complete in")


# -- running a command -----------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code. Misuse prints a line without traceback."""
    with log_streams.log_streams():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    _replace_unknown_characters()
    if not words:
        overview().print_help()
        return exit_codes.PASS
    given = overview().parse_args(words[:1]).command
    name = ALIASES.get(given, given)
    if name not in {**commands(), **BUILT_IN}:
        overview().error(f"no command {given!r}; {_suggestion(given)}")
    try:
        namespace = command_parser(name).parse_args(words[1:])
        code = _built_in(name, namespace) if name in BUILT_IN else _run(name, namespace)
        sys.stdout.flush()
        return code
    except UsageError as error:
        print(f"evenbench: error: {error}", file=sys.stderr)
        return exit_codes.USAGE
    except KeyboardInterrupt:
        print("evenbench: interrupted", file=sys.stderr)
        return _interrupted(name)
    except BrokenPipeError:  # the reader of `evenbench list | head` has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.PASS
    except OSError as error:  # a full disk, a folder without permission: recorded results stay
        print(
            f"evenbench: error: {error}; make room or check permissions, then try again",
            file=sys.stderr,
        )
        return exit_codes.USAGE
    except Exception:  # a script would read Python's own 1 as a verdict
        traceback.print_exc()
        print(
            "evenbench: internal error; please report it with the traceback above",
            file=sys.stderr,
        )
        return exit_codes.INTERNAL


def _replace_unknown_characters() -> None:
    """Print `?` for characters that a terminal or log in another encoding lacks.

    Otherwise a measured run would end with an encoding error in place of its exit code.
    """
    for stream in map(log_streams.plain, (sys.stdout, sys.stderr)):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != "replace":
            stream.reconfigure(errors="replace")


def _run(name: str, namespace: argparse.Namespace) -> int:
    from evenbench.harness.commands import arguments

    module = module_of(name)
    code: int = module.run(options.parse(arguments.options_type(module), namespace))
    return code


def _interrupted(name: str) -> int:
    """Return the code of an interruption: resumable, unless the command has pytest's code."""
    codes = {} if name in BUILT_IN else module_of(name).EXIT_CODES
    return exit_codes.INTERRUPTED if exit_codes.INTERRUPTED in codes else exit_codes.RESUMABLE


def _suggestion(given: str) -> str:
    import difflib

    near = difflib.get_close_matches(given, [*commands(), *ALIASES], n=1)
    return f"did you mean {near[0]}?" if near else "`evenbench --help` lists all commands"


def _built_in(name: str, namespace: argparse.Namespace) -> int:
    if name == "completion":
        import shtab

        print(shtab.complete(parser(), namespace.shell))
    elif namespace.topic == "exit-codes":
        print(_exit_code_table())
    else:
        topic = namespace.topic
        (command_parser(topic) if topic else overview()).print_help()
    return exit_codes.PASS


def _exit_code_table() -> str:
    """Return every exit code with the meaning, and the meaning of 1 for each command."""
    lines = [f"  {code:<4} {meaning}" for code, meaning in exit_codes.MEANINGS.items()]
    own = {name: module_of(name).EXIT_CODES.get(exit_codes.WORSE) for name in commands()}
    width = max(map(len, own))
    failures = [f"  {name:<{width}}  {meaning}" for name, meaning in own.items() if meaning]
    return "\n".join(["Exit codes:", *lines, "", "1, by command:", *failures])


if __name__ == "__main__":
    sys.exit(main())

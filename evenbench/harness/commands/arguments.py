"""Flags of several commands: the same flag has the same meaning and text everywhere."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from types import ModuleType
from typing import Any, get_type_hints

from evenbench.harness.collection import selection_flags
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import options
from evenbench.harness.core.cases import INT8
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.types import PRECISIONS

Container = argparse._ActionsContainer


def options_type(module: ModuleType) -> type[Any]:
    """Return the options dataclass of a command's `run`."""
    kind: type[Any] = get_type_hints(module.run)["options"]
    return kind


def fill(parser: Parser, module: ModuleType) -> None:
    """Add a command's flags to a parser, with the defaults of the options."""
    module.add_arguments(parser)
    parser.set_defaults(**options.defaults(options_type(module)))
    parser.epilog = module.EPILOG
    parser.exit_codes = module.EXIT_CODES


def parsed(module: ModuleType, words: Sequence[str]) -> Any:
    """Return the typed options of a command's words."""
    parser = Parser(prog="evenbench")
    fill(parser, module)
    return options.parse(options_type(module), parser.parse_args(list(words)))


def add_alias(command: Container, *flags: str, **settings: Any) -> None:
    """Add an old name of a flag, absent from the help."""
    command.add_argument(*flags, help=argparse.SUPPRESS, **settings)


# -- input and output ------------------------------------------------------------------------------


def add_json_flag(command: Container, **settings: Any) -> None:
    """Add `--json`."""
    command.add_argument(
        "--json", action="store_true", help="print one JSON value instead of text", **settings
    )


def add_results(command: Container) -> None:
    """Add `--results`."""
    command.add_argument(
        "--results", metavar="DIR", help="folder of recorded results [default: results]"
    )


def add_results_paths(command: Container) -> None:
    """Add the results to read: positional paths, or `--results`."""
    command.add_argument(
        "paths",
        nargs="*",
        metavar="RESULTS",
        help="results files or folders [default: --results]",
    )
    add_results(command)


def add_output(command: Container, metavar: str, purpose: str, *aliases: str, **more: Any) -> None:
    """Add `-o/--output`; `purpose` names the content, with the default in brackets."""
    command.add_argument("-o", "--output", metavar=metavar, help=purpose, **more)
    for alias in aliases:
        add_alias(command, alias, dest="output")


# -- measuring -------------------------------------------------------------------------------------


def add_plan(command: Container) -> None:
    """Add `--plan`."""
    command.add_argument(
        "--plan",
        choices=sorted(PLANS),
        metavar="PLAN",
        help="effort: quick, default or thorough [default: default]",
    )


def add_half_width(command: Container) -> None:
    """Add `--half-width`."""
    command.add_argument(
        "--half-width",
        metavar="PERCENT",
        help="half-width of ratios, as 2%% [default: 3%%, thorough 1%%]",
    )


def add_seed(command: Container) -> None:
    """Add `--seed`."""
    command.add_argument(
        "--seed", type=int, metavar="N", help="random seed for all orders [default: %(default)s]"
    )


def add_timeout(command: Container) -> None:
    """Add `--timeout`."""
    command.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="time limit of one process [default: %(default)g]",
    )


def add_fresh(command: Container) -> None:
    """Add `--fresh`."""
    command.add_argument(
        "--fresh", action="store_true", help="start anew instead of resuming an interrupted run"
    )


def add_pairs(command: Container) -> None:
    """Add `--pairs`."""
    command.add_argument(
        "--pairs",
        type=int,
        metavar="N",
        help="most process pairs per cell [default: %(default)s]",
    )


def add_margin(command: Container) -> None:
    """Add `--margin`."""
    command.add_argument(
        "--margin",
        type=float,
        metavar="SHARE",
        help="tolerated relative slowdown [default: %(default)s]",
    )


def add_budget(command: Container) -> None:
    """Add `--budget`."""
    command.add_argument(
        "--budget",
        metavar="TIME",
        help="measuring time: 90s, 5m or 1h [default: no limit]",
    )


# -- one model -------------------------------------------------------------------------------------


def add_declared(command: Container) -> None:
    """Add `--declared`."""
    command.add_argument(
        "--declared",
        metavar="TARGET",
        help="declarations to search [default: benchmarks]",
    )


def add_precision(command: Container) -> None:
    """Add `--precision` of a single cell."""
    command.add_argument(
        "--precision",
        choices=["", *PRECISIONS, INT8],
        metavar="P",
        help="precision, such as fp16 or int8 [default: fp32]",
    )


def add_recorded_filters(command: Container) -> None:
    """Add the filters of a model's recorded cells."""
    command.add_argument("--device", metavar="D", help="only cells of this device [default: all]")
    command.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help="batch size [default: the smallest recorded]",
    )
    command.add_argument(
        "--shape", metavar="SHAPE", help="input shape [default: the shape measured last]"
    )


def add_model_group(command: argparse.ArgumentParser) -> Container:
    """Add the flags of an undeclared model to a command for a single model; return their group."""
    model = command.add_argument_group(selection_flags.MODEL_GROUP)
    selection_flags.add_inputs(model)
    selection_flags.add_meaning(model)
    return model

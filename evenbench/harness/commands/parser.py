"""The parser of every command: short and full help, the table of exit codes, one-line errors."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, NoReturn

from evenbench.harness.core import exit_codes

LISTED_GROUP = 3
"""A titled group with more flags appears in `-h` as a list of names."""

HELP_POINTER = "evenbench help exit-codes"

HEADING = r"(?m)^(?P<groups>Examples|Exit codes|Docs):"
"""Headings in the text below the flags, in the style of group titles."""


class Parser(argparse.ArgumentParser):
    """A command's parser: keeps line breaks of texts and takes no abbreviated flags.

    Abbreviations would break when flags are added.
    """

    exit_codes: Mapping[int, str] = {}
    """The command's own exit codes; an empty text stands for the common meaning."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=_formatter, allow_abbrev=False, add_help=False, **settings)
        self._positionals.title = "arguments"
        self.add_argument(
            "-h",
            "--help",
            action=_Help,
            nargs=0,
            default=argparse.SUPPRESS,
            help="show short help (-h) or full help (--help)",
        )

    def parse_known_args(self, *words: Any, **more: Any) -> Any:
        """Parse as argparse, and accept targets after flags: `compare A B --budget 5m FILE`.

        argparse gives a repeatable argument all its words at once, before the first flag.
        """
        namespace, rest = super().parse_known_args(*words, **more)
        many = next((action for action in self._actions if action.nargs == "*"), None)
        if rest and many is not None and not any(word.startswith("-") for word in rest):
            known = getattr(namespace, many.dest)
            known = [] if known == self.get_default(many.dest) else list(known)
            setattr(namespace, many.dest, [*known, *rest])
            rest = []
        return namespace, rest

    def error(self, message: str) -> NoReturn:
        """Exit with the code of misuse; argparse's own 2 is pytest's code of an interruption."""
        self.print_usage(sys.stderr)
        self.exit(exit_codes.USAGE, f"{self.prog}: error: {message}{self._suggestion(message)}\n")

    def _suggestion(self, message: str) -> str:
        """Return the nearest flag to an unknown one: `; did you mean --plan?`; empty without."""
        import difflib

        unknown = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        flags = [flag for action in self._actions for flag in action.option_strings]
        near = difflib.get_close_matches(unknown[1], flags, n=1) if unknown else []
        return f"; did you mean {near[0]}?" if near else ""

    def format_usage(self) -> str:
        """Return a line with required arguments by name, the others as OPTIONS."""
        formatter = self._get_formatter()
        formatter.add_usage(self._synopsis(), self._actions, [])
        return formatter.format_help()

    def format_help(self, short: bool = False) -> str:
        """Return the help; the short form only names the flags of large groups."""
        formatter = self._get_formatter()
        formatter.add_usage(self._synopsis(), self._actions, [])
        formatter.add_text(self.description)
        for group in self._action_groups:
            formatter.start_section(group.title)
            if short and _is_large(group):
                formatter.add_text(_names(group))
            else:
                formatter.add_arguments(group._group_actions)
            formatter.end_section()
        formatter.add_text(self.epilog)
        if self.exit_codes:
            text = short_codes_text if short else codes_text
            formatter.add_text(text(self.exit_codes))
        return formatter.format_help()

    def _synopsis(self) -> str:
        """Return the usage text; argparse fills in the program's name."""
        if self.usage:
            return self.usage
        required = [
            f"{action.option_strings[-1]} {action.metavar}"
            for action in self._actions
            if action.option_strings and action.required
        ]
        positional = [_placeholder(action) for action in self._actions if not action.option_strings]
        return " ".join(["%(prog)s", "[OPTIONS]", *required, *positional])


class _Help(argparse.Action):
    """Print the help and exit; `-h` prints the short help."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        assert isinstance(parser, Parser)
        text = parser.format_help(short=option_string == "-h")
        parser._print_message(text.rstrip() + "\n", sys.stdout)
        parser.exit()


def codes_text(codes: Mapping[int, str]) -> str:
    """Return the lines on a command's own exit codes, with a pointer to the common codes."""
    own = [code for code in codes if code not in exit_codes.COMMON]
    lines = [f"  {code:<4} {codes[code] or exit_codes.MEANINGS[code]}" for code in own]
    common = " and ".join(map(str, exit_codes.COMMON))
    return "\n".join(["Exit codes:", *lines, f"  {common} are errors: {HELP_POINTER}"])


def short_codes_text(codes: Mapping[int, str]) -> str:
    """Return the command's own codes on a single line."""
    own = ", ".join(str(code) for code in codes if code not in exit_codes.COMMON)
    return f"Exit codes: {own} (see --help)"


def _formatter(prog: str) -> argparse.HelpFormatter:
    return _formatter_class()(prog)


@cache
def _formatter_class() -> type[argparse.HelpFormatter]:
    """Return rich's formatter for argparse, imported late, without markup in texts."""
    from rich_argparse import RawDescriptionRichHelpFormatter

    class Formatter(RawDescriptionRichHelpFormatter):
        group_name_formatter = _capitalized
        text_markup = False
        help_markup = False
        highlights = [*RawDescriptionRichHelpFormatter.highlights, HEADING]

    return Formatter


def _capitalized(title: str) -> str:
    return title[:1].upper() + title[1:]


def _is_large(group: argparse._ArgumentGroup) -> bool:
    standard = group.title in ("arguments", "options")
    return not standard and len(group._group_actions) > LISTED_GROUP


def _names(group: argparse._ArgumentGroup) -> str:
    """Return the names of a group's flags in lines for a narrow terminal."""
    import textwrap

    flags = [action.option_strings[-1] for action in group._group_actions]
    text = f"{', '.join(flags)} (see --help)"
    return textwrap.fill(text, 76, break_on_hyphens=False)


def _placeholder(action: argparse.Action) -> str:
    name = str(action.metavar or (action.choices and "|".join(action.choices)) or action.dest)
    many = {"*": f"[{name} ...]", "+": f"{name} ...", "?": f"[{name}]"}
    return many.get(str(action.nargs), name)
